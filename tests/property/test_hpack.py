"""Properties of the HPACK decoder: whatever comes in, only its three exceptions; what it keeps of a line means that
line on any connection; neither limits nor what is remembered change what a table holds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import errors
from proxy.codec.fields import http2_request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h2.hpack import CompressionError, Decoder, MalformedError, TooLargeError, literal, representation
from tests.support.hpack import EMPTY_TABLE, WIDE, Fields, pairs

QUICK = settings(deadline=None, max_examples=500, derandomize=True)
THOROUGH = settings(QUICK, max_examples=1000)

# One for everything here, as in a process.
KINDS = http2_request_kinds(errors.BAD_REQUEST, (b"x-key",))

NAMES = [b":path", b":authority", b"user-agent", b"baggage", b"x-other", b"te", b"content-type", b"X-Bad", b""]
VALUES = [b"", b"1", b"trailers", b"a b", b"\x80", b" a", b"a\0", b"w" * 100, b"v" * 130]


@st.composite
def strings(draw: st.DrawFn, texts: list[bytes]) -> bytes:
    text = draw(st.sampled_from(texts))
    form = draw(st.integers(0, 39))
    if form == 0:
        return bytes([0x80 + 3]) + draw(st.binary(min_size=3, max_size=3))
    if form == 1:
        return b"\x83\x1c\x64\xff"[: draw(st.integers(1, 4))]
    if len(text) < 127:
        return bytes([len(text)]) + text
    return b"\x7f" + bytes([len(text) - 127]) + text


@st.composite
def pieces(draw: st.DrawFn) -> bytes:
    """What looks like a representation, and mostly is one."""
    form = draw(st.integers(0, 19))
    if form == 0:
        return draw(st.binary(max_size=4))
    if form < 5:
        return bytes([draw(st.integers(0x81, 0xC0))])
    first = draw(st.sampled_from([0x40, 0x00, 0x10]))
    value = draw(strings(VALUES))
    if form < 12:
        return bytes([first]) + draw(strings(NAMES)) + value
    index = draw(st.sampled_from([1, 4, 16, 31, 58, 62]))
    limit = 0x3F if first == 0x40 else 0x0F
    if index < limit:
        return bytes([first + index]) + value
    padded = draw(st.booleans())
    rest = index - limit
    return bytes([first + limit]) + (bytes([0x80 + rest, 0]) if padded else bytes([rest])) + value


UPDATES = st.sampled_from([b"", b"", b"", b"\x20", b"\x3f\x25", b"\x3f\xe1\x1f", b"\x20\x3f\xe1\x1f"])
BLOCKS = st.one_of(
    st.binary(max_size=60),
    st.tuples(UPDATES, st.lists(pieces(), max_size=8)).map(lambda parts: parts[0] + b"".join(parts[1])),
)


@settings(THOROUGH)
@given(st.lists(BLOCKS, min_size=1, max_size=5), st.integers(0, 5), st.integers(0, 300))
def test_only_its_exceptions_and_lines_that_stand_alone(blocks: list[bytes], acknowledged: int, max_bytes: int) -> None:
    one = Decoder(KINDS, HeadLimits(max_bytes=max_bytes, max_fields=6))
    other = Decoder(KINDS, WIDE)
    other.read(EMPTY_TABLE)
    for number, block in enumerate(blocks):
        if number == acknowledged:
            one.limit_acknowledged()
        try:
            lines = one.read(block)
        except (MalformedError, TooLargeError):
            continue
        except CompressionError:
            return
        assert len(lines) <= 6
        assert sum(len(line.name) + len(line.value) + 4 for line in lines) <= max_bytes
        again = other.read(b"".join(line.raw for line in lines))
        assert [(line.name, line.value, line.kind, line.raw) for line in again] == [
            (line.name, line.value, line.kind, line.raw) for line in lines
        ]


Verdict = Fields | type[Exception]


def verdict(one: Decoder, block: bytes) -> Verdict:
    try:
        return pairs(one.read(block))
    except (CompressionError, MalformedError, TooLargeError) as error:
        return type(error)


def entries(one: Decoder) -> list[Verdict]:
    """What it says of every index of its table."""
    found: list[Verdict] = []
    while (entry := verdict(one, bytes([0x80 + 62 + len(found)]))) is not CompressionError:
        found.append(entry)
    return found


@settings(QUICK)
@given(st.lists(BLOCKS, min_size=1, max_size=5))
def test_neither_limits_nor_memory_change_a_table(blocks: list[bytes]) -> None:
    """A decoder that refuses most heads holds the same entries as one that refuses none by size, and as one to which
    all lines are new."""
    wide = Decoder(KINDS, WIDE)
    narrow = Decoder(KINDS, HeadLimits(max_bytes=150, max_fields=1))  # any one entry is within
    new = Decoder(http2_request_kinds(errors.BAD_REQUEST, (b"x-key",)), WIDE)
    for block in blocks:
        whole = verdict(wide, block)
        assert verdict(new, block) == whole
        part = verdict(narrow, block)
        if CompressionError in (whole, part):
            assert whole is CompressionError  # over the limit, some Huffman codes are stepped over
            return
        assert part in (whole, TooLargeError)
    assert entries(wide) == entries(narrow) == entries(new)


@settings(QUICK)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from(NAMES[:7]), st.from_regex(rb"[a-z0-9-]{1,200}", fullmatch=True)),
            st.one_of(
                st.sampled_from([b"", b"/", b"GET", b"200"]), st.from_regex(rb"[!-~\x80-\xff]{0,400}", fullmatch=True)
            ),
            st.booleans(),
        )
    )
)
def test_what_is_written_is_read(written: list[tuple[bytes, bytes, bool]]) -> None:
    block = b"".join(
        literal(name, value, is_secret=True) if is_secret else representation(name, value)
        for name, value, is_secret in written
    )
    assert pairs(Decoder(KINDS, WIDE).read(EMPTY_TABLE + block)) == [(name, value) for name, value, _ in written]
