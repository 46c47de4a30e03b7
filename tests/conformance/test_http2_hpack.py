"""CHECKLIST 34: header blocks by RFC 7541, in both directions, with dynamic tables while they may be used."""

from __future__ import annotations

from collections.abc import Iterator

import hpack
import pytest

from tests.conformance.http2_blocks import BLOCKS, HEAD
from tests.conformance.http2_row import Row, check
from tests.support.http2 import (
    SETTINGS_ACK,
    SIZE_0,
    Code,
    Fields,
    Setting,
    block,
    data,
    get,
    head,
    headers,
    indexed,
    literal,
)
from tests.support.http2_origin import Http2Origin
from tests.support.http2_peer import Peer, Stream, connected
from tests.support.origin import running
from tests.support.proxy import Proxy, run_proxy

Scene = tuple[Proxy, Http2Origin]

ODD = bytes(each for each in range(0x21, 0x100) if each != 0x7F)  # all that a value may hold
PLAIN: Fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"location"), (b":path", b"/")]


def coded(peer: Peer, stream: Stream) -> None:
    """An answer with Huffman codes, and with as much of a table as the other side lets us have."""
    peer.encoder.header_table_size = peer.settings.get(Setting.HEADER_TABLE_SIZE, 4096)
    fields = [(b":status", b"200"), (b"x-origin", b"baseline"), (b"x-odd", ODD)]
    peer.send(headers(stream.number, peer.encoder.encode(fields)), data(stream.number, b"ok", end=True))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    origin = Http2Origin(respond=coded)
    with running(origin), run_proxy(tmp_path_factory.mktemp("hpack"), origin.port) as proxy:
        yield proxy, origin


@pytest.fixture
def origin(scene: Scene) -> Http2Origin:
    scene[1].requests.clear()
    return scene[1]


@pytest.fixture
def early(scene: Scene) -> Iterator[Peer]:
    """A client that has not acknowledged our settings: it may use a table of 4096 bytes."""
    with connected(scene[0].port, first=False) as peer:
        peer.acks_settings = False
        peer.sync()
        yield peer


@pytest.mark.parametrize("row", BLOCKS, ids=lambda row: row.name)
def test_blocks(scene: Scene, row: Row) -> None:
    check(scene[0].port, row)


def test_what_a_library_codes_arrives(scene: Scene, origin: Http2Origin, early: Peer) -> None:
    """Huffman, indices, evictions."""
    encoder = hpack.Encoder()
    sent = [
        [*PLAIN, (b"x-odd", ODD), (b"x-number", b"%d" % (number % 7)), (b"x-long", b"a" * 100 * (number % 5))]
        for number in range(50)
    ]
    for number, fields in enumerate(sent):
        early.send(headers(2 * number + 1, encoder.encode(fields), end=True))
    for number in range(len(sent)):
        stream = early.over(2 * number + 1)
        assert stream.value("x-odd").encode("latin-1") == ODD
    got = sorted(str(sorted(each.fields)) for each in origin.requests)
    assert got == sorted(str(sorted(fields)) for fields in sent)


def test_a_smaller_table_is_kept_to(scene: Scene, origin: Http2Origin, early: Peer) -> None:
    encoder = hpack.Encoder()
    early.send(headers(1, encoder.encode([*PLAIN, (b"x-a", b"1")]), end=True))
    assert early.over(1).status == 200
    encoder.header_table_size = early.settings[Setting.HEADER_TABLE_SIZE]
    early.send(SETTINGS_ACK)
    for number in (3, 5):
        early.send(headers(number, encoder.encode([*PLAIN, (b"x-a", b"1")]), end=True))
        assert early.over(number).status == 200
    assert [each.values(b"x-a") for each in origin.requests] == [[b"1"]] * 3


def test_what_a_table_held_is_gone(scene: Scene, early: Peer) -> None:
    early.send(headers(1, HEAD + literal(b"x-a", b"1", first=0x40), end=True))
    early.send(headers(3, HEAD + indexed(62), end=True))
    assert early.over(1).status == early.over(3).status == 200
    early.send(SETTINGS_ACK, headers(5, SIZE_0 + HEAD + indexed(62), end=True))
    assert early.end() == Code.COMPRESSION_ERROR, early.heard()


def test_a_block_must_own_up_to_the_smaller_table(scene: Scene, early: Peer) -> None:
    """RFC 7541 section 4.2: the first block behind the acknowledgement begins with an update."""
    assert early.settings[Setting.HEADER_TABLE_SIZE] < 4096
    early.send(SETTINGS_ACK, get(1))
    assert early.end() == Code.COMPRESSION_ERROR, early.heard()


def test_a_block_that_did_so_before_need_not_again(scene: Scene, early: Peer) -> None:
    early.send(headers(1, SIZE_0 + HEAD, end=True), SETTINGS_ACK, get(3))
    assert early.over(1).status == early.over(3).status == 200


def test_a_table_above_the_default_is_refused(scene: Scene, early: Peer) -> None:
    early.send(headers(1, b"\x3f\xe2\x1f" + HEAD, end=True))  # 4097
    assert early.end() == Code.COMPRESSION_ERROR, early.heard()


def test_blocks_of_lost_streams_count(scene: Scene, origin: Http2Origin, early: Peer) -> None:
    """RFC 9113 section 4.3: a malformed request, and one on a stream that is reset, change the table all the same."""
    early.send(headers(1, HEAD + literal(b"x-a", b"1", first=0x40) + block(("X-BAD", "1"))))
    early.send(headers(1, literal(b"x-b", b"2", first=0x40), end=True))
    assert early.over(1).reset == Code.PROTOCOL_ERROR
    early.send(headers(3, HEAD + indexed(62) + indexed(63), end=True))
    assert early.over(3).status == 200, early.heard()
    (received,) = origin.requests
    assert received.values(b"x-a") + received.values(b"x-b") == [b"1", b"2"]


def test_never_indexed_stays_so(scene: Scene, origin: Http2Origin) -> None:
    """RFC 7541 section 6.2.3: an intermediary says the same to the next."""
    with connected(scene[0].port) as peer:
        peer.send(headers(3, head("/", ("x-a", "1")) + literal(b"x-secret", b"2", first=0x10), end=True))
        assert peer.over(3).status == 200
    assert origin.requests[-1].never_indexed == {b"x-secret"}


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 65536])
def test_we_keep_to_the_table_of_a_client(scene: Scene, size: int) -> None:
    """The library's decoder looks: at the size that we claim, and at that we claim one at all."""
    with connected(scene[0].port, {Setting.HEADER_TABLE_SIZE: size}) as peer:
        for number in (3, 5, 7):
            peer.send(get(number))
            assert peer.over(number).value("x-odd").encode("latin-1") == ODD


def test_we_keep_to_a_table_that_changes(scene: Scene) -> None:
    with connected(scene[0].port) as peer:
        for number, size in ((3, 4096), (5, 0), (7, 4096), (9, 50)):
            peer.announce({Setting.HEADER_TABLE_SIZE: size})
            peer.sync()
            peer.send(get(number))
            assert peer.over(number).value("x-odd").encode("latin-1") == ODD


def test_we_keep_to_the_table_of_an_upstream(tmp_path_factory: pytest.TempPathFactory) -> None:
    origin = Http2Origin(announced={Setting.HEADER_TABLE_SIZE: 0})
    with (
        running(origin),
        run_proxy(tmp_path_factory.mktemp("size"), origin.port) as proxy,
        connected(proxy.port) as peer,
    ):
        for number in (3, 5):
            peer.send(get(number, "/", ("x-a", "1")))
            assert peer.over(number).status == 200
        assert [each.values(b"x-a") for each in origin.requests] == [[], [b"1"], [b"1"]]
