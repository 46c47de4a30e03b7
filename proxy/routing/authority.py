"""The host and the port that an authority names (Host, `:authority`), in one spelling.

Spec: RFC 9110 section 4.2.3 (hosts have no case), RFC 3986 section 3.2. A trailing dot says only that no search list is
to be asked (RFC 1034 section 3.1), so it makes no other host.
"""

from __future__ import annotations

from typing import Final

DEFAULT_PORT: Final = 80
_MAX_PORT_DIGITS: Final = 5


def host_name(host: bytes) -> bytes:
    """The one spelling of a host, without brackets and port: lower case, no trailing dot, the shortest IPv6."""
    if b":" in host:
        from ipaddress import AddressValueError, IPv6Address  # late: few hosts are IPv6 literals

        try:
            return IPv6Address(host.decode("ascii", "replace")).compressed.encode()
        except AddressValueError:
            return host.lower()
    name = host.lower()
    return name[:-1] if name.endswith(b".") else name


def split_authority(authority: bytes) -> tuple[bytes, int | None] | None:
    """Host in its one spelling, and the port if one is named; None if it is neither. A second trailing dot is an empty
    label, and no host's."""
    if authority.startswith(b"["):
        host, bracket, rest = authority[1:].partition(b"]")
        if not bracket or b":" not in host or (rest and not rest.startswith(b":")):
            return None
        digits = rest[1:]
    else:
        host, _, digits = authority.partition(b":")
    if not host or host.endswith(b"..") or host == b".":
        return None
    if not digits:
        return host_name(host), None
    if not digits.isdigit():  # of bytes, isdigit knows ASCII alone
        return None
    digits = digits.lstrip(b"0")
    if not digits or len(digits) > _MAX_PORT_DIGITS or int(digits) > 65535:
        return None
    return host_name(host), int(digits)


def named(name: bytes, port: int | None = None) -> bytes:
    """The authority of a host in its one spelling."""
    host = b"[%b]" % name if b":" in name else name
    return host if port is None else b"%b:%d" % (host, port)
