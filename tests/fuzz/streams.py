"""What both directions of HTTP/1.1 share: the readings of one stream that must be the same, whatever is changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from zlib import crc32

from proxy.codec.fields import FieldKinds
from proxy.codec.h1.reader import HeadLimits, MessageReader
from proxy.errors import REASONS
from tests.fuzz.cost import cpu_limit, pumped
from tests.support.codec import (
    LIMITS,
    Reading,
    by_bytes,
    check_bounds,
    check_buffered,
    comparable,
    in_pieces,
    reading,
)

_NAMES = {reason.name for reason in REASONS}
_BY_BYTES_AT_MOST = 600  # each byte costs as much as a whole short message


class Stream:
    """One kind of stream: its reader, and what readers of one process remember together (`kinds`)."""

    def __init__(self, new: Callable[[HeadLimits], MessageReader], kinds: FieldKinds) -> None:
        self._new = new
        self._kinds = kinds
        self._known_at_start = dict(kinds)

    def forget(self) -> None:
        """Every input finds the same memory, so that each failure can be repeated."""
        self._kinds.clear()
        self._kinds.update(self._known_at_start)
        self._kinds.lines.clear()

    def check(self, data: bytes, methods: Sequence[bytes] = (b"GET",), upgrade: Sequence[bytes] = ()) -> None:
        """Only declared faults; the same whatever was read before and however it is cut; bounds kept; cost linear."""
        random = Random(crc32(data))
        is_bytewise = len(data) <= _BY_BYTES_AT_MOST
        chosen = random.randrange(len(LIMITS) * 2)
        for number, (limits, eof) in enumerate((limits, eof) for limits in LIMITS for eof in (False, True)):

            def read(pieces: Sequence[bytes], limits: HeadLimits = limits, eof: bool = eof) -> Reading:
                one = reading(self._new(limits), pieces, eof=eof, methods=methods, upgrade=upgrade)
                assert not one.fault or one.fault in _NAMES
                assert not eof or one.fault or one.is_cut, "a stream that ends leaves no message open"
                check_bounds(one, limits, data)
                return one

            self.forget()
            with cpu_limit():
                whole = read([data])
            assert read([data]) == whole, "what was read before changes nothing"
            cuts = [random.randint(0, len(data)) for _ in range(3)]
            for pieces in (in_pieces(data, cuts), by_bytes(data) if is_bytewise and number == chosen else None):
                if pieces is not None:
                    again = read(pieces)
                    assert comparable(again) == comparable(whole), "how it is cut changes nothing"
                    check_buffered(again, limits)
        if (long := pumped(data)) is not None:
            segments = [long[index : index + 1460] for index in range(0, len(long), 1460)]
            for pieces in ([long], segments):
                with cpu_limit():
                    reading(self._new(LIMITS[0]), pieces, eof=True, methods=methods, upgrade=upgrade)
