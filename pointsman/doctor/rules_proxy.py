"""What is the matter with a running proxy, by its pages. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pointsman.doctor.facts import ProxyFacts
from pointsman.doctor.findings import Finding, fine, note, problem, unknown, warning

_SHOWN: Final = 5
_FULL: Final = 0.9


def of_proxy(facts: ProxyFacts) -> Iterator[Finding]:
    subject = f"proxy {facts.address}"
    if facts.unreachable:
        yield problem(
            "reachable",
            subject,
            f"its admin pages can't be reached: {facts.unreachable}",
            "see whether it runs, and whether --admin is this address (kubectl port-forward for a pod's)",
        )
        return
    yield from _ready(subject, facts)
    if facts.state is None:
        yield unknown(
            "table",
            subject,
            f"its table can't be read: {facts.refused}",
            "name a file with its token: --admin-token-file",
        )
    else:
        yield from _table(subject, facts.state)
        yield from _version(subject, facts)
        yield from _limit(subject, facts)
    yield from _feed(subject, facts)
    yield from _connections(subject, facts)
    yield from _encrypted(subject, facts)
    yield from _keys(subject, facts)
    yield from _sandboxes(subject, facts)
    yield from _own_failures(subject, facts)


def _ready(subject: str, facts: ProxyFacts) -> Iterator[Finding]:
    if facts.status == 200:
        yield fine("ready", subject, "it is ready")
    else:
        why = facts.ready_text.removeprefix("not ready: ").strip() or f"/readyz says {facts.status}"
        yield problem(
            "ready", subject, f"it is not ready: {why}", "wait if it is starting or draining, else see its log"
        )


def _table(subject: str, state: Mapping[str, object]) -> Iterator[Finding]:
    version, source = state.get("version"), state.get("source")
    faults = [str(fault) for fault in _list(state.get("last_error"))]
    age_s = _number(state.get("age_s"))
    if version is None:
        yield problem(
            "table",
            subject,
            f"it has no table yet from {source}" + (f": {faults[0]}" if faults else "") + "; tagged requests get 503",
            "see whether the controller can be reached from there: pointsman doctor --controller URL",
        )
        return
    if state.get("stale"):
        shown = "; ".join(faults[:_SHOWN]) + (f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else "")
        is_feed = str(source).startswith(("http://", "https://"))
        yield problem(
            "table",
            subject,
            f"its table is stale (version {version}, in force for {age_s:.0f} s): {shown or 'its source is not heard'}",
            "start the controller, or correct what it refuses"
            if is_feed
            else f"correct {source}; what is wrong is named by its path",
        )
        return
    yield fine("table", subject, f"table {version} from {source}, in force for {age_s:.0f} s")
    if refused := int(_number(state.get("refused_total"))):
        yield note("table", subject, f"{refused} tables were refused since it started; the last one was not")


def _version(subject: str, facts: ProxyFacts) -> Iterator[Finding]:
    release = str(_about(facts).get("release", ""))
    if release and facts.own_release and release != facts.own_release:
        yield warning(
            "version",
            subject,
            f"it is release {release}, this command {facts.own_release}",
            "take the same release on both sides",
        )
    elif release:
        yield fine("version", subject, f"release {release}")


def _limit(subject: str, facts: ProxyFacts) -> Iterator[Finding]:
    wanted = int(_number(_about(facts).get("maxConnections")))
    limit = facts.after.count("pointsman_downstream_connections_limit")
    if wanted and limit and limit < wanted:
        yield warning(
            "open files",
            subject,
            f"it takes {limit} connections instead of --max-connections {wanted}: no more fit into its open files",
            "raise the hard limit (ulimit -Hn, LimitNOFILE=) or lower --max-connections",
        )
    elif limit:
        yield fine("open files", subject, f"{limit} connections fit into its open files")


def _feed(subject: str, facts: ProxyFacts) -> Iterator[Finding]:
    connected = facts.after.total("pointsman_feed_connected")
    if connected is None:
        return
    if connected:
        yield fine("feed", subject, "it is connected to the controller")
    else:
        yield problem(
            "feed",
            subject,
            "it is not connected to the controller, so it does not hear of changes",
            "see its log for why, and the controller: pointsman doctor --controller URL",
        )
    if lost := _risen(facts, "pointsman_lost_key_counts_total"):
        yield warning(
            "feed",
            subject,
            f"{lost} requests were left out of the counts per key just now: too many keys nobody knows",
            "find who sends made-up keys; until then `verify` says unknown",
        )


def _connections(subject: str, facts: ProxyFacts) -> Iterator[Finding]:
    now = facts.after.count("pointsman_downstream_connections")
    limit = facts.after.count("pointsman_downstream_connections_limit")
    if limit and now >= _FULL * limit:
        yield problem(
            "connections",
            subject,
            f"{now} of at most {limit} connections are open; more get 503 or wait",
            "raise --max-connections and the limit of open files, or find who holds them",
        )
    if delayed := _risen(facts, "pointsman_accepts_delayed_total"):
        yield warning(
            "connections",
            subject,
            f"accepting connections paused {delayed} times just now, for want of room",
            "raise --max-connections and the limit of open files",
        )


def _encrypted(subject: str, facts: ProxyFacts) -> Iterator[Finding]:
    name = "pointsman_passed_connections_opened_total"
    by_port = {port: int(count) for port, count in facts.after.by(name, "port", protocol="tls").items() if count}
    if by_port:
        ports = ", ".join(f"{count} to port {port}" for port, count in sorted(by_port.items()))
        yield warning(
            "encrypted",
            subject,
            f"encrypted connections cannot be routed, and passed to the baseline: {ports}",
            "let callers speak plain HTTP to these ports, e.g. behind the mesh's own TLS",
        )
    total = facts.after.count(name)
    if others := total - sum(by_port.values()):
        yield note("encrypted", subject, f"{others} connections that were no HTTP passed as they were")


def _keys(subject: str, facts: ProxyFacts) -> Iterator[Finding]:
    for reason, what, todo in (
        (
            "unknown_key",
            "with keys that no sandbox has",
            "see whether tests use a key of another cluster or of a sandbox that was never applied"
            " (pointsman sandbox list -A)",
        ),
        ("invalid_key", "with values that are no keys", "correct who sends them: a key is 1-63 of A-Z a-z 0-9 . _ -"),
        ("gone_key", "with keys of deleted sandboxes", "end the tests that still use them, or apply the sandbox again"),
        ("loop", "that were led back to their own proxy", "correct the route or the rule that leads them here again"),
    ):
        if risen := _risen(facts, "pointsman_requests_total", reason=reason):
            yield warning("keys", subject, f"{risen} requests {what} came just now", todo)
        elif count := facts.after.count("pointsman_requests_total", reason=reason):
            yield note("keys", subject, f"{count} requests {what} since it started, none just now")


def _sandboxes(subject: str, facts: ProxyFacts) -> Iterator[Finding]:
    name = "pointsman_upstream_failures_total"
    sandboxes = facts.after.by(name, "sandbox", route="sandbox")
    before = facts.before.by(name, "sandbox", route="sandbox")
    for sandbox, count in sorted(sandboxes.items()):
        if risen := int(count - before.get(sandbox, 0)):
            yield problem(
                "sandboxes",
                subject,
                f"sandbox {sandbox} does not answer: {risen} attempts failed just now",
                "see whether its workload runs and whether the destination in /table is its address",
            )
        elif count:
            yield note("sandboxes", subject, f"{int(count)} attempts at sandbox {sandbox} failed, none just now")
    for reason, what in (("no_destination", "has no destination"), ("port_not_mapped", "does not map the port")):
        for sandbox, count in sorted(facts.after.by("pointsman_requests_total", "sandbox", reason=reason).items()):
            earlier = facts.before.count("pointsman_requests_total", reason=reason, sandbox=sandbox)
            if risen := int(count - earlier):
                yield problem(
                    "sandboxes",
                    subject,
                    f"sandbox {sandbox} {what}: {risen} requests got 503 just now",
                    f"see what the sandbox says: pointsman sandbox get {sandbox}",
                )


def _own_failures(subject: str, facts: ProxyFacts) -> Iterator[Finding]:
    if risen := _risen(facts, "pointsman_upstream_failures_total", route="baseline"):
        yield problem(
            "baseline",
            subject,
            f"{risen} attempts at the baseline failed just now",
            "see whether the application runs and answers at --baseline",
        )
    for name, what in (
        ("pointsman_access_log_lines_dropped_total", "lines of the access log were dropped"),
        ("pointsman_state_file_failures_total", "state files could not be read or written"),
        ("pointsman_worker_deaths_total", "workers died"),
    ):
        if count := facts.after.count(name):
            yield warning("log", subject, f"{count} {what} since it started", "see its log on stderr for why")


def _risen(facts: ProxyFacts, name: str, **labels: str) -> int:
    return max(facts.after.count(name, **labels) - facts.before.count(name, **labels), 0)


def _about(facts: ProxyFacts) -> Mapping[str, object]:
    about = (facts.state or {}).get("proxy")
    return about if isinstance(about, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
