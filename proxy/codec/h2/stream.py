"""One HTTP/2 stream: what it may send and receive, and what waits until it may.

Spec: RFC 9113 sections 5.1 (states), 5.2 and 6.9 (flow control). Both directions hold back by themselves: what the
peer's windows do not allow yet waits in `_queue`, and whoever gave it is told that the stream is full; what nobody
wants yet (`pause_reading`) waits in `_pending`, and as long as it does the peer gets no new window for it. So a slow
reader stalls its own stream and no other.

`net` derives a stream that asks and one that answers; they say what becomes of what arrives (`on_...`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.codec.events import END, UNTIL_END, End, add_piece
from proxy.codec.translate import trailer_fields

if TYPE_CHECKING:
    from proxy.codec.h2.connection import Connection

UNKNOWN_LENGTH: Final = -1
# What one slow reader may leave here, at first; one that keeps up gets more, for networks with a long way.
STREAM_WINDOW: Final = 65536
_MAX_STREAM_WINDOW: Final = 1048576


class Stream:
    """The part that both directions share."""

    __slots__ = (
        "_end",
        "_is_full",
        "_last_index",
        "_last_turn",
        "_offset",
        "_owed",
        "_pauses",
        "_pending",
        "_pending_end",
        "_queue",
        "active_at_s",
        "body_left",
        "connection",
        "is_closed",
        "is_local_ended",
        "is_remote_ended",
        "receive_window",
        "send_window",
        "stream_id",
        "window",
    )

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.send_window = connection.initial_send_window
        self.window = STREAM_WINDOW  # what the peer may send ahead
        self.receive_window = STREAM_WINDOW  # what is left of that
        self.body_left = UNKNOWN_LENGTH  # of what the peer sends, by its content-length
        self.is_local_ended = False
        self.is_remote_ended = False
        self.is_closed = False  # no frame is sent any more
        self.active_at_s = connection.now_s
        self._queue: list[bytes] | None = None  # None: everything was sent
        self._offset = 0  # into the first piece of the queue
        self._end: End | None = None  # what follows the queue
        self._is_full = False
        self._pauses = 0
        self._pending: list[bytes] | None = None
        self._pending_end: End | None = None
        self._owed = 0  # bytes that were taken, and that the peer was not yet given new window for
        self._last_index = 0  # where the header of the last frame stands in the connection's output
        self._last_turn = -1  # and in which turn that was

    # --- what becomes of what arrives; for `net` to say ---

    def on_body(self, data: bytes) -> None:
        raise NotImplementedError

    def on_end(self, end: End) -> None:
        raise NotImplementedError

    def on_reset(self, code: int) -> None:
        """The peer ended the stream."""
        raise NotImplementedError

    def on_broken(self, code: int) -> None:
        """The peer broke the stream's rules; it was reset here."""
        raise NotImplementedError

    def on_sent(self) -> None:
        """The last of this side was written, and of the other one something is still to come, or to be taken."""

    def on_full(self) -> None:
        """What was given to send waits."""
        raise NotImplementedError

    def on_free(self) -> None:
        raise NotImplementedError

    # --- sending ---

    def send_body(self, data: bytes) -> None:
        connection = self.connection
        if self.is_closed or self.is_local_ended:
            return
        self.active_at_s = connection.now_s
        length = len(data)
        if (
            self._queue is None
            and length <= self.send_window
            and length <= connection.send_window
            and length <= connection.max_frame_bytes
            and not connection.is_full
        ):
            connection.write_data(self, data)
            return
        if self._queue is None:
            self._queue = [data]
            self._offset = 0
            connection.blocked[self.stream_id] = self
        else:
            add_piece(self._queue, data)
        while self.write_one():
            pass
        self._tell_full()

    def _tell_full(self) -> None:
        """By itself, since mypyc takes a queue that was set above for one that is still there (mypy's narrowing)."""
        if self._queue is not None and not self._is_full:
            self._is_full = True
            self.on_full()

    def write_one(self) -> bool:
        """One frame of what waits; False: no more may be sent now, or nothing waits."""
        queue, connection = self._queue, self.connection
        if queue is None or connection.is_full:
            return False
        room = min(self.send_window, connection.send_window, connection.max_frame_bytes)
        if room <= 0:
            return False
        self.active_at_s = connection.now_s
        data, start = queue[0], self._offset
        if len(data) - start <= room:
            self._offset = 0
            queue.pop(0)
            connection.write_data(self, data[start:] if start else data)
        else:
            self._offset = start + room
            connection.write_data(self, data[start : start + room])
        if queue:
            return True
        self._queue = None
        connection.blocked.pop(self.stream_id, None)
        end, self._end = self._end, None
        if end is not None:
            self.write_end(end)
        elif self._is_full:
            self._is_full = False
            self.on_free()
        return False

    def write_end(self, end: End) -> None:
        """The last of this side, at once or behind what waits."""
        if self._queue is not None:
            self._end = end
            return
        if self.is_closed:
            return
        if self.is_local_ended:
            self.on_sent()  # a tunnel whose other direction is over as well
            return
        self.is_local_ended = True
        connection = self.connection
        self.active_at_s = connection.now_s
        fields = trailer_fields(end)
        if fields:
            connection.write_head(self, fields, is_end=True)
        else:
            connection.write_end(self)
        if self.is_remote_ended and self._pending_end is None:
            connection.forget(self)
        else:
            self.on_sent()

    def reset(self, code: int) -> None:
        """Ends the stream at once, both ways."""
        if not self.is_closed:
            self.connection.reset(self, code)

    def stop_sending(self) -> bool:
        """The peer takes no more. Whether it had said all that it had to say, and that still waits for its reader."""
        if self._pending_end is None or self.is_closed:
            return False
        self.is_local_ended = True
        self._drop_queue()
        if self._is_full:
            self._is_full = False
            self.on_free()
        return True

    def _drop_queue(self) -> None:
        self._end = None
        if self._queue is not None:
            self._queue = None
            self.connection.blocked.pop(self.stream_id, None)

    # --- receiving ---

    def expect(self, body: int) -> None:
        """What the peer sends is framed so (`codec.events`)."""
        if body > 0:
            self.body_left = body
        elif body == UNTIL_END:
            self.body_left = 0

    def receive(self, data: bytes, length: int, *, is_end: bool) -> bool:
        """Data that came in a frame of this length. False: more or less than its content-length."""
        self.active_at_s = self.connection.now_s
        if self.body_left >= 0:
            self.body_left -= len(data)
            if self.body_left < 0 or (is_end and self.body_left):
                return False
        self.is_remote_ended = is_end
        self._owed += length - len(data)  # padding is for nobody
        if data:
            if self._pauses or self._pending is not None:
                if self._pending is None:
                    self._pending = []
                add_piece(self._pending, data)
            else:
                self._owed += len(data)
                self.on_body(data)
        if self.is_closed:
            return True
        if is_end:
            self.receive_end(END)
        elif self._owed * 2 >= self.window:
            self._give_window()
        return True

    def receive_end(self, end: End) -> None:
        self.is_remote_ended = True
        if self._pauses or self._pending is not None:
            self._pending_end = end
            return
        self._take_end(end)

    def _take_end(self, end: End) -> None:
        self.on_end(end)
        if self.is_local_ended and not self.is_closed:
            self.connection.forget(self)

    def _give_window(self) -> None:
        """New window for what was taken, unless the reader has enough for now; more of it for one that keeps up."""
        connection = self.connection
        if self._pauses or self.is_remote_ended or self.is_closed:
            return
        growth = self.window
        if growth < _MAX_STREAM_WINDOW and growth <= connection.spare_window:
            connection.spare_window -= growth
            self.window += growth
            self._owed += growth
        connection.write_window(self.stream_id, self._owed)
        self.receive_window += self._owed
        self._owed = 0

    def pause_reading(self) -> None:
        self._pauses += 1

    def resume_reading(self) -> None:
        if not self._pauses:
            return
        self._pauses -= 1
        if self._pauses:
            return
        pending, self._pending = self._pending, None
        if pending is not None:
            self._take_pending(pending)
        if not self._pauses and self._pending is None and not self.is_closed:
            pending_end, self._pending_end = self._pending_end, None
            if pending_end is not None:
                self._take_end(pending_end)
            elif self._owed * 2 >= self.window:
                self._give_window()

    def _take_pending(self, pending: list[bytes]) -> None:
        for number, data in enumerate(pending):
            if self._pauses:
                self._pending = pending[number:]
                return
            if self.is_closed:
                return
            self._owed += len(data)
            self.on_body(data)

    def drop(self) -> None:
        """What waits is for nobody any more."""
        if not self.is_closed:
            self.is_closed = True
            self.connection.spare_window += self.window - STREAM_WINDOW
        self._drop_queue()
        self._pending = self._pending_end = None
