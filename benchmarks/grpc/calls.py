"""The header blocks of calls, as a client of gRPC's core library or of grpc-go writes them. No two alike.

core  gRPC for Python, C++, Ruby and others (captured from grpcio 1.85.3): strings as they are. Where the peer allows a
      dynamic table, the fields that the library knows are put there, and sent as indexes from the second call on;
      `traceparent` and `baggage`, unknown to it, are literals with their names, never indexed.
go    as golang.org/x/net/http2/hpack writes for grpc-go: Huffman codes, and every field goes into the dynamic table
      where the peer allows one: values that change push the others out, which are sent again. Deadlines are in
      microseconds, one more value that changes.

A peer that allows no table (HEADER_TABLE_SIZE 0) gets literals that are not indexed, from both.
"""

from collections import deque
from typing import Literal, Protocol

from benchmarks.grpc.values import Values, string

Style = Literal["core", "go"]
STYLES: tuple[Style, ...] = ("core", "go")
PATH = "/hotrod.location.v1.LocationService/GetLocation"
AUTHORITY = "location.hotrod.svc.cluster.local:8081"

_CORE = (
    (":path", PATH),
    (":authority", AUTHORITY),
    (":method", "POST"),
    (":scheme", "http"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("grpc-accept-encoding", "identity, deflate, gzip"),
    ("grpc-timeout", "30S"),
    ("user-agent", "grpc-python/1.85.3 grpc-c/58.0.0 (linux; chttp2)"),
)
_GO = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PATH),
    (":authority", AUTHORITY),
    ("content-type", "application/grpc"),
    ("user-agent", "grpc-go/1.75.0"),
    ("te", "trailers"),
)
_GO_CHANGING = ("grpc-timeout", "traceparent", "baggage")
# The static table: whole fields, and names alone. The core library looks up the first only.
_STATIC_FIELDS = {(":method", "POST"): 3, (":scheme", "http"): 6}
_STATIC_NAMES = {":authority": 1, ":path": 4, "content-type": 31, "user-agent": 58}
_FIRST_DYNAMIC = 62
_TABLE_BYTES = 4096  # used of the peer's table; if that is smaller, none
_ENTRY_BYTES = 32
_NO_TABLE = b"\x20"  # a size update, which must come first once a peer asked for a smaller table
_INDEXED, _ADDED, _PLAIN = 0x80, 0x40, 0x00
_INDEX_LIMIT = {_INDEXED: 127, _ADDED: 63, _PLAIN: 15}


class Blocks(Protocol):
    """For one connection, to be sent in the order in which they are made."""

    def next(self) -> bytes: ...


def values(style: Style, keys: list[str], seed: int) -> Values:
    return Values(is_huffman=style == "go", keys=keys, seed=seed)


def blocks(style: Style, source: Values, table_bytes: int) -> Blocks:
    """`table_bytes`: what the peer allows."""
    with_table = table_bytes >= _TABLE_BYTES
    if style == "core":
        return _Core(source, with_table)
    return _GoIndexing(source) if with_table else _GoLiteral(source)


def _integer(form: int, value: int) -> bytes:
    """Spec: RFC 7541 section 5.1; up to two bytes."""
    limit = _INDEX_LIMIT[form]
    if value < limit:
        return bytes([form | value])
    if value >= limit + 128:
        raise ValueError(f"index {value}: no table here has so many entries")
    return bytes([form | limit, value - limit])


class _Core:
    def __init__(self, source: Values, with_table: bool) -> None:
        self._source = source
        literal, indexed, added = [], [], 0
        form = _ADDED if with_table else _PLAIN
        to_add = sum(field not in _STATIC_FIELDS for field in _CORE)
        for name, value in _CORE:
            if (name, value) in _STATIC_FIELDS:
                index = _STATIC_FIELDS[name, value]
                literal.append(_integer(_INDEXED, index))
            else:
                added += 1
                index = _FIRST_DYNAMIC + to_add - added
                literal.append(bytes([form]) + string(name, False) + string(value, False))
            indexed.append(_integer(_INDEXED, index))
        self._first = b"".join(literal)
        self._always = b"".join(indexed) if with_table else self._first
        if not with_table:
            self._first = _NO_TABLE + self._first
        self._traceparent, self._baggage = (b"\x00" + string(name, False) for name in ("traceparent", "baggage"))

    def next(self) -> bytes:
        fixed, self._first = self._first or self._always, b""
        source = self._source
        return b"".join((fixed, self._traceparent, source.traceparent(), self._baggage, source.baggage()))


class _GoLiteral:
    def __init__(self, source: Values) -> None:
        self._source = source
        fixed = []
        for name, value in _GO:
            if (name, value) in _STATIC_FIELDS:
                fixed.append(_integer(_INDEXED, _STATIC_FIELDS[name, value]))
            else:
                fixed.append(_go_name(_PLAIN, name) + string(value, True))
        self._fixed = b"".join(fixed)
        self._timeout, self._traceparent, self._baggage = (_go_name(_PLAIN, name) for name in _GO_CHANGING)
        self._update = _NO_TABLE

    def next(self) -> bytes:
        update, self._update = self._update, b""
        source = self._source
        trace = source.traceparent()
        changing = self._timeout, source.timeout(), self._traceparent, trace, self._baggage, source.baggage()
        return b"".join((update, self._fixed, *changing))


def _go_name(form: int, name: str) -> bytes:
    if name in _STATIC_NAMES:
        return _integer(form, _STATIC_NAMES[name])
    return bytes([form]) + string(name, True)


class _GoIndexing:
    """Every field is added. Entries are known by their ordinals, from which their index follows."""

    def __init__(self, source: Values) -> None:
        self._source = source
        self._static = b"".join(_integer(_INDEXED, index) for index in _STATIC_FIELDS.values())
        self._fixed = [
            (name, len(name + value) + _ENTRY_BYTES, _go_name(_ADDED, name) + string(value, True))
            for name, value in _GO
            if (name, value) not in _STATIC_FIELDS
        ]
        sizes = source.timeout_bytes, source.trace_bytes, source.baggage_bytes
        self._sizes = [len(name) + size + _ENTRY_BYTES for name, size in zip(_GO_CHANGING, sizes, strict=True)]
        self._ordinals: dict[str, int] = {}  # by name, of the newest entry
        self._entries: deque[int] = deque()  # sizes, oldest first
        self._bytes = self._added = 0

    def next(self) -> bytes:
        out = [self._static]
        for name, size, literal in self._fixed:
            ordinal = self._ordinals.get(name, -1)
            if ordinal >= self._added - len(self._entries):
                out.append(_integer(_INDEXED, _FIRST_DYNAMIC + self._added - 1 - ordinal))
            else:
                out.append(literal)
                self._add(name, size)
        trace = self._source.traceparent()
        changing = self._source.timeout(), trace, self._source.baggage()
        for name, size, value in zip(_GO_CHANGING, self._sizes, changing, strict=True):
            ordinal = self._ordinals.get(name, -1)
            if ordinal >= self._added - len(self._entries):
                out.append(_integer(_ADDED, _FIRST_DYNAMIC + self._added - 1 - ordinal))
            else:
                out.append(_go_name(_ADDED, name))
            out.append(value)
            self._add(name, size)
        return b"".join(out)

    def _add(self, name: str, size: int) -> None:
        """Spec: RFC 7541 section 4.4."""
        self._bytes += size
        while self._bytes > _TABLE_BYTES:
            self._bytes -= self._entries.popleft()
        self._entries.append(size)
        self._ordinals[name] = self._added
        self._added += 1
