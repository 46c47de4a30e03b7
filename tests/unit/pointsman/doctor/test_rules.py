"""Facts in, findings out: each rule by a table of what was seen and what must be said of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from pointsman.doctor import findings as saying
from pointsman.doctor.asking import samples
from pointsman.doctor.facts import (
    AddressFacts,
    BaselineFacts,
    CaptureFacts,
    ControllerFacts,
    FileFacts,
    FilesLimit,
    Hop,
    NameFacts,
    ProbeFacts,
    ProxyFacts,
    Spoken,
)
from pointsman.doctor.findings import Finding, Severity
from pointsman.doctor.gather_machine import read_rules
from pointsman.doctor.rules_common import of_baseline, of_clock, of_names
from pointsman.doctor.rules_controller import of_controller, of_reached
from pointsman.doctor.rules_machine import of_addresses, of_capture, of_files, of_files_limit
from pointsman.doctor.rules_probe import caller_of, of_probe
from pointsman.doctor.rules_proxy import of_proxy

FINE, NOTE, WARNING, UNKNOWN, PROBLEM = (
    Severity.FINE,
    Severity.NOTE,
    Severity.WARNING,
    Severity.UNKNOWN,
    Severity.PROBLEM,
)


def said(found: Iterable[Finding]) -> list[tuple[Severity, str]]:
    """What is not fine."""
    return [(each.severity, each.check) for each in found if each.severity is not FINE]


def only(found: Iterable[Finding]) -> Finding:
    (one,) = found
    return one


# --- a running proxy ---

METRICS = """\
# HELP pointsman_downstream_connections x
pointsman_downstream_connections 3.0
pointsman_downstream_connections_limit 20000.0
pointsman_requests_total{route="baseline",sandbox="",status="2xx",reason="no_key"} 7.0
"""
STATE = {
    "version": "4",
    "age_s": 12.0,
    "source": "table.yaml",
    "stale": False,
    "refused_total": 0,
    "last_error": [],
    "proxy": {"release": "1.0", "maxConnections": 20000},
}
HEALTHY = ProxyFacts(
    "http://127.0.0.1:16020",
    status=200,
    ready_text="ok",
    state=STATE,
    before=samples(METRICS),
    after=samples(METRICS),
    own_release="1.0",
)


def counted(*lines: str) -> ProxyFacts:
    """The healthy one, after these were counted."""
    return replace(HEALTHY, after=samples(METRICS + "\n".join(lines)))


def told(**state: object) -> ProxyFacts:
    return replace(HEALTHY, state={**STATE, **state})


REQUESTS = 'pointsman_requests_total{route="baseline",sandbox="",status="2xx",reason="%s"} 5.0'
PROXIES = {
    "healthy": (HEALTHY, []),
    "unreachable": (ProxyFacts("x", unreachable="Connection refused"), [(PROBLEM, "reachable")]),
    "draining": (replace(HEALTHY, status=503, ready_text="not ready: draining"), [(PROBLEM, "ready")]),
    "no token": (replace(HEALTHY, state=None, refused="/table says 401"), [(UNKNOWN, "table")]),
    "no table yet": (told(version=None), [(PROBLEM, "table")]),
    "stale": (told(stale=True, last_error=["routes[0].mappings: is required"]), [(PROBLEM, "table")]),
    "refused before": (told(refused_total=2), [(NOTE, "table")]),
    "another release": (replace(HEALTHY, own_release="2.0"), [(WARNING, "version")]),
    "few files": (told(proxy={"release": "1.0", "maxConnections": 30000}), [(WARNING, "open files")]),
    "feed gone": (counted("pointsman_feed_connected 0.0"), [(PROBLEM, "feed")]),
    "feed there": (counted("pointsman_feed_connected 1.0"), []),
    "full": (counted("pointsman_downstream_connections 19000.0"), [(PROBLEM, "connections")]),
    "accepts wait": (counted("pointsman_accepts_delayed_total 4.0"), [(WARNING, "connections")]),
    "encrypted": (
        counted('pointsman_passed_connections_opened_total{port="8443",protocol="tls"} 4.0'),
        [(WARNING, "encrypted")],
    ),
    "no HTTP": (
        counted('pointsman_passed_connections_opened_total{port="3306",protocol="other"} 4.0'),
        [(NOTE, "encrypted")],
    ),
    "unknown keys": (counted(REQUESTS % "unknown_key"), [(WARNING, "keys")]),
    "loops": (counted(REQUESTS % "loop"), [(WARNING, "keys")]),
    "sandbox fails": (
        counted('pointsman_upstream_failures_total{route="sandbox",sandbox="pr-1",reason="sandbox_unreachable"} 2.0'),
        [(PROBLEM, "sandboxes")],
    ),
    "sandbox not ready": (
        counted('pointsman_requests_total{route="sandbox",sandbox="pr-1",status="5xx",reason="no_destination"} 2.0'),
        [(PROBLEM, "sandboxes")],
    ),
    "baseline fails": (
        counted('pointsman_upstream_failures_total{route="baseline",sandbox="",reason="baseline_unreachable"} 2.0'),
        [(PROBLEM, "baseline")],
    ),
    "drops": (counted("pointsman_access_log_lines_dropped_total 1.0"), [(WARNING, "log")]),
}


@pytest.mark.parametrize("name", PROXIES)
def test_a_running_proxy(name: str) -> None:
    facts, expected = PROXIES[name]
    assert said(of_proxy(facts)) == expected


def test_what_was_counted_before_is_only_noted() -> None:
    after = samples(METRICS + REQUESTS % "unknown_key")
    found = list(of_proxy(replace(HEALTHY, before=after, after=after)))
    assert said(found) == [(NOTE, "keys")]
    assert saying.exit_code(found) == 0


def test_faults_of_a_table_are_quoted() -> None:
    faults = [f"routes[{number}]: bad" for number in range(7)]
    (found,) = [each for each in of_proxy(told(stale=True, last_error=faults)) if each.severity is PROBLEM]
    assert "routes[0]: bad" in found.found
    assert "and 2 more" in found.found
    assert "table.yaml" in found.todo


# --- baselines, names, clocks ---

BOTH = Spoken(http1=True, http2=True)
ONE, TWO = Spoken(http1=True), Spoken(http2=True)
BASELINES = {
    "dead": ("auto", Spoken(unreachable="connection refused"), [PROBLEM]),
    "both": ("auto", BOTH, [FINE]),
    "HTTP/1.1": ("auto", ONE, [FINE]),
    "HTTP/2 alone": ("auto", TWO, [FINE, NOTE]),
    "HTTP/1.1 as told": ("http", ONE, [FINE]),
    "HTTP/2 as told": ("http2", TWO, [FINE]),
    "HTTP/2, told http": ("http", TWO, [PROBLEM]),
    "HTTP/1.1, told http2": ("http2", ONE, [PROBLEM]),
    "TLS": ("auto", Spoken(tls=True), [PROBLEM]),
    "silent": ("auto", Spoken(), [PROBLEM]),
}


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline(name: str) -> None:
    configured, spoken, expected = BASELINES[name]
    found = list(of_baseline("x", BaselineFacts("127.0.0.1:8081", configured, spoken)))
    assert [each.severity for each in found] == expected
    assert all("127.0.0.1:8081" in each.found for each in found)


def test_names() -> None:
    names = [
        NameFacts("a.example", "a baseline", "10.0.0.10", ("10.1.1.1",)),
        NameFacts("b.example", "a destination", "10.0.0.10"),
        NameFacts("c.example", "a destination", "10.0.0.10", error="timeout"),
    ]
    found = list(of_names("x", names))
    assert said(found) == [(PROBLEM, "names"), (PROBLEM, "names")]
    assert "b.example (a destination) does not exist, says 10.0.0.10" in found[0].found
    assert "c.example (a destination) can't be looked up: 10.0.0.10 does not answer" in found[1].found
    assert not list(of_names("x", []))


@pytest.mark.parametrize(
    ("ahead_s", "severity"),
    [(0.3, FINE), (-2.9, FINE), (4.0, WARNING), (-4.0, WARNING), (90.0, PROBLEM), (-3600.0, PROBLEM), (None, UNKNOWN)],
)
def test_clocks(ahead_s: float | None, severity: Severity) -> None:
    found = only(of_clock("x", ahead_s, 1.0))
    assert found.severity is severity
    if ahead_s is not None and severity is not FINE:
        assert ("behind" if ahead_s > 0 else "ahead of") in found.found


# --- a controller ---

CONTROLLER = ControllerFacts("http://c:1", ready_text="ok", ahead_s=0.0, vague_s=0.5)
CURRENT = {"id": "p-1", "workload": "a/Deployment/b", "isConnected": True, "isCurrent": True, "faults": []}
CONTROLLERS = {
    "unreachable": (ControllerFacts("x", unreachable="connection refused"), [(PROBLEM, "reachable")]),
    "no proxy": (CONTROLLER, [(NOTE, "proxies")]),
    "healthy": (replace(CONTROLLER, proxies=(CURRENT,)), []),
    "not ready": (
        replace(CONTROLLER, status=503, ready_text="not ready: x", proxies=(CURRENT,)),
        [(PROBLEM, "ready")],
    ),
    "full disk": (replace(CONTROLLER, ready_text="ok, but no space", proxies=(CURRENT,)), [(PROBLEM, "store")]),
    "bad file": (replace(CONTROLLER, faults=(("a.yaml", ("spec: x",)),), proxies=(CURRENT,)), [(PROBLEM, "store")]),
    "missing": (replace(CONTROLLER, proxies=({**CURRENT, "isConnected": False},)), [(PROBLEM, "proxies")]),
    "behind": (replace(CONTROLLER, proxies=({**CURRENT, "isCurrent": False},)), [(PROBLEM, "proxies")]),
    "refuses": (replace(CONTROLLER, proxies=({**CURRENT, "faults": ["bad"]},)), [(PROBLEM, "proxies")]),
    "not allowed": (replace(CONTROLLER, refused=("no",)), [(UNKNOWN, "allowed")]),
    "clock": (replace(CONTROLLER, proxies=(CURRENT,), ahead_s=100.0), [(PROBLEM, "clock")]),
}


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_controller(name: str) -> None:
    facts, expected = CONTROLLERS[name]
    assert sorted(map(str, said(of_controller(facts)))) == sorted(map(str, expected))


def test_what_anybody_sees_of_a_controller() -> None:
    assert [each.check for each in of_reached(CONTROLLER)] == ["ready", "clock"]


# --- a machine ---


def test_addresses() -> None:
    found = of_addresses(
        [
            AddressFacts("--listen", "127.0.0.1:16006", 16006),
            AddressFacts("--listen", "127.0.0.1:80", 80, "Address already in use", "process 7 (nginx)"),
            AddressFacts("--admin", "127.0.0.1:15020", 15020),
            AddressFacts("--admin", "127.0.0.1:4191", 4191),
            AddressFacts("--listen", "192.0.2.1:1", 1, "Cannot assign requested address"),
        ]
    )
    found = list(found)
    assert said(found) == [
        (PROBLEM, "addresses"),
        (WARNING, "mesh ports"),
        (WARNING, "mesh ports"),
        (PROBLEM, "addresses"),
    ]
    assert "process 7 (nginx) listens there" in found[1].found
    assert "Istio" in found[2].found
    assert "Linkerd" in found[4].found


def test_open_files() -> None:
    assert only(of_files_limit(FilesLimit(1024, 700, 20000))).severity is WARNING
    assert only(of_files_limit(FilesLimit(1 << 20, 1000000, 20000))).severity is FINE


def test_files() -> None:
    found = of_files([FileFacts("--table", "t", ("routes[0]: bad", "routes[1]: bad")), FileFacts("--token-file", "x")])
    assert [each.severity for each in found] == [PROBLEM, PROBLEM, FINE]


RULES = """\
-P PREROUTING ACCEPT
-P OUTPUT ACCEPT
-N POINTSMAN_IN
-A PREROUTING ! -i lo -p tcp -j POINTSMAN_IN
-A POINTSMAN_IN -m addrtype ! --dst-type LOCAL -j RETURN
-A POINTSMAN_IN -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 16006
"""


@pytest.mark.parametrize(
    ("text", "listen", "severity", "words"),
    [
        (RULES, 16006, FINE, "port 16006"),
        (RULES, 16007, PROBLEM, "redirects to 16006"),
        (RULES.replace("-A PREROUTING ! -i lo -p tcp -j POINTSMAN_IN\n", ""), 16006, PROBLEM, "PREROUTING"),
        ("-P PREROUTING ACCEPT\n", 16006, PROBLEM, "no chain"),
    ],
)
def test_capture_rules(text: str, listen: int, severity: Severity, words: str) -> None:
    found = only(of_capture([read_rules("iptables", text)], [listen]))
    assert found.severity is severity
    assert words in found.found


def test_capture_rules_that_may_not_be_seen() -> None:
    found = only(of_capture([CaptureFacts("iptables", error="no right to look", may_not=True)], [16006]))
    assert found.severity is UNKNOWN
    assert "root" in found.todo


# --- a marked request ---


def hop(name: str, began_s: float, ended_s: float, *, baggage: bool = True, tracestate: bool = True) -> Hop:
    return Hop(f"http://{name}", f"a/Deployment/{name}", began_s, ended_s, baggage, tracestate, 200, "no_key")


A = hop("a", 0.0, 9.0)
PROBES = {
    "whole": ((A, hop("b", 1.0, 8.0), hop("c", 2.0, 3.0)), []),
    "baggage lost": ((A, hop("b", 1.0, 8.0, baggage=False)), [(PROBLEM, "baggage is lost between a/Deployment/a and")]),
    "tracestate lost": ((A, hop("b", 1.0, 8.0, tracestate=False)), [(WARNING, "tracestate is lost between")]),
    "both lost": (
        (A, hop("b", 1.0, 8.0, baggage=False, tracestate=False)),
        [(PROBLEM, "lost between a/Deployment/a and a/Deployment/b: neither")],
    ),
    "one after the other": (
        (A, hop("b", 1.0, 8.0, baggage=False), hop("c", 2.0, 3.0, baggage=False, tracestate=False)),
        [(PROBLEM, "baggage is lost between a/"), (PROBLEM, "between a/Deployment/b and a/Deployment/c: neither")],
    ),
    "one of two branches": (
        (A, hop("b", 1.0, 2.0, baggage=False), hop("c", 3.0, 4.0)),
        [(PROBLEM, "between a/Deployment/a and a/Deployment/b;")],
    ),
    "before the first": ((hop("a", 0.0, 9.0, baggage=False),), [(PROBLEM, "between http://x and a/Deployment/a, the")]),
}


@pytest.mark.parametrize("name", PROBES)
def test_where_a_mark_is_lost(name: str) -> None:
    hops, expected = PROBES[name]
    found = list(of_probe(ProbeFacts("http://x", status=200, hops=tuple(reversed(hops)), asked=("http://a",))))
    lost = [each for each in found if each.todo]
    assert len(lost) == len(expected)
    for each, (severity, words) in zip(lost, expected, strict=True):
        assert each.severity is severity
        assert words in each.found


def test_who_called_whom() -> None:
    b, c, later = hop("b", 1.0, 8.0), hop("c", 2.0, 3.0), hop("d", 20.0, 21.0)
    assert caller_of(c, [A, b]) is b
    assert caller_of(hop("e", 8.5, 8.9), [A, b, c]) is A
    assert caller_of(later, [A, b, c]) is c
    assert caller_of(A, []) is None


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (ProbeFacts("http://x", error="connection refused"), [PROBLEM]),
        (ProbeFacts("http://x", status=200, asked=("http://a",)), [PROBLEM]),
        (ProbeFacts("http://x", status=200, silent=("http://a: 401",)), [UNKNOWN]),
        (ProbeFacts("http://x", status=404, hops=(A,), asked=("http://a",)), [WARNING]),
        (ProbeFacts("http://x", status=200, hops=(A,), asked=("http://a", "http://b")), [NOTE]),
    ],
)
def test_a_probe_that_did_not_go_well(facts: ProbeFacts, expected: list[Severity]) -> None:
    assert [each.severity for each in of_probe(facts) if each.severity is not FINE] == expected


# --- what is said of all ---


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        ([FINE, NOTE, WARNING], 0),
        ([FINE, UNKNOWN], 1),
        ([FINE, UNKNOWN, PROBLEM], 3),
        ([], 1),
    ],
)
def test_exit_codes(severities: list[Severity], code: int) -> None:
    assert saying.exit_code([Finding(severity, "x", "y", "z") for severity in severities]) == code


def test_the_worst_is_first() -> None:
    found = [saying.fine("a", "s", "well"), saying.problem("b", "s", "broken", "mend it"), saying.note("c", "s", "hm")]
    assert saying.text(found).splitlines() == [
        "problem  s: broken",
        "         -> mend it",
        "note     s: hm",
        "fine     s: well",
        "not healthy: 1 problem, 1 note, 1 fine",
    ]
    document = saying.document(found)
    assert document["verdict"] == "not healthy"
    assert document["exitCode"] == 3


def test_samples() -> None:
    found = samples('a_total{x="1",y="a\\"b"} 2.0\na_total{x="2"} 1e3\nb NaN\nc_bucket{le="}"} 1\n')
    assert found.total("a_total") == 1002
    assert found.total("a_total", y='a"b') == 2
    assert found.by("a_total", "x") == {"1": 2, "2": 1000}
    assert found.total("nothing") is None
    assert found.count("c_bucket", le="}") == 1
    assert found.count("b") == 0
