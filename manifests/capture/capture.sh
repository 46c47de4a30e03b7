#!/bin/sh
# Leads connections that come into this network namespace to a proxy with --transparent, by iptables and ip6tables.
#
#   capture.sh apply --ports 8080,9090 [options]    puts the rules in place; again and again gives the same
#   capture.sh remove                               takes them out, all of them
#   capture.sh check [options]                      says what is in place; exit code 1: not all of it
#
#   --ports P,P:P,...|all       ports (or ranges) to capture
#   --to PORT                   the proxy's --listen port                                              default 16006
#   --uid UID|off               the user that the proxy runs as, whose own calls are not captured      default 16006
#                               off: no calls from within are captured at all (for kernels without xt_owner)
#   --exclude-ports P,P:P,...   not these
#   --exclude-sources CIDR,...  not what comes from there: where kubelet's probes are to reach the application itself
#   --ipv6 auto|off             off: what comes by IPv6 reaches the application, unrouted; auto fails rather than that
#
# What the rules say, in this order, in a chain of their own, POINTSMAN_IN of the table nat:
#   - PREROUTING leads there what comes from outside. What starts within passes OUTPUT instead, so the proxy's connections
#     to the application are never captured again. OUTPUT leads there only what a pod sends to its own address (not to
#     loopback), except from the proxy's user: a service that calls itself is routed like its other callers.
#   - What is not for an address of this machine goes on. So does what is for loopback: if it comes from outside, the
#     kernel drops it next, as it must; led to the proxy it would look like a call of loopback.
#   - Excluded sources and ports go on. With `all` these are excluded too: 22, Istio's 15000-15099, Linkerd's 4140-4191,
#     Pointsman's 16000-16099.
#   - The rest is redirected: the kernel remembers where it was going, and tells the proxy.
set -eu

chain=POINTSMAN_IN
not_with_all=22,4140:4191,15000:15099,16000:16099

die() {
  echo "capture.sh: $*" >&2
  exit 2
}

action=${1:-}
[ $# = 0 ] || shift
ports='' to=16006 uid=16006 exclude_ports='' exclude_sources='' ipv6=auto
while [ $# != 0 ]; do
  [ $# != 1 ] || die "$1 needs a value"
  case $1 in
  --ports) ports=$2 ;;
  --to) to=$2 ;;
  --uid) uid=$2 ;;
  --exclude-ports) exclude_ports=$2 ;;
  --exclude-sources) exclude_sources=$2 ;;
  --ipv6) ipv6=$2 ;;
  *) die "unknown option $1" ;;
  esac
  shift 2
done

# is_number TEXT HIGH
is_number() {
  case $1 in
  '' | *[!0-9]* | ??????????*) return 1 ;;
  esac
  [ "$1" -le "$2" ]
}

is_port() { is_number "$1" 65535 && [ "$1" -gt 0 ]; }

each() { # a list's entries, one a line
  echo "$1" | tr ',' '\n' | grep -v '^$' || true
}

check_ports() { # --option LIST
  for entry in $(each "$2"); do
    low=${entry%%:*} high=${entry##*:}
    case $entry in
    "$low" | "$low:$high") is_port "$low" && is_port "$high" && [ "$low" -le "$high" ] && continue ;;
    esac
    die "$1: must be ports in 1-65535, e.g. 80,8000:8010, is $entry"
  done
}

case $action in
apply | check)
  is_port "$to" || die "--to: must be a port, is '$to'"
  [ "$uid" = off ] || is_number "$uid" 4294967294 || die "--uid: must be a number or off, is '$uid'"
  case $ipv6 in auto | off) ;; *) die "--ipv6: must be auto or off, is '$ipv6'" ;; esac
  [ -n "$(each "$ports")" ] || die "--ports is required: ports to capture, or all"
  [ "$ports" = all ] || check_ports --ports "$ports"
  check_ports --exclude-ports "$exclude_ports"
  case $exclude_sources in *[!0-9A-Fa-f.:/,]*) die "--exclude-sources: must be CIDRs, is '$exclude_sources'" ;; esac
  ;;
remove) ;;
*) die "must be apply, remove or check (read the head of this file)" ;;
esac

# What iptables-restore reads. $1: 4 or 6. With --noflush a chain that is named is emptied and filled in one step.
rules() {
  echo '*nat'
  echo ":$chain - [0:0]"
  echo "-A $chain -m addrtype ! --dst-type LOCAL -j RETURN"
  if [ "$1" = 4 ]; then
    echo "-A $chain -d 127.0.0.0/8 -j RETURN"
  else
    echo "-A $chain -d ::1/128 -j RETURN"
    echo "-A $chain -d fe80::/10 -j RETURN"
  fi
  for source in $(each "$exclude_sources"); do
    case $source in *:*) family=6 ;; *) family=4 ;; esac
    [ "$family" != "$1" ] || echo "-A $chain -s $source -j RETURN"
  done
  for port in $(each "$exclude_ports") $([ "$ports" != all ] || each "$not_with_all") "$to"; do
    echo "-A $chain -p tcp -m tcp --dport $port -j RETURN"
  done
  if [ "$ports" = all ]; then
    echo "-A $chain -p tcp -j REDIRECT --to-ports $to"
  else
    for port in $(each "$ports"); do
      echo "-A $chain -p tcp -m tcp --dport $port -j REDIRECT --to-ports $to"
    done
  fi
  echo COMMIT
}

# The rules that lead to the chain, as arguments of iptables without the action.
jump_in="PREROUTING ! -i lo -p tcp -j $chain"
jump_own="OUTPUT -o lo -p tcp -m owner ! --uid-owner $uid -j $chain"

# $1: iptables or ip6tables, $2: 4 or 6
apply() {
  rules "$2" | "$1-restore" -w 5 --noflush || return 1
  # shellcheck disable=SC2086 # several words
  "$1" -w 5 -t nat -C $jump_in 2>/dev/null || "$1" -w 5 -t nat -A $jump_in || return 1
  # shellcheck disable=SC2086
  if [ "$uid" = off ] || ! "$1" -w 5 -t nat -C $jump_own 2>/dev/null; then
    remove_jumps "$1" OUTPUT # of another user
    [ "$uid" = off ] || "$1" -w 5 -t nat -A $jump_own || return 1
  fi
}

# $1: iptables or ip6tables, $2: of which chain
remove_jumps() {
  "$1" -w 5 -t nat -S "$2" 2>/dev/null | grep -e " -j $chain\$" | sed 's/^-A/-D/' | while read -r rule; do
    # shellcheck disable=SC2086
    "$1" -w 5 -t nat $rule
  done
}

remove() {
  remove_jumps "$1" PREROUTING
  remove_jumps "$1" OUTPUT
  if "$1" -w 5 -t nat -S "$chain" >/dev/null 2>&1; then
    "$1" -w 5 -t nat -F "$chain"
    "$1" -w 5 -t nat -X "$chain"
  fi
}

check() {
  "$1" -w 5 -t nat -S "$chain" >/dev/null 2>&1 || { echo "$1: no chain $chain" && return 1; }
  want=$(rules "$2" | grep -e '^-A' | sort)
  have=$("$1" -w 5 -t nat -S "$chain" | grep -e '^-A' | sort)
  [ "$want" = "$have" ] || { echo "$1: the chain $chain holds other rules" && return 1; }
  # shellcheck disable=SC2086
  "$1" -w 5 -t nat -C $jump_in 2>/dev/null || { echo "$1: PREROUTING does not lead to $chain" && return 1; }
  # shellcheck disable=SC2086
  [ "$uid" = off ] || "$1" -w 5 -t nat -C $jump_own 2>/dev/null ||
    { echo "$1: OUTPUT does not lead to $chain" && return 1; }
  echo "$1: in place"
}

# Whether others can come by IPv6: there is an address beside those of loopback and of the link.
has_ipv6() { grep -v -e ' lo$' -e '^fe[89ab]' /proc/net/if_inet6 2>/dev/null | grep -q .; }

status=0
"$action" iptables 4 || status=1
if [ "$action" != remove ] && [ "$ipv6" = off ]; then
  : # as asked
elif ip6tables -w 5 -t nat -S >/dev/null 2>&1; then
  "$action" ip6tables 6 || status=1
elif [ "$action" != remove ] && has_ipv6; then
  echo "ip6tables can't be used, so what comes by IPv6 would not be captured (--ipv6 off allows that)" >&2
  status=1
fi
exit $status
