"""The corpus through the real proxy and through a real Envoy, each before an origin that takes whatever comes: the same
answers, the same number of requests upstream, and the same requests there.

`DEVIATIONS` and `SEEN_DEVIATIONS` are the reviewed lists of where they differ, and why we are right. An entry fails
when it is no longer true, and a sample that is missing there fails as well. Sections without a name are RFC 9112's.

Envoy is configured as in the benchmarks, near its defaults; an istio-proxy is told more.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.corpus.http1 import REQUESTS
from tests.support.envoy import Route, run_envoy
from tests.support.proxy import KEY, route, run_proxy, table
from tests.support.wire import Answer, Seen, WireOrigin, asked

# Samples are sent one after another through each of so many listeners, each with an origin of its own.
LANES = 12
# None of these has a mapping: if anything in the corpus were taken for a route, the answer would be ours, 503.
WORKLOAD_PORTS = tuple(range(9001, 9001 + LANES))


@dataclass(frozen=True)
class Outcome:
    """What became of one sample."""

    answers: Sequence[Answer]
    seen: Sequence[Seen]  # the whole requests upstream

    @property
    def verdict(self) -> str:
        """Answer by answer: `served` by the origin or `refused` by the proxy; `silent` where there was none."""
        words = ["served" if answer.origin else "refused" for answer in self.answers] or ["silent"]
        served = words.count("served")
        upstream = [] if len(self.seen) == served else [f"{len(self.seen)} upstream"]
        return ", ".join(words + upstream)


@dataclass
class Lanes:
    """One proxy's listeners and the origins behind them."""

    ports: list[int]
    origins: list[WireOrigin]
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def outcome(self, name: str, lane: int = 0, *, patience_s: float, quiet_s: float) -> Outcome:
        answers = asked(self.ports[lane], REQUESTS[name].data, patience_s=patience_s, quiet_s=quiet_s)
        return Outcome(answers, self.origins[lane].take())

    def run(self) -> None:
        """Every sample once."""

        def one_lane(lane: int) -> None:
            for name in list(REQUESTS)[lane::LANES]:
                self.outcomes[name] = self.outcome(name, lane, patience_s=0.5, quiet_s=0.1)

        threads = [threading.Thread(target=one_lane, args=(lane,)) for lane in range(LANES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def origins() -> Iterator[list[WireOrigin]]:
    servers = [WireOrigin() for _ in range(LANES)]
    yield servers
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lanes, Lanes]]:
    """Ours and Envoy's, with every sample sent."""
    folder: Path = tmp_path_factory.mktemp("envoy")
    document = table(route(KEY, [9]))
    with (
        origins() as behind_envoy,
        run_envoy(folder, *(Route(origin.port) for origin in behind_envoy)) as envoy_ports,
        origins() as behind_us,
        run_proxy(folder, *(o.port for o in behind_us), document=document, workload_ports=WORKLOAD_PORTS) as proxy,
    ):
        both = Lanes(proxy.ports, behind_us), Lanes(envoy_ports, behind_envoy)
        for each in both:
            each.run()
            assert set(each.outcomes) == set(REQUESTS)
        yield both


# --- where we differ, and why: (reason, what we do, what Envoy does, samples) ---

DEVIATIONS: list[tuple[str, str, str, list[str]]] = [
    (
        "methods are case-sensitive tokens (RFC 9110 section 9.1), not ours to judge; Envoy has a list of them",
        "served",
        "refused",
        ["a method in lower case", "a method of odd tchars"],
    ),
    (
        "`Connection` must not name `host` (RFC 9110 section 7.6.1); we keep the field (SPEC 4), Envoy refuses",
        "served",
        "refused",
        ["connection names host"],
    ),
    ("section 3.2.4: OPTIONS * is a request; Envoy's routes start with /", "served", "refused", ["OPTIONS *"]),
    (
        "a server answers any lower minor version (RFC 9110 section 2.5); Envoy wants to be told, else 426",
        "served",
        "refused",
        ["HTTP/1.0 with a Host", "HTTP/1.0 without a Host", "HTTP/1.0 with a body"],
    ),
    (
        "RFC 9110 section 5.4 sets no limit: we count 61440 bytes to the last, Envoy counts otherwise",
        "served",
        "refused",
        ["the largest head", "the largest trailers"],
    ),
    (
        "a bare CR in a field is invalid (section 2.2); Envoy passes it on, to readers who end a line there",
        "refused",
        "served",
        ["b'\\r' in a value"],
    ),
    (
        "likewise; and here the reader who ends a line sees one request, Envoy two",
        "refused",
        "served, served",
        ["a length behind a bare CR"],
    ),
    (
        "a line ends with CRLF; LF alone may be taken for it (section 2.2), which is one reading too many",
        "refused",
        "served",
        [
            "a length behind a bare LF",
            "bare LF everywhere",
            "an empty line by LF first",
            "chunk data ended by LF",
            "empty line ended by LF",
            "trailers ended by LF",
        ],
    ),
    (
        "likewise; what we would have read as a field Envoy reads as the next request",
        "refused",
        "served, refused",
        ["an empty line by LF"],
    ),
    (
        "obs-fold may be refused or unfolded (section 5.2); the service must not read another value than we do",
        "refused",
        "served",
        ["obs-fold", "obs-fold with a tab", "obs-fold of baggage", "obs-fold of nothing", "a fold in a trailer"],
    ),
    (
        "likewise; unfolded it is a coding that ends the body before the second request",
        "refused",
        "served, served",
        ["a folded coding"],
    ),
    (
        "likewise; trimmed it is a coding beside a length, unfolded a length that leaves half a body over",
        "refused",
        "served, refused",
        ["a coding folded into another field"],
    ),
    (
        "extensions are tokens and quoted strings (section 7.1.1), blanks round a size are none; Envoy skips to CRLF",
        "refused",
        "served",
        [
            "chunk size b'5 '",
            "chunk size b'5\\t'",
            "chunk size b'5 ;a'",
            "chunk size b'5; a'",
            "chunk size b'5;a = b'",
            "chunk size b'5;'",
            "chunk size b'5;=x'",
            "chunk size b'5;(=1'",
            "chunk size b'5;a=\"b'",
            "chunk size b'5;a=\\x01'",
            "chunk size b'5;a=\\x00b'",
        ],
    ),
    (
        "section 7.1.1: a server ought to limit extensions; ours is 1024 bytes with the size",
        "refused",
        "served",
        ["chunk size b'5;aaaaaaaaaaaaaaaaaaaaaaaaaaaa'"],
    ),
    (
        "CRLF follows a chunk's data (section 7.1); Envoy skips what stands before it",
        "refused",
        "served",
        ["chunk spill"],
    ),
    (
        "one Host, and a 400 for any other number (section 3.2); Envoy forwards both in one line",
        "refused",
        "served",
        ["two Hosts", "two Hosts alike"],
    ),
    (
        "Host is host [ : port ] (RFC 9110 section 7.2), and an invalid value is a 400 (section 3.2)",
        "refused",
        "served",
        [
            "Host b'a,b'",
            "Host b'u@a'",
            "Host b'u:p@a'",
            "Host b'a:b'",
            "Host b'a:123456'",
            "Host b'[::1'",
        ],
    ),
    (
        "an empty Host is for targets without an authority (section 3.2), which http has not (RFC 9110 section 4.2.1)",
        "refused",
        "served",
        ["Host b''"],
    ),
    (
        "single blanks part a request line; section 3 allows more and warns of it, since readers differ",
        "refused",
        "served",
        [
            "two blanks behind the method",
            "two blanks behind the target",
            "a blank behind the version",
            "a tab for a blank",
        ],
    ),
    (
        "Host must say what the target says (section 3.2); section 3.2.2 would rewrite it, but which one was meant?",
        "refused",
        "served",
        ["absolute-form for another host", "absolute-form for another port"],
    ),
    ("userinfo is treated as an error (RFC 9110 section 4.2.4)", "refused", "served", ["absolute-form with userinfo"]),
    (
        "conversion must not overflow (RFC 9110 section 8.6, section 7.1): no 63 bits, no body; Envoy waits for it",
        "refused",
        "silent",
        ["Content-Length b'9223372036854775808'", "chunk size b'fffffffffffffff0'"],
    ),
    (
        "a control is invalid wherever it stands (RFC 9110 section 5.5): the answer does not wait for a line's end",
        "refused",
        "silent",
        ["bare CR everywhere", "CR CR LF", "half a head with a control", "half the trailers with a control"],
    ),
]

# --- where both serve, and the origin sees something else: (reason, which part, samples) ---

SEEN_DEVIATIONS: list[tuple[str, str, list[str]]] = [
    (
        "a target is forwarded as it came (SPEC 4); every server takes absolute-form (section 3.2.2)",
        "target",
        ["absolute-form", "absolute-form without a path"],
    ),
    (
        "trailers that frame, route or name a host are dropped (RFC 9110 section 6.5.1); Envoy passes all on",
        "trailers",
        ["trailers that frame", "trailers that route"],
    ),
    ("TE is for one hop (RFC 9110 section 10.1.4); Envoy passes it on", "fields", ["te: trailers"]),
    (
        "Content-Length is never removed, though named (RFC 9110 section 7.6.1); Envoy frames the body anew, in chunks",
        "framing",
        ["Connection hides a length"],
    ),
    (
        "no framing is no body (section 6.3); Envoy says Content-Length: 0 for methods that may have one",
        "framing",
        ["an unusual method", "an underscore for a dash", "a coding with a prefix", "a body without framing"],
    ),
]


def by_sample() -> dict[str, tuple[str, str]]:
    """Our verdict and Envoy's by sample; each sample stands on the list once, and exists."""
    listed: dict[str, tuple[str, str]] = {}
    for _, ours, theirs, names in DEVIATIONS:
        assert ours != theirs
        for name in names:
            assert name in REQUESTS
            assert name not in listed
            listed[name] = (ours, theirs)
    return listed


LISTED = by_sample()
SEEN_LISTED = [(name, part) for _, part, names in SEEN_DEVIATIONS for name in names]

# Envoy's own additions, and fields that say the framing, which is compared by itself.
NOT_COMPARED = {b"x-forwarded-proto", b"content-length", b"transfer-encoding"}


def parts(seen: Seen) -> dict[str, object]:
    """What is compared. Envoy puts Host first."""
    hosts = [field for field in seen.fields if field[0] == b"host"]
    fields = [field for field in seen.fields if field[0] not in (b"host", *NOT_COMPARED)]
    lengths = [field for field in seen.fields if field[0] in (b"content-length", b"transfer-encoding")]
    return {
        "method": seen.method,
        "target": seen.target,
        "version": seen.version,
        "framing": (seen.framing, len(lengths)),
        "fields": hosts + fields,
        "body": seen.body,
        "trailers": seen.trailers,
    }


def check(name: str, ours: Outcome, theirs: Outcome) -> None:
    verdicts = ours.verdict, theirs.verdict
    if name in LISTED:
        assert verdicts == LISTED[name], "the entry is no longer true"
        return
    assert verdicts[0] == verdicts[1], f"a new deviation: {ours!r:.400}, {theirs!r:.400}"
    differing = {
        (name, part)
        for one, other in zip(ours.seen, theirs.seen, strict=True)
        for part in parts(one)
        if parts(one)[part] != parts(other)[part]
    }
    listed = {entry for entry in SEEN_LISTED if entry[0] == name}
    assert not listed - differing, "the entry is no longer true"
    assert not differing - listed, f"a new deviation: {ours.seen!r:.400}, {theirs.seen!r:.400}"


@pytest.mark.parametrize("name", REQUESTS)
def test_request(name: str, lanes: tuple[Lanes, Lanes]) -> None:
    ours, theirs = lanes
    try:
        check(name, ours.outcomes[name], theirs.outcomes[name])
    except AssertionError:  # an answer that was late on a busy machine is no deviation
        check(name, *(each.outcome(name, patience_s=2.0, quiet_s=0.5) for each in lanes))


def test_no_entry_is_left_over() -> None:
    assert len(set(SEEN_LISTED)) == len(SEEN_LISTED)
    for name, _ in SEEN_LISTED:
        assert name in REQUESTS
        assert name not in LISTED, "what is not served by both cannot be compared"


def test_nothing_is_served_that_smuggles(lanes: tuple[Lanes, Lanes]) -> None:
    """CHECKLIST 2: never more than one answer to one sample, never more than one request upstream."""
    for name, outcome in lanes[0].outcomes.items():
        assert len(outcome.answers) <= 1, name
        assert len(outcome.seen) <= 1, name
        assert all(seen.target != b"/smuggled" for seen in outcome.seen), name
