"""CHECKLIST A, end to end: every request of the corpus through the real process, before an origin that takes whatever
comes and records it, byte for byte. Each sample goes whole and byte by byte, alone and with a good request behind it.

A fault is one answer of our own and the end of the connection. The origin has not got one byte of it, or, where a body
was already on its way, no whole request, and its connection ends too. Nothing behind a fault is ever a request.

What is sent byte by byte are single segments, of which a busy proxy may read a few at once; `tests/unit` cuts exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.corpus import connections
from tests.corpus.http1 import CUT, HOST, PLAIN, REQUESTS, SMUGGLED
from tests.support.proxy import KEY, Proxy, route, run_proxy, table
from tests.support.waiting import until
from tests.support.wire import Answer, Fields, Heard, Seen, WireOrigin, said

BEFORE = b"GET /before HTTP/1.1\r\n" + HOST + b"\r\n"
BEHIND = b"GET /behind HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
AFTER = b"GET /after HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"

# What is odd and clear all the same, beside the corpus' plain messages.
SERVED = [
    *PLAIN,
    "Connection hides a length",
    "Connection hides the coding",
    "an underscore for a dash",
    "a coding with a prefix",
]
# One message and the beginning of another, which is what it means to have no framing.
NOT_ONE_MESSAGE = "a body without framing"
# Refused before they end.
CUT_AND_BAD = ["half a head with a control", "half the trailers with a control"]

REFUSED = [name for name in REQUESTS if name not in (*SERVED, *CUT, NOT_ONE_MESSAGE)] + CUT_AND_BAD

# 400, save these. CHECKLIST allows 400, 405, 414, 431, 501 and 505 by line.
STATUS = {
    **dict.fromkeys(["HTTP/9.9", "HTTP/9.9 and a control", "HTTP/1.2", "HTTP/2.0"], 505),
    **dict.fromkeys(["CONNECT", "CONNECT with a body"], 405),
    **dict.fromkeys([f"Transfer-Encoding b'{first}, chunked'" for first in ("gzip", "identity")], 501),
    **dict.fromkeys(["101 fields", "a head over the limit", "a large head"], 431),
    **dict.fromkeys(["101 trailers", "trailers over the limit"], 431),
    "a long target": 414,
}


def with_line(names: list[str]) -> list[object]:
    """Test ids that begin with the line of CHECKLIST that a sample's prose names."""
    return [pytest.param(name, id=f"{_line(name)} {name}") for name in names]


def _line(name: str) -> str:
    match = re.match(r"A\d+(?=:)", REQUESTS[name].proves)
    return match[0] if match else "A"


def cuts(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    step = 1 if len(data) < 5000 else 509
    yield [data[index : index + step] for index in range(0, len(data), step)]


@dataclass(frozen=True)
class Scene:
    """One proxy for all samples: it must survive every one of them. `direct` is an origin without it."""

    proxy: Proxy
    baseline: WireOrigin
    sandbox: WireOrigin
    direct: WireOrigin

    def new_bytes(self, before: int) -> bytes:
        """What the baseline got since there were `before` bytes."""
        return b"".join(bytes(each.data) for each in self.baseline.heard)[before:]

    def open_connections(self) -> list[Heard]:
        return [heard for heard in self.baseline.heard if not heard.is_over]

    def is_well(self) -> None:
        """The next client gets its own answer; the sandbox has never been asked."""
        (answer,) = said(self.proxy.port, [AFTER], ends=False)
        assert (answer.status, answer.origin, answer.body) == (200, "baseline", b"/after")
        assert [seen.target for seen in self.baseline.take()] == [b"/after"]
        assert not self.sandbox.heard


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    baseline, sandbox, direct = WireOrigin(), WireOrigin("sandbox"), WireOrigin("direct")
    document = table(route(KEY, [sandbox.port]))
    with run_proxy(tmp_path_factory.mktemp("framing"), baseline.port, document=document) as proxy:
        yield Scene(proxy, baseline, sandbox, direct)
    for origin in (baseline, sandbox, direct):
        origin.close()


def check_refusal(answer: Answer, name: str) -> None:
    """Our own answer, the last of its connection."""
    assert (answer.status, answer.origin) == (STATUS.get(name, 400), "")
    assert b"\r\nConnection: close\r\n" in answer.head
    assert b"\r\nProxy-Status: pointsman; error=http_request_error; details=" in answer.head


def is_in_body(name: str) -> bool:
    """Whether the fault stands behind a good head, which may be on its way when the fault is seen."""
    return REQUESTS[name].data.startswith(connections.CHUNKED)


@pytest.mark.parametrize("name", with_line(REFUSED))
def test_refused(scene: Scene, name: str) -> None:
    for behind in (b"", BEHIND):
        for pieces in cuts(REQUESTS[name].data + behind):
            before = len(scene.new_bytes(0))
            (answer,) = said(scene.proxy.port, pieces, ends=False)
            check_refusal(answer, name)
            assert scene.baseline.take() == []
            if not is_in_body(name):
                assert scene.new_bytes(before) == b""
            assert b"/smuggled" not in scene.new_bytes(0)
            assert b"/behind" not in scene.new_bytes(0)
            scene.is_well()


@pytest.mark.parametrize("name", with_line([name for name in REFUSED if is_in_body(name)]))
def test_both_connections_die(scene: Scene, name: str) -> None:
    """The head and the body's beginning have gone upstream before the fault comes (CHECKLIST 4-6)."""
    start = connections.CHUNKED + b"3\r\nabc\r\n"
    fault = REQUESTS[name].data.removeprefix(connections.CHUNKED) + BEHIND
    begun: list[Heard] = []

    def has_begun() -> bool:
        begun[:] = [heard for heard in scene.open_connections() if heard.data.endswith(b"3\r\nabc\r\n")]
        return bool(begun)

    def pieces() -> Iterator[bytes]:
        yield start
        until(has_begun, "the beginning upstream")
        yield fault

    (answer,) = said(scene.proxy.port, pieces(), ends=False)
    check_refusal(answer, name)
    (upstream,) = begun
    until(lambda: upstream.is_over, "the end upstream")
    assert scene.baseline.take() == []
    assert not re.search(rb"\r\n0+\r\n|/behind|/smuggled", upstream.data.rpartition(b"abc")[2])
    scene.is_well()


@pytest.mark.parametrize("name", with_line(REFUSED))
def test_refused_behind_a_good_request(scene: Scene, name: str) -> None:
    """CHECKLIST 16: the first response is not lost, the fault is the last that is answered."""
    for pieces in cuts(BEFORE + REQUESTS[name].data + BEHIND):
        first, second = said(scene.proxy.port, pieces, ends=False)
        assert (first.status, first.origin, first.body) == (200, "baseline", b"/before")
        check_refusal(second, name)
        assert [seen.target for seen in scene.baseline.take()] == [b"/before"]
        scene.is_well()


@pytest.mark.parametrize("name", with_line([name for name in CUT if name not in CUT_AND_BAD]))
def test_what_ends_too_early_is_no_request(scene: Scene, name: str) -> None:
    for pieces in cuts(REQUESTS[name].data):
        answers = said(scene.proxy.port, pieces, ends=True)
        assert [answer.origin for answer in answers] in ([], [""])
        assert scene.baseline.take() == []
        scene.is_well()


# --- what is served: the origin sees what it would see without a proxy, save for what SPEC 4 takes out ---

HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"upgrade", b"http2-settings", b"x-gone"}
NO_TRAILERS = {b"content-length", b"transfer-encoding", b"host", b"baggage"}


def without(fields: Fields, names: set[bytes]) -> Fields:
    return [field for field in fields if field[0] not in names]


def expected(scene: Scene, data: bytes) -> Seen:
    """What an origin sees without us, as we are to change it."""
    said(scene.direct.port, [data.lstrip(b"\r\n")], ends=True, is_head=data.startswith(b"HEAD"))
    (seen,) = scene.direct.take()
    seen.version = b"HTTP/1.1"
    seen.fields = without(seen.fields, HOP_BY_HOP)
    seen.trailers = without(seen.trailers, NO_TRAILERS)
    if b"host" not in dict(seen.fields):
        seen.fields.insert(0, (b"host", b"127.0.0.1:%d" % scene.baseline.port))
    return seen


@pytest.mark.parametrize("name", with_line(SERVED))
def test_served(scene: Scene, name: str) -> None:
    data = REQUESTS[name].data
    wanted = expected(scene, data)
    is_last = b" HTTP/1.0\r\n" in data or b"Connection: close" in data
    for behind in (b"", BEHIND):
        for pieces in cuts(data + behind):
            answers = said(scene.proxy.port, pieces, ends=True, is_head=data.startswith(b"HEAD"))
            got = [(answer.status, answer.origin) for answer in answers]
            count = 2 if behind and not is_last else 1
            assert got == [(200, "baseline")] * count
            first, *others = scene.baseline.take()
            assert first == wanted
            assert [seen.target for seen in others] == [b"/behind"] * (count - 1)
    assert not scene.sandbox.heard, "a trailer or a folded line has routed"


# --- CHECKLIST 16: pipelines ---


@pytest.mark.parametrize("name", connections.PIPELINES)
def test_pipelines(scene: Scene, name: str) -> None:
    """Answered in order; what is `!` is the fault's answer, and nothing follows it."""
    pipeline = connections.PIPELINES[name]
    wanted = [target for target in pipeline.targets if target != b"!"]
    for pieces in cuts(pipeline.data):
        answers = said(scene.proxy.port, pieces, ends=False)
        assert [answer.body if answer.origin else b"!" for answer in answers] == pipeline.targets
        assert [seen.target for seen in scene.baseline.take()] == wanted
        scene.is_well()


def test_the_smuggled_request_would_be_served(scene: Scene) -> None:
    """What every attack wants to get through is a good request: by itself it is answered."""
    (answer,) = said(scene.proxy.port, [SMUGGLED], ends=True)
    assert (answer.status, answer.origin, answer.body) == (200, "baseline", b"/smuggled")
    scene.baseline.take()
    scene.baseline.heard.clear()  # where the other tests look for it
