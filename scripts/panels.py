"""What the dashboard shows: rows, panels and their queries. `dashboard` puts them into Grafana's form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Query:
    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """`kind`: as Grafana calls it. `width`: of 24 columns."""

    title: str
    text: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    bad_from: float | None = None  # a number that is red from there on
    exemplars: bool = False

    @property
    def height(self) -> int:
        return 4 if self.kind == "stat" else 8


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


_RATE: Final = "[$__rate_interval]"
# What a request ends with if neither its caller nor a route's absence is why: a failure on the way.
_FAILURES: Final = (
    'reason=~"sandbox_unreachable|no_destination|port_not_mapped|baseline_unreachable|upstream_.+|upgrade_refused'
    '|destination_refused|out_of_files|not_synced|loop|stream_timeout|internal_error"'
)
_NOT_FORWARDED: Final = 'reason!~"route|no_key|invalid_key|not_forked|gone_route|unknown_key|preview_login"'


def _of_proxies(*labels: str) -> str:
    return "{" + ",".join(['job=~"$job"', 'instance=~"$instance"', *labels]) + "}"


def _of_controller(*labels: str) -> str:
    return "{" + ",".join(['job=~"$controller"', *labels]) + "}"


def _rate(metric: str, *labels: str) -> str:
    return f"rate({metric}{_of_proxies(*labels)}{_RATE})"


def _total(expr: str) -> str:
    return f"sum({expr})"


def _by(labels: str, expr: str) -> str:
    return f"sum by ({labels}) ({expr})"


def _controller_rate(metric: str) -> str:
    return f"rate({metric}{_of_controller()}{_RATE})"


def _process(metric: str, build_info: str, suffix: str = "") -> str:
    """`process_*` of our own processes: others have such metrics, too."""
    selected = _of_controller() if "controller" in build_info else _of_proxies()
    inner = f"rate({metric}{selected}{suffix})" if suffix else f"{metric}{selected}"
    return f"{inner} and on (job, instance) {build_info}"


def _quantiles(metric: str, by: str = "", legend: str = "") -> tuple[Query, ...]:
    labels = f"le, {by}" if by else "le"
    return tuple(
        Query(f"histogram_quantile({q}, sum by ({labels}) ({_rate(f'{metric}_bucket')}))", f"p{round(q * 100)}{legend}")
        for q in (0.5, 0.99)
    )


_PROXY: Final = "pointsman_build_info"
_CONTROLLER: Final = "pointsman_controller_build_info"
_REQUESTS: Final = "pointsman_requests_total"


def _stat(title: str, text: str, unit: str, expr: str, bad_from: float | None = None) -> Panel:
    return Panel(title, text, unit, (Query(expr),), "stat", 3, bad_from)


ROWS: Final = (
    Row(
        "At a glance",
        (
            _stat("Requests", "All that the proxies decided.", "reqps", _total(_rate(_REQUESTS))),
            _stat(
                "To sandboxes",
                "Requests with the key of a sandbox that changes the workload.",
                "reqps",
                _total(_rate(_REQUESTS, 'route="sandbox"')),
            ),
            _stat(
                "Failed",
                "The share that failed on its way, whatever the services themselves answered.",
                "percentunit",
                f"(sum({_rate(_REQUESTS, _FAILURES)}) or vector(0)) / sum({_rate(_REQUESTS)})",
                0.01,
            ),
            _stat(
                "Unknown keys",
                "Tagged requests that went to the baseline since nobody has heard of their key.",
                "reqps",
                _total(_rate(_REQUESTS, 'reason="unknown_key"')),
                0.1,
            ),
            _stat(
                "Loops",
                "Requests that came back to the proxy that had sent them on, in the time that is shown.",
                "short",
                _total("increase(" + _REQUESTS + _of_proxies('reason="loop"') + "[$__range])"),
                1,
            ),
            _stat(
                "Stale tables",
                "Proxies whose table may not be the source's.",
                "short",
                f"sum(pointsman_table_stale{_of_proxies()})",
                1,
            ),
            _stat("Proxies", "Those that are scraped.", "short", f"count(pointsman_build_info{_of_proxies()})"),
            _stat(
                "Without controller",
                "Proxies that have one configured and no connection to it.",
                "short",
                f"count(pointsman_feed_connected{_of_proxies()} == 0) or vector(0)",
                1,
            ),
        ),
    ),
    Row(
        "Traffic",
        (
            Panel(
                "By where it went",
                "sandbox, baseline, or none: the proxy answered itself.",
                "reqps",
                (Query(_by("route", _rate(_REQUESTS)), "{{route}}"),),
            ),
            Panel(
                "By reason",
                "Why it went there, or what it ended with.",
                "reqps",
                (Query(_by("reason", _rate(_REQUESTS)), "{{reason}}"),),
            ),
            Panel(
                "By status",
                "Classes of status codes; none: it ended without a response head.",
                "reqps",
                (Query(_by("status", _rate(_REQUESTS)), "{{status}}"),),
            ),
            Panel(
                "Busiest sandboxes",
                "The ten with the most requests; `other` are those beyond 500.",
                "reqps",
                (Query("topk(10, " + _by("sandbox", _rate(_REQUESTS, 'sandbox!=""')) + ")", "{{sandbox}}"),),
            ),
            Panel(
                "gRPC calls by status",
                "By the status that they ended with, a number; 2 also where there was none.",
                "reqps",
                (Query(_by("grpc_status", _rate("pointsman_grpc_calls_total")), "{{grpc_status}}"),),
            ),
            Panel(
                "Oddities of keys",
                "Ambiguous: two different keys in one request. Not joined: routing fields left in several lines.",
                "reqps",
                (
                    Query(_total(_rate("pointsman_ambiguous_requests_total")), "ambiguous"),
                    Query(_total(_rate("pointsman_lines_not_joined_total")), "not joined"),
                ),
            ),
        ),
    ),
    Row(
        "Errors",
        (
            Panel(
                "Not forwarded, or failed, by reason",
                "README's table of reasons says what each means.",
                "reqps",
                (Query(_by("reason", _rate(_REQUESTS, _NOT_FORWARDED)), "{{reason}}"),),
            ),
            Panel(
                "Failing sandboxes",
                "Requests for sandboxes that got no answer of theirs.",
                "reqps",
                (
                    Query(
                        _by("sandbox, reason", _rate(_REQUESTS, 'sandbox!=""', 'reason!="route"')),
                        "{{sandbox}} {{reason}}",
                    ),
                ),
            ),
            Panel(
                "Failed attempts at upstreams",
                "Each attempt counts; the request may have succeeded elsewhere.",
                "reqps",
                (
                    Query(
                        _by("route, reason", _rate("pointsman_upstream_failures_total")),
                        "{{route}} {{reason}}",
                    ),
                    Query(_total(_rate("pointsman_upstream_retries_total")), "sent again"),
                ),
            ),
            Panel(
                "Refused before a decision",
                "What was no valid request, and connections over the limit.",
                "reqps",
                (Query(_by("reason", _rate("pointsman_refused_requests_total")), "{{reason}}"),),
            ),
            Panel(
                "Captured connections that passed as they were",
                "Only with --transparent. tls: encrypted, so it can't be routed by key.",
                "cps",
                (Query(_by("protocol", _rate("pointsman_passed_connections_opened_total")), "{{protocol}}"),),
            ),
            Panel(
                "What was lost of logs and counts",
                "Access log: lines that could not be written. Keys: requests that verify will not know of.",
                "cps",
                (
                    Query(_total(_rate("pointsman_access_log_lines_dropped_total")), "access log"),
                    Query(_total(_rate("pointsman_lost_key_counts_total")), "counts per key"),
                ),
            ),
        ),
    ),
    Row(
        "Latency added",
        (
            Panel(
                "Until a request goes on",
                "Deciding, and waiting for a connection to the upstream where none was open.",
                "s",
                _quantiles("pointsman_request_forward_seconds"),
            ),
            Panel(
                "Lag of the event loop",
                "How late a timer comes. While it is late, everything waits.",
                "s",
                _quantiles("pointsman_event_loop_lag_seconds"),
            ),
            Panel(
                "Whole requests",
                "From the head to the response's last byte: mostly the services' own time.",
                "s",
                _quantiles("pointsman_request_duration_seconds", "route", " {{route}}"),
                exemplars=True,
            ),
        ),
    ),
    Row(
        "Table",
        (
            Panel(
                "Age",
                "Since the table in force took effect.",
                "s",
                (Query(f"pointsman_table_age_seconds{_of_proxies()}", "{{instance}}"),),
                width=6,
            ),
            Panel(
                "Stale for",
                "0 while the table is what its source has.",
                "s",
                (Query(f"pointsman_table_stale_seconds{_of_proxies()}", "{{instance}}"),),
                width=6,
            ),
            Panel(
                "Versions in force",
                "How many proxies (or workers) have each.",
                "short",
                (Query(f"sum by (version) (pointsman_table_info{_of_proxies()})", "{{version}}"),),
                width=6,
            ),
            Panel(
                "Routes, and refusals",
                "Routes in each proxy's table; tables refused in an hour.",
                "short",
                (
                    Query(f"pointsman_table_routes{_of_proxies()}", "routes {{instance}}"),
                    Query(f"sum(increase(pointsman_table_refused_total{_of_proxies()}[1h]))", "refused in 1 h"),
                ),
                width=6,
            ),
        ),
    ),
    Row(
        "Connections",
        (
            Panel(
                "Open",
                "Downstream are callers', upstream those to baselines and sandboxes, tunnels are WebSockets.",
                "short",
                (
                    Query(f"sum(pointsman_downstream_connections{_of_proxies()})", "downstream"),
                    Query(f"sum(pointsman_upstream_connections{_of_proxies()})", "upstream"),
                    Query(f"sum(pointsman_tunnels{_of_proxies()})", "tunnels"),
                ),
            ),
            Panel(
                "Opened",
                "Many beside few requests: somebody does not keep connections.",
                "cps",
                (
                    Query(_total(_rate("pointsman_downstream_connections_opened_total")), "downstream"),
                    Query(_total(_rate("pointsman_upstream_connections_opened_total")), "upstream"),
                ),
            ),
            Panel(
                "Room",
                "The fullest proxy, and pauses in accepting for want of room or files.",
                "percentunit",
                (
                    Query(
                        f"max(pointsman_downstream_connections{_of_proxies()}"
                        f" / pointsman_downstream_connections_limit{_of_proxies()})",
                        "share of the limit",
                    ),
                    Query(_total(_rate("pointsman_accepts_delayed_total")), "pauses a second"),
                ),
            ),
        ),
    ),
    Row(
        "Resources",
        (
            Panel(
                "CPU",
                "Of one core each, or as many as there are workers.",
                "percentunit",
                (Query(_process("process_cpu_seconds_total", _PROXY, _RATE), "{{instance}}"),),
                width=6,
            ),
            Panel(
                "CPU per request",
                "Some 20 us compiled, more while there are few requests.",
                "s",
                (
                    Query(
                        f"sum({_process('process_cpu_seconds_total', _PROXY, _RATE)}) / sum({_rate(_REQUESTS)})", "all"
                    ),
                ),
                width=6,
            ),
            Panel(
                "Memory",
                "Resident.",
                "bytes",
                (Query(_process("process_resident_memory_bytes", _PROXY), "{{instance}}"),),
                width=6,
            ),
            Panel(
                "Open files",
                "Of those that may be open.",
                "percentunit",
                (
                    Query(
                        f"process_open_fds{_of_proxies()} / process_max_fds{_of_proxies()}"
                        " and on (job, instance) pointsman_build_info",
                        "{{instance}}",
                    ),
                ),
                width=6,
            ),
        ),
    ),
    Row(
        "Controller",
        (
            Panel(
                "Proxies",
                "Current: they have the newest table. Lost: gone without a goodbye.",
                "short",
                (
                    Query(f"sum(pointsman_controller_proxies{_of_controller()})", "attached"),
                    Query(f"sum(pointsman_controller_proxies_current{_of_controller()})", "current"),
                    Query(f"sum(pointsman_controller_proxies_lost{_of_controller()})", "lost"),
                ),
            ),
            Panel(
                "Convergence",
                "From a table's being told to a proxy's having it.",
                "s",
                tuple(
                    Query(
                        f"histogram_quantile({q}, sum by (le)"
                        f" ({_controller_rate('pointsman_controller_convergence_seconds_bucket')}))",
                        f"p{round(q * 100)}",
                    )
                    for q in (0.5, 0.99)
                ),
            ),
            Panel(
                "Answers of proxies",
                "A nack is a table, or some route of it, that a proxy refused.",
                "cps",
                (
                    Query(_total(_controller_rate("pointsman_controller_acks_total")), "acks"),
                    Query(_total(_controller_rate("pointsman_controller_nacks_total")), "nacks"),
                ),
            ),
            Panel(
                "Objects",
                "By kind.",
                "short",
                (Query(f"sum by (kind) (pointsman_controller_objects{_of_controller()})", "{{kind}}"),),
            ),
            Panel(
                "Changes",
                "That somebody asked for, by verb and result.",
                "cps",
                (
                    Query(
                        _by("verb, result", _controller_rate("pointsman_controller_changes_total")),
                        "{{verb}} {{result}}",
                    ),
                ),
            ),
            Panel(
                "Time per compilation",
                "From objects to the table.",
                "s",
                (
                    Query(
                        f"sum({_controller_rate('pointsman_controller_compile_seconds_total')})"
                        f" / (sum({_controller_rate('pointsman_controller_compilations_total')}) > 0)",
                        "mean",
                    ),
                    Query(f"max(pointsman_controller_last_compile_seconds{_of_controller()})", "last"),
                ),
            ),
            Panel(
                "Faults",
                "All of these should be 0.",
                "short",
                (
                    Query(f"sum(pointsman_controller_state_failing{_of_controller()})", "state can't be written"),
                    Query(f"sum(pointsman_controller_store_faults{_of_controller()})", "files that can't be read"),
                    Query(
                        f"sum(increase(pointsman_controller_store_failures_total{_of_controller()}[1h]))",
                        "failures of the store in 1 h",
                    ),
                    Query(
                        f"sum(increase(pointsman_controller_audit_failures_total{_of_controller()}[1h]))",
                        "lost lines of audit in 1 h",
                    ),
                ),
            ),
            Panel(
                "Seen from the proxies",
                "Proxies with a connection to it; connections that broke or were not made.",
                "short",
                (
                    Query(f"sum(pointsman_feed_connected{_of_proxies()})", "connected"),
                    Query(f"sum(increase(pointsman_feed_failures_total{_of_proxies()}[$__rate_interval]))", "failures"),
                ),
            ),
            Panel(
                "Resources",
                "CPU as a share of one core; memory in GB.",
                "short",
                (
                    Query(_process("process_cpu_seconds_total", _CONTROLLER, _RATE), "CPU {{instance}}"),
                    Query(
                        f"process_resident_memory_bytes{_of_controller()} / 1e9 and on (job, instance) {_CONTROLLER}",
                        "GB {{instance}}",
                    ),
                ),
            ),
        ),
    ),
)
