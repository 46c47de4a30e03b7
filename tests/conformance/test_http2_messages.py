"""CHECKLIST 33: malformed requests of HTTP/2 end their own stream and go nowhere, whatever the upstream speaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conformance.http2_messages import ANSWERED, LATE, MALFORMED, SERVED
from tests.conformance.http2_row import Row, check
from tests.support.http2_origin import Http2Origin
from tests.support.http2_peer import Stream, connected
from tests.support.origin import Origin, Received, running
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until

OUTGROWN = "8.1.1: a body that outgrows its length without an end"
OURS = [b"/first", b"/bystander", b"/after"]


@dataclass(frozen=True)
class Scene:
    proxy: Proxy
    origin: Http2Origin | Origin

    def others(self) -> list[Stream | Received]:
        """What came upstream of the row itself, beside what `check` sends."""
        return [each for each in self.origin.requests if each.target not in OURS]

    def clear(self) -> None:
        self.origin.requests.clear()


@pytest.fixture(scope="module", params=["http2", "http"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The version that the upstream speaks."""
    origin = Http2Origin() if request.param == "http2" else Origin()
    flags = ("--baseline-protocol", request.param)
    folder = tmp_path_factory.mktemp(request.param)
    with running(origin), run_proxy(folder, origin.port, flags=flags) as proxy:
        yield Scene(proxy, origin)


def rows(table: tuple[Row, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", table, ids=lambda row: row.name)


@rows(MALFORMED)
def test_malformed(scene: Scene, row: Row) -> None:
    scene.clear()
    check(scene.proxy.port, row)
    assert not scene.others()


@rows(LATE)
def test_malformed_later(scene: Scene, row: Row) -> None:
    """At most its good part is upstream, and is seen to be cut there."""
    scene.clear()
    check(scene.proxy.port, row)
    for each in scene.others():
        assert each.target == b"/"
        if isinstance(each, Stream):
            until(lambda each=each: each.reset is not None, "the reset upstream")
        # Towards HTTP/1.1 a body is whole as soon as its length is reached. What was too much is not there.
        is_whole = isinstance(each, Received) and row.name == OUTGROWN
        assert not each.is_complete or (is_whole and each.body == b"12345")


@rows(SERVED)
def test_served(scene: Scene, row: Row) -> None:
    scene.clear()
    check(scene.proxy.port, row)
    (received,) = scene.others()
    assert received.is_complete


@rows(ANSWERED)
def test_answered_by_us(scene: Scene, row: Row) -> None:
    scene.clear()
    check(scene.proxy.port, row)
    assert not scene.others()


@rows(ANSWERED)
def test_our_own_answers_say_so(scene: Scene, row: Row) -> None:
    assert isinstance(row.sent, bytes)
    with connected(scene.proxy.port) as peer:
        peer.send(row.sent)
        answer = peer.over(row.stream)
        assert answer.is_complete
        assert answer.value("proxy-status").startswith("pointsman; error=")
