"""What our clients write is read by hpack, an independent decoder, whatever table the peer allows."""

import re

import pytest
from hpack import Decoder

from benchmarks.grpc import calls
from benchmarks.grpc.calls import STYLES, Style, blocks, values
from benchmarks.grpc.values import huffman
from benchmarks.heads import sandbox_keys

KEYS = sandbox_keys(3)
# The first two blocks of a channel of grpcio 1.85.3, up to what differs from call to call; authority and deadline ours.
CAPTURED_FIRST = (
    b"@\x05:path//hotrod.location.v1.LocationService/GetLocation"
    b"@\n:authority\x26location.hotrod.svc.cluster.local:8081\x83\x86@\x0ccontent-type\x10application/grpc"
    b"@\x02te\x08trailers@\x14grpc-accept-encoding\x17identity, deflate, gzip@\x0cgrpc-timeout\x0330S"
    b"@\nuser-agent0grpc-python/1.85.3 grpc-c/58.0.0 (linux; chttp2)"
)
CAPTURED_SECOND = b"\xc4\xc3\x83\x86\xc2\xc1\xc0\xbf\xbe"


def _made(style: Style, table_bytes: int, count: int) -> list[bytes]:
    source = blocks(style, values(style, KEYS, 1), table_bytes)
    return [source.next() for _ in range(count)]


def _fields(decoder: Decoder, block: bytes) -> dict[str, str]:
    decoded = [(str(field[0]), str(field[1])) for field in decoder.decode(block)]
    assert len(dict(decoded)) == len(decoded)
    return dict(decoded)


def _expected(style: Style) -> dict[str, str]:
    common = {
        ":method": "POST",
        ":scheme": "http",
        ":path": calls.PATH,
        ":authority": calls.AUTHORITY,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    if style == "go":
        return {**common, "user-agent": "grpc-go/1.75.0"}
    user_agent = "grpc-python/1.85.3 grpc-c/58.0.0 (linux; chttp2)"
    return {**common, "user-agent": user_agent, "grpc-accept-encoding": "identity, deflate, gzip"}


@pytest.mark.parametrize("table_bytes", [0, 4095, 4096, 65536])
@pytest.mark.parametrize("style", STYLES)
def test_every_call_is_whole_and_none_is_like_another(style: Style, table_bytes: int) -> None:
    """1,000 calls: grpc-go's go through its table some fifty times."""
    decoder = Decoder()
    decoder.max_allowed_table_size = table_bytes
    seen = [_fields(decoder, block) for block in _made(style, table_bytes, 1000)]
    for fields in seen:
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", fields.pop("traceparent"))
        assert re.fullmatch("30S|29999[0-9]{3}u", fields.pop("grpc-timeout"))
    assert len({fields.pop("baggage") for fields in seen}) == 1000
    assert all(fields == _expected(style) for fields in seen)


@pytest.mark.parametrize("style", STYLES)
def test_without_a_table_every_block_stands_alone_and_adds_nothing(style: Style) -> None:
    first, *others = _made(style, 0, 50)
    assert first[0] == 0x20  # the table's new size: none
    for block in others:
        decoder = Decoder()
        assert _fields(decoder, block)[":path"] == calls.PATH
        assert not decoder.header_table.dynamic_entries


def test_the_core_style_is_what_grpcio_writes() -> None:
    first, second, third = _made("core", 4096, 3)
    rest = b"\x00\x0btraceparent\x3700-"
    assert first.startswith(CAPTURED_FIRST + rest)
    assert second.startswith(CAPTURED_SECOND + rest)
    assert third.startswith(CAPTURED_SECOND + rest)


def test_the_go_style_adds_each_value_and_so_pushes_out_the_others() -> None:
    made = _made("go", 4096, 2000)
    assert huffman("traceparent") in made[0]
    assert huffman("traceparent") not in made[1]  # its name is in the table
    decoder = Decoder()
    for block in made:
        decoder.decode(block)
        names = [bytes(entry[0]) for entry in decoder.header_table.dynamic_entries]
        assert names[0] == b"baggage"
        assert names.count(b":path") <= 1  # not sent again while it is there
    lengths = [len(block) for block in made[1:]]
    assert max(lengths) > min(lengths) + 40  # some calls send the path again
    assert lengths.count(max(lengths)) < 200
