"""Reads field blocks: HPACK (RFC 7541), and what RFC 9113 section 8.2.1 asks of names and values.

Of every line the representation is kept (`FieldLine.raw`), as it came wherever it stands alone, so that a head goes out
again without being encoded. Where it refers to the dynamic table, it is made anew, without. Lines that tend to repeat
are known by their representation (`FieldKinds.representations`) and not read again.

Faults are of three sorts, by what they end. `CompressionError`: the connection, since the table is lost. The others:
the stream alone, and they come at the end of the block, since the table must be right for the next one. Over the limits
nothing more is kept, and literals that do not enter the table are stepped over.
"""

from __future__ import annotations

from typing import Final

from proxy.codec.fields import LINE_BYTES_AT_MOST, ORDINARY, REPEATING, FieldKinds, FieldLine
from proxy.codec.h1.reader import CONTROLS, HeadLimits
from proxy.codec.h2 import huffman
from proxy.errors import ProtocolError

# RFC 7541 Appendix A. Indexes count from 1.
_STATIC: Final[list[tuple[bytes, bytes]]] = [
    (b"", b""),
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
]
_STATIC.extend(
    (name, b"")
    for name in (
        b"accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control"
        b" content-disposition content-encoding content-language content-length content-location content-range"
        b" content-type cookie date etag expect expires from host if-match if-modified-since if-none-match if-range"
        b" if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization range"
        b" referer refresh retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary"
        b" via www-authenticate"
    ).split()
)
_STATIC_NAMES: Final = [name for name, _ in _STATIC]
_LAST_STATIC: Final = 61
_STATIC_INDEX: Final = {line: index for index, line in enumerate(_STATIC) if index}
_STATIC_NAME_INDEX: Final = {name: index for index, name in reversed(list(enumerate(_STATIC_NAMES))) if index}

# First octets (section 6): what a representation is. The rest of the octet starts an index or a size.
_INDEXED: Final = 0x80
_WITH_INDEXING: Final = 0x40
_SIZE_UPDATE: Final = 0x20
_NEVER_INDEXED: Final = 0x10
# Of a string's first octet (section 5.2). The rest starts its length.
_HUFFMAN: Final = 0x80
# Of an integer's octets behind the first one (section 5.1): another one follows.
_MORE: Final = 0x80

_DEFAULT_TABLE_BYTES: Final = 4096  # RFC 9113 section 6.5.2
_ENTRY_BYTES: Final = 32  # section 4.1: what an entry counts beside its name and value
_MAX_INTEGER: Final = 2**31 - 1
_MAX_SHIFT: Final = 28  # five octets behind the first one
_LINE_EXTRA: Final = 4  # as in HTTP/1.1: colon, blank and line end

# No value has a blank at its ends (RFC 9113 section 8.2.1) or a control in it. That section forbids NUL, CR and LF;
# the others but a tab are refused as in HTTP/1.1. A value that changes by this table has one.
_WITHOUT_CONTROLS: Final = bytes.maketrans(CONTROLS, b"?" * len(CONTROLS))
_BLANK: Final = 0x20  # a tab is below

_BAD: Final = -1  # the kind of a line that no message may have; it stays in a dynamic table

# Of the lines that bring their own name, those that repeat are short (te, grpc-encoding). Others (traceparent, baggage,
# request ids) are longer, and to look for them among the known ones would cost more than it saves.
_NEW_NAME_BYTES_AT_MOST: Final = 48

_CODED_NAMES_AT_MOST: Final = 512
_CODED_NAME_BYTES_AT_MOST: Final = 64


class CompressionError(Exception):
    """COMPRESSION_ERROR, which ends the connection."""


class MalformedError(Exception):
    """A name or a value that no message may have. The decoder goes on."""


class TooLargeError(Exception):
    """A block over the limits; `lines` are those that were within. The decoder goes on."""

    def __init__(self, text: str, lines: list[FieldLine]) -> None:
        super().__init__(text)
        self.lines = lines


class Decoder:
    """One direction of a connection: its blocks in order."""

    __slots__ = (
        "_fault",
        "_kinds",
        "_limits",
        "_must_update",
        "_padded",
        "_pos",
        "_table",
        "_table_bytes",
        "_table_limit",
        "_table_max",
    )

    def __init__(self, kinds: FieldKinds, limits: HeadLimits) -> None:
        self._kinds = kinds
        self._limits = limits
        self._table: list[FieldLine] = []  # the newest entry, index 62, is the last one
        self._table_bytes = 0
        self._table_max = _DEFAULT_TABLE_BYTES  # what the encoder chose
        self._table_limit = _DEFAULT_TABLE_BYTES  # what it may choose
        self._must_update = False
        self._fault = ""  # the first one of the block that makes it malformed
        self._pos = 0  # behind the integer read last
        self._padded = False  # an integer of this block had more octets than it needs

    def limit_acknowledged(self) -> None:
        """The peer acknowledged our SETTINGS_HEADER_TABLE_SIZE of 0. What it sends from here on obeys it."""
        self._must_update = self._table_max > 0
        self._table_limit = 0
        self._resize(0)

    def read(self, block: bytes) -> list[FieldLine]:
        """The lines of one whole field block.

        Raises: CompressionError, MalformedError, TooLargeError.
        """
        try:
            return self._read(block)
        except IndexError:
            raise CompressionError("a field block that ends inside a representation") from None
        except ValueError as error:
            raise CompressionError(str(error)) from None

    def _read(self, block: bytes) -> list[FieldLine]:
        kinds = self._kinds
        known = kinds.representations
        self._padded = False
        self._fault = ""
        end = len(block)
        pos = 0
        if self._must_update or (end and _SIZE_UPDATE <= block[0] < _WITH_INDEXING):
            pos = self._read_updates(block)
        lines: list[FieldLine] = []
        total = 0
        max_total = self._limits.max_bytes
        while pos < end:
            start = pos
            first = block[pos]
            pos += 1
            line: FieldLine | None
            if first >= _INDEXED:
                index = first - _INDEXED
                if index == 0x7F:
                    index = self._integer(block, pos, 0x7F)
                    pos = self._pos
                if index > _LAST_STATIC:
                    line = self._entry(index)
                else:
                    line = known.get(block[start:pos])
                    if line is None:
                        line = self._static_line(index)
            else:
                if first >= _WITH_INDEXING:
                    index = first - _WITH_INDEXING
                    if index == 0x3F:
                        index = self._integer(block, pos, 0x3F)
                        pos = self._pos
                elif first < _SIZE_UPDATE:
                    index = first & 0x0F
                    if index == 0x0F:
                        index = self._integer(block, pos, 0x0F)
                        pos = self._pos
                else:
                    # Section 4.2. `_read_updates` took those at the start.
                    raise CompressionError("a table size update behind a field")
                name_start = name_end = 0
                name_first = 0
                if index == 0:
                    name_first = block[pos]
                    pos += 1
                    length = name_first & 0x7F
                    if length == 0x7F:
                        length = self._integer(block, pos, 0x7F)
                        pos = self._pos
                    name_start = pos
                    pos += length
                    name_end = pos
                value_first = block[pos]
                pos += 1
                length = value_first & 0x7F
                if length == 0x7F:
                    length = self._integer(block, pos, 0x7F)
                    pos = self._pos
                value_start = pos
                pos += length
                if pos > end:
                    raise CompressionError("a string that is longer than its field block")
                name = b""
                if index > _LAST_STATIC:
                    name = self._entry(index).name
                if total > max_total and first < _WITH_INDEXING:
                    continue
                raw = block[start:pos]
                line = None
                may_repeat = pos - start <= (LINE_BYTES_AT_MOST if index else _NEW_NAME_BYTES_AT_MOST)
                if index > _LAST_STATIC or self._padded:
                    raw = b""
                elif may_repeat:
                    line = known.get(raw)
                if line is None:
                    if index == 0:
                        name = block[name_start:name_end]
                        if name_first >= _HUFFMAN:
                            name = _coded_name(name)
                    elif index <= _LAST_STATIC:
                        name = _STATIC_NAMES[index]
                    value = block[value_start:pos]
                    if value_first >= _HUFFMAN:
                        value = huffman.decode(value)
                    if not raw:
                        raw = literal(name, value, is_secret=_NEVER_INDEXED <= first < _SIZE_UPDATE)
                    line = self._new_line(raw, name, value, may_repeat)
                if first >= _WITH_INDEXING and self._table_max:
                    self._insert(line)
            total += len(line.name) + len(line.value) + _LINE_EXTRA
            if total <= max_total:
                lines.append(line)
                if line.kind == _BAD and not self._fault:
                    self._fault = f"a field that was refused before: {line.name[:40]!r}"
        if total > max_total:
            raise TooLargeError(f"a head over {max_total} bytes", lines)
        if len(lines) > self._limits.max_fields:
            raise TooLargeError(f"more than {self._limits.max_fields} fields", lines)
        if self._fault:
            raise MalformedError(self._fault)
        return lines

    def _static_line(self, index: int) -> FieldLine:
        """The line of a whole entry of the static table, first met."""
        if index == 0:
            raise CompressionError("index 0")
        name, value = _STATIC[index]
        return self._new_line(bytes([_INDEXED + index]), name, value, True)

    def _entry(self, index: int) -> FieldLine:
        """The line at this index, which is behind the static table."""
        if index - _LAST_STATIC > len(self._table):
            raise CompressionError("an index behind the table's end")
        return self._table[_LAST_STATIC - index]

    def _new_line(self, raw: bytes, name: bytes, value: bytes, may_repeat: bool) -> FieldLine:
        """The line of a name and a value that are not known together."""
        names: dict[bytes, int] = self._kinds
        kind = names.get(name, _BAD)
        if kind == _BAD:
            kind = self._new_kind(name)
        if value and (value[0] <= _BLANK or value[-1] <= _BLANK or value.translate(_WITHOUT_CONTROLS) != value):
            self._fault = self._fault or f"a value with a control character or a blank at its ends, of {name[:40]!r}"
            kind = _BAD
        if kind <= ORDINARY:
            return FieldLine(raw, name, value, kind)
        line = FieldLine(raw, name, value, kind if kind != REPEATING else ORDINARY)
        if may_repeat:
            self._kinds.remember_representation(line, kind)
        return line

    def _new_kind(self, name: bytes) -> int:
        try:
            return self._kinds[name]
        except ProtocolError as error:
            self._fault = self._fault or str(error)
            return _BAD

    def _read_updates(self, block: bytes) -> int:
        """Takes the table size updates at the start of a block; the position behind them.

        Section 4.2: they stand there only, and two at most say something. More are no fault. RFC 9113 section 4.3.1:
        behind the acknowledgement of a smaller limit, there must be one.
        """
        pos = 0
        while pos < len(block) and _SIZE_UPDATE <= block[pos] < _WITH_INDEXING:
            size = block[pos] - _SIZE_UPDATE
            pos += 1
            if size == 0x1F:
                size = self._integer(block, pos, 0x1F)
                pos = self._pos
            if size > self._table_limit:
                raise CompressionError(f"a table size of {size}, over the limit of {self._table_limit}")
            self._resize(size)
            self._must_update = False
        if self._must_update:
            raise CompressionError("no table size update behind the acknowledgement of a smaller limit")
        return pos

    def _integer(self, block: bytes, pos: int, value: int) -> int:
        """An integer whose first octet is full, which is `value`; `_pos` is behind it then. Spec: section 5.1."""
        shift = 0
        octet = _MORE
        while octet >= _MORE:
            if shift > _MAX_SHIFT:
                raise CompressionError("an integer of too many octets")
            octet = block[pos]
            pos += 1
            value += (octet & 0x7F) << shift
            shift += 7
        if value > _MAX_INTEGER:
            raise CompressionError("an integer over 2^31-1")
        if octet == 0 and shift > 7:
            self._padded = True  # others may refuse that: no such representation goes out
        self._pos = pos
        return value

    def _resize(self, size: int) -> None:
        self._table_max = size
        self._evict(size)

    def _insert(self, line: FieldLine) -> None:
        """Spec: section 4.4. An entry over the maximum empties the table and does not enter it."""
        entry_bytes = len(line.name) + len(line.value) + _ENTRY_BYTES
        self._evict(self._table_max - entry_bytes)
        if entry_bytes <= self._table_max:
            self._table.append(line)
            self._table_bytes += entry_bytes

    def _evict(self, size: int) -> None:
        """Takes out the oldest entries until the others measure at most `size`."""
        table = self._table
        evicted = 0
        while self._table_bytes > size and evicted < len(table):
            line = table[evicted]
            self._table_bytes -= len(line.name) + len(line.value) + _ENTRY_BYTES
            evicted += 1
        if evicted:
            del table[:evicted]


def literal(name: bytes, value: bytes, *, is_secret: bool = False) -> bytes:
    """A literal without indexing, its strings not in Huffman code. Spec: sections 6.2.2 and, for secrets, 6.2.3."""
    first = _NEVER_INDEXED if is_secret else 0
    index = _STATIC_NAME_INDEX.get(name, 0)
    start = _integer_octets(first, 0x0F, index) if index else bytes([first]) + _string(name)
    return start + _string(value)


def representation(name: bytes, value: bytes) -> bytes:
    """The shortest representation that enters no table: one octet for a line of the static table."""
    index = _STATIC_INDEX.get((name, value), 0)
    return bytes([_INDEXED + index]) if index else literal(name, value)


def _string(text: bytes) -> bytes:
    return _integer_octets(0, 0x7F, len(text)) + text


def field_line(name: bytes, value: bytes) -> FieldLine:
    """A line of our own; `name` is lowercase."""
    return FieldLine(representation(name, value), name, value, ORDINARY)


def _integer_octets(first: int, mask: int, value: int) -> bytes:
    """An integer behind the upper bits of `first`; `mask` covers the others. Spec: section 5.1."""
    if value < mask:
        return bytes([first + value])
    octets = [first + mask]
    value -= mask
    while value >= _MORE:
        octets.append(_MORE + value % _MORE)
        value //= _MORE
    octets.append(value)
    return bytes(octets)


_coded_names: Final[dict[bytes, bytes]] = {}  # names in Huffman code, and what they are


def _coded_name(coded: bytes) -> bytes:
    name = _coded_names.get(coded)
    if name is None:
        name = huffman.decode(coded)
        if len(coded) <= _CODED_NAME_BYTES_AT_MOST:
            if len(_coded_names) >= _CODED_NAMES_AT_MOST:
                _coded_names.clear()
            _coded_names[coded] = name
    return name
