"""What a connection says: frames collect in `out` until they are written, all at once.

Spec: RFC 9113 sections 4.3, 6. Header blocks go out as they came (`FieldLine.raw`), so nothing that we send may be
remembered by the peer's decoder: the first block says so.

What costs us and brings the peer nothing (pings, settings, window updates, empty data, streams that are reset before
their answer) is paid from a budget, which the seconds and honest traffic fill again, most of all what is sent here:
floods run out of it (CHECKLIST 28-31).
"""

from __future__ import annotations

from typing import Final

from proxy.codec.fields import FieldLine
from proxy.codec.h2 import frames
from proxy.codec.h2.frames import ConnectionFault, frame_header
from proxy.codec.h2.stream import Stream

# What may be under way at once. What waits for slow readers does not narrow it, so nobody waits for another's reader;
# how much that is the streams' windows bound.
CONNECTION_WINDOW: Final = 1048576

_BUDGET: Final = 20000
_BUDGET_PER_S: Final = 2000
_ANSWER_WORTH: Final = 5
_DATA_WORTH: Final = 3  # the peer may answer with two window updates
# Of what is said without a window (heads, acknowledgements, resets) so much may wait for a peer that does not read.
MAX_UNREAD: Final = 4194304


class Output:
    """The half of a connection that writes."""

    __slots__ = (
        "_budget",
        "_is_server",
        "_tells_table_size",
        "blocked",
        "is_full",
        "max_frame_bytes",
        "out",
        "send_window",
        "turn",
        "unread",
    )

    def __init__(self, *, is_server: bool) -> None:
        self._is_server = is_server
        self._budget = _BUDGET
        self._tells_table_size = True
        self.send_window = frames.DEFAULT_WINDOW
        self.max_frame_bytes = frames.MAX_FRAME_BYTES  # that we may send
        self.is_full = False  # the transport takes no more
        self.unread = 0  # bytes that were written all the same; bodies wait
        self.blocked: dict[int, Stream] = {}  # streams with a queue, longest first
        self.out: list[bytes] = []
        self.turn = 0

    def on_output(self) -> None:
        """`out` is no longer empty. For `net` to say."""
        raise NotImplementedError

    # --- the budget ---

    def _spend(self, cost: int) -> None:
        self._budget -= cost
        if self.unread > MAX_UNREAD:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "frames that are not read, and more that ask for them")
        if self._budget < 0:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "too many frames that bring nothing")

    def _earn(self, worth: int) -> None:
        if self._budget < _BUDGET:
            self._budget += worth

    def fill_budget(self) -> None:
        """A second has passed."""
        if not self.is_full:
            self._budget = min(self._budget + _BUDGET_PER_S, _BUDGET)

    # --- frames out ---

    def _emit(self, data: bytes) -> None:
        if not self.out:
            self.on_output()
        if self.is_full:
            self.unread += len(data)
        self.out.append(data)

    def take_output(self) -> bytes:
        """What is to be written now."""
        out = self.out
        self.out = []
        self.turn += 1
        return b"".join(out)

    def announce(self, *pairs: tuple[int, int]) -> None:
        """The first thing that either side says: (the preface,) settings, and the connection's whole window."""
        if not self._is_server:
            self._emit(frames.PREFACE)
        self._emit(frames.settings(*pairs))
        self._emit(frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW))

    def write_head(self, stream: Stream, fields: list[FieldLine], *, is_end: bool) -> None:
        """A header block, in as many frames as it takes."""
        raws = [field.raw for field in fields]
        if self._tells_table_size:
            # Nothing that we send is to be remembered: blocks are passed on as they came (RFC 7541 section 4.2).
            self._tells_table_size = False
            raws.insert(0, b"\x20")
        block = b"".join(raws)
        if not self.out:
            self.on_output()
        out = self.out
        stream._last_index = len(out)
        stream._last_turn = self.turn
        if self.is_full:
            self.unread += len(block)
        flags = 0
        if is_end:
            flags = frames.END_STREAM
            self._earn(_ANSWER_WORTH)
        limit = self.max_frame_bytes
        if len(block) <= limit:
            out.append(frame_header(len(block), frames.HEADERS, flags | frames.END_HEADERS, stream.stream_id))
            out.append(block)
            return
        kind = frames.HEADERS
        for start in range(0, len(block), limit):
            part = block[start : start + limit]
            if start + limit >= len(block):
                flags |= frames.END_HEADERS
            out.append(frame_header(len(part), kind, flags, stream.stream_id))
            out.append(part)
            kind, flags = frames.CONTINUATION, 0

    def write_data(self, stream: Stream, data: bytes) -> None:
        """One frame; there is room for it."""
        length = len(data)
        stream.send_window -= length
        self.send_window -= length
        self._earn(_DATA_WORTH)
        if not self.out:
            self.on_output()
        out = self.out
        stream._last_index = len(out)
        stream._last_turn = self.turn
        out.append(frame_header(length, frames.DATA, 0, stream.stream_id))
        out.append(data)

    def write_end(self, stream: Stream) -> None:
        """END_STREAM: on the stream's last frame, where that still is here."""
        self._earn(_ANSWER_WORTH)
        if stream._last_turn == self.turn:
            header = self.out[stream._last_index]
            self.out[stream._last_index] = header[:4] + bytes((header[4] | frames.END_STREAM,)) + header[5:]
        else:
            self._emit(frame_header(0, frames.DATA, frames.END_STREAM, stream.stream_id))

    def write_window(self, stream_id: int, increment: int) -> None:
        self._emit(frames.window_update(stream_id, increment))

    def write_goaway(self, last_stream_id: int, code: int = frames.NO_ERROR) -> None:
        self._emit(frames.goaway(last_stream_id, code))

    def write_ping(self, payload: bytes) -> None:
        self._emit(frames.ping(payload))

    def write_blocked(self) -> None:
        """The connection's window or its transport has room again: everybody in turn, a frame each."""
        moved = True
        while moved and self.send_window > 0 and not self.is_full and self.blocked:
            moved = False
            for stream in list(self.blocked.values()):
                if stream.write_one():
                    moved = True
