"""One HTTP/2 connection, either side of it: bytes in, calls out; what it says is the other half (`output`).

Spec: RFC 9113. What a peer does wrong ends its stream where only that is concerned, else the connection
(sections 5.4, 6); which of both stands with each check. Priorities are ignored (section 5.3.2), pushes never allowed.
"""

from __future__ import annotations

from typing import Final

from proxy.codec.fields import FieldLine
from proxy.codec.h2 import frames
from proxy.codec.h2.frames import ConnectionFault
from proxy.codec.h2.hpack import CompressionError, Decoder, MalformedError, TooLargeError
from proxy.codec.h2.output import CONNECTION_WINDOW, Output
from proxy.codec.h2.stream import Stream

# By so much all streams' windows together may outgrow what they have at first.
_SPARE_WINDOW: Final = 4194304
_MAX_CONTINUATIONS: Final = 64
# A header block over the limit is answered as long as it is not absurd: so many times the limit.
_ABSURD: Final = 4
_SKIPPED_AT_MOST: Final = 100
_RESET_AT_MOST: Final = 2000

_RESET_COST: Final = 10

# Why a header block is not what it should be.
GOOD: Final = 0
MALFORMED: Final = 1
TOO_LARGE: Final = 2


class Connection(Output):
    """The part that both sides share. `net` derives both: they open streams and say what the `on_...` do."""

    __slots__ = (
        "_block",
        "_block_flags",
        "_block_stream",
        "_buf",
        "_continuations",
        "_decoder",
        "_has_settings",
        "_max_block_bytes",
        "_owed",
        "_preface_left",
        "_receive_window",
        "_reset",
        "_skipped",
        "block_since_s",
        "extends_connect",
        "initial_send_window",
        "is_broken",
        "is_going",
        "last_peer_id",
        "max_list_bytes",
        "max_peer_streams",
        "next_id",
        "now_s",
        "spare_window",
        "streams",
    )

    def __init__(self, decoder: Decoder, *, is_server: bool, max_block_bytes: int, now_s: float) -> None:
        super().__init__(is_server=is_server)
        self._decoder = decoder
        self._max_block_bytes = max_block_bytes * _ABSURD
        self._buf = b""
        self._preface_left = frames.PREFACE if is_server else b""
        self._has_settings = False  # the peer's first
        self._block: list[bytes] = []  # a header block that is not complete
        self._block_stream = 0  # 0: there is none
        self._block_flags = 0
        self._continuations = 0
        self._skipped: list[tuple[int, int]] = []  # stream ids that were passed over, and so are closed unused
        self._reset: dict[int, None] = {}  # streams that were reset here; frames for them may be under way still
        self._receive_window = CONNECTION_WINDOW
        self._owed = 0
        self.block_since_s = 0.0  # when that header block began
        self.spare_window = _SPARE_WINDOW
        self.initial_send_window = frames.DEFAULT_WINDOW
        self.max_peer_streams = -1  # that we may open; -1: not known yet
        self.max_list_bytes = frames.MAX_WINDOW  # of a head, as section 6.5.2 counts it, that the peer takes
        self.extends_connect = False  # RFC 8441: the peer takes extended CONNECT
        self.streams: dict[int, Stream] = {}
        self.next_id = 2 if is_server else 1
        self.last_peer_id = 0
        self.is_going = False  # a GOAWAY was sent or received: no more streams
        self.is_broken = False
        self.now_s = now_s

    # --- for `net` to say ---

    def on_request(self, stream_id: int, fields: list[FieldLine], state: int, *, is_end: bool) -> None:
        """The peer opened a stream (server side)."""
        raise NotImplementedError

    def on_block(self, stream: Stream, fields: list[FieldLine], state: int, *, is_end: bool) -> None:
        """A head or trailers for a stream that is open."""
        raise NotImplementedError

    def on_settings(self) -> None:
        """The peer's settings have changed."""

    def on_ping_ack(self, payload: bytes) -> None: ...

    def on_goaway(self, last_stream_id: int, code: int) -> None: ...

    def on_fault(self, fault: ConnectionFault) -> None:
        """The connection is over: the peer broke its rules. It was told."""
        raise NotImplementedError

    # --- bytes in ---

    def receive(self, data: bytes) -> None:
        """Takes all whole frames; what is left waits for the rest."""
        if self.is_broken:
            return
        buf = self._buf + data if self._buf else data
        pos, size = 0, len(buf)
        try:
            if self._preface_left:
                pos = self._take_preface(buf)
            while size - pos >= 9 and not self.is_broken:
                length = (buf[pos] << 16) | (buf[pos + 1] << 8) | buf[pos + 2]
                if length > frames.MAX_FRAME_BYTES:
                    raise ConnectionFault(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
                end = pos + 9 + length
                if end > size:
                    break
                stream_id = ((buf[pos + 5] & 0x7F) << 24) | (buf[pos + 6] << 16) | (buf[pos + 7] << 8) | buf[pos + 8]
                self._frame(buf[pos + 3], buf[pos + 4], stream_id, buf[pos + 9 : end])
                pos = end
        except ConnectionFault as fault:
            self.fail(fault)
            return
        self._buf = buf[pos:] if pos < size else b""

    def _take_preface(self, buf: bytes) -> int:
        """Section 3.4."""
        part = buf[: len(self._preface_left)]
        if self._preface_left[: len(part)] != part:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "not the connection preface")
        self._preface_left = self._preface_left[len(part) :]
        return len(part)

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._has_settings and (kind != frames.SETTINGS or flags & frames.ACK):
            raise ConnectionFault(frames.PROTOCOL_ERROR, "the first frame is no SETTINGS")  # section 3.4
        if self._block_stream:
            # Section 6.2: between the frames of a header block there is nothing else, on any stream.
            if kind != frames.CONTINUATION or stream_id != self._block_stream:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "a header block was interrupted")
            self._continuation(flags, payload)
        elif kind == frames.DATA:
            self._data(flags, stream_id, payload)
        elif kind == frames.HEADERS:
            self._headers(flags, stream_id, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._window_update(stream_id, payload)
        else:
            self._control(kind, flags, stream_id, payload)

    def _control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == frames.RST_STREAM:
            self._rst_stream(stream_id, payload)
        elif kind == frames.SETTINGS:
            self._settings(flags, stream_id, payload)
        elif kind == frames.PING:
            self._ping(flags, stream_id, payload)
        elif kind == frames.GOAWAY:
            self._goaway(stream_id, payload)
        elif kind == frames.PRIORITY:
            self._priority(stream_id, payload)
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a push, which is not allowed")
        elif kind == frames.CONTINUATION:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "CONTINUATION without a header block")
        else:
            self._spend(1)  # section 5.5: what is unknown is ignored

    # --- data ---

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Section 6.1."""
        length = len(payload)
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        self._receive_window -= length
        if self._receive_window < 0:
            raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "more data than the connection's window")
        self._owed += length
        if self._owed >= CONNECTION_WINDOW // 2:
            self.write_window(0, self._owed)
            self._receive_window += self._owed
            self._owed = 0
        if payload:
            self._earn(1)
        elif not flags & frames.END_STREAM:
            self._spend(1)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id, "DATA")
            if stream_id not in self._reset:
                self._spend(_RESET_COST)
                self._emit(frames.rst_stream(stream_id, frames.STREAM_CLOSED))
            return
        if stream.is_remote_ended:
            self.break_stream(stream, frames.STREAM_CLOSED)
            return
        stream.receive_window -= length
        if stream.receive_window < 0:
            self.break_stream(stream, frames.FLOW_CONTROL_ERROR)
        elif not stream.receive(payload, length, is_end=bool(flags & frames.END_STREAM)):
            self.break_stream(stream, frames.PROTOCOL_ERROR)  # section 8.1.1

    # --- header blocks ---

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Section 6.2."""
        if not stream_id:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if flags & frames.HAS_PRIORITY:
            if len(payload) < 5:
                code = frames.PROTOCOL_ERROR if flags & frames.PADDED else frames.FRAME_SIZE_ERROR
                raise ConnectionFault(code, "HEADERS too short for their priority")
            payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._read_block(stream_id, payload, is_end=bool(flags & frames.END_STREAM))
            return
        self._block = [payload]
        self._block_stream = stream_id
        self._block_flags = flags
        self._continuations = 0
        self.block_since_s = self.now_s

    def _continuation(self, flags: int, payload: bytes) -> None:
        """Section 6.10. So many frames may carry one header block, and so many bytes (CHECKLIST 29)."""
        self._block.append(payload)
        self._continuations += 1
        if self._continuations > _MAX_CONTINUATIONS or sum(map(len, self._block)) > self._max_block_bytes:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "a header block without an end")
        if flags & frames.END_HEADERS:
            stream_id, self._block_stream = self._block_stream, 0
            block, self._block = b"".join(self._block), []
            self.block_since_s = 0.0
            self._read_block(stream_id, block, is_end=bool(self._block_flags & frames.END_STREAM))

    def _read_block(self, stream_id: int, block: bytes, *, is_end: bool) -> None:
        """A whole block is read whatever becomes of it, because the next ones may refer to it (section 4.3)."""
        state = GOOD
        try:
            fields = self._decoder.read(block)
        except CompressionError as error:
            raise ConnectionFault(frames.COMPRESSION_ERROR, str(error)) from None
        except MalformedError:
            fields, state = [], MALFORMED
        except TooLargeError as too_large:  # another name: mypyc gives one name one type
            fields, state = too_large.lines, TOO_LARGE
        stream = self.streams.get(stream_id)
        if stream is not None:
            if stream.is_remote_ended:
                self.break_stream(stream, frames.STREAM_CLOSED)
            else:
                self.on_block(stream, fields, state, is_end=is_end)
            return
        if self._is_server and stream_id > self.last_peer_id:
            self._open(stream_id, fields, state, is_end=is_end)
            return
        if stream_id in self._reset:
            return
        self._check_not_idle(stream_id, "HEADERS")
        if any(first <= stream_id <= last for first, last in self._skipped):
            raise ConnectionFault(frames.PROTOCOL_ERROR, "a stream id below one that was used")
        raise ConnectionFault(frames.STREAM_CLOSED, "HEADERS on a stream that is closed")

    def _open(self, stream_id: int, fields: list[FieldLine], state: int, *, is_end: bool) -> None:
        """Section 5.1.1."""
        if not stream_id & 1:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "an even stream id from a client")
        if stream_id > self.last_peer_id + 2:
            self._skipped.append((self.last_peer_id + 1, stream_id - 1))
            del self._skipped[:-_SKIPPED_AT_MOST]
        self.last_peer_id = stream_id
        self.on_request(stream_id, fields, state, is_end=is_end)

    # --- other frames ---

    def _rst_stream(self, stream_id: int, payload: bytes) -> None:
        """Section 6.4."""
        if len(payload) != 4:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "RST_STREAM is not 4 bytes long")
        self._check_not_idle(stream_id, "RST_STREAM")
        stream = self.streams.get(stream_id)
        self._spend(1 if stream is None or not self._is_server else _RESET_COST)
        if stream is None or (not self._is_server and stream.stop_sending()):
            return  # section 8.1: the answer came whole before, and is not thrown away
        self.forget(stream)
        stream.on_reset(frames.word(payload))

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Section 6.5."""
        if stream_id:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "SETTINGS on a stream")
        self._spend(1)
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS with a payload")
            self._decoder.limit_acknowledged()  # we announce settings once
            return
        if len(payload) % 6:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "SETTINGS of no whole number of settings")
        self._spend(len(payload) // 6)  # each may change the window of every stream
        self._has_settings = True
        if self.max_peer_streams < 0:
            self.max_peer_streams = frames.MAX_STREAM_ID  # unless it says otherwise
        window = self.initial_send_window
        for number, value in frames.settings_pairs(payload):
            if number == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ConnectionFault(frames.FLOW_CONTROL_ERROR, f"an initial window of {value}")
                window = value  # the last one counts: a frame may hold 2,730, and each would change every stream
            else:
                self._setting(number, value)
        if window != self.initial_send_window:
            self._change_windows(window)
        self._emit(frames.SETTINGS_ACK)
        self.on_settings()

    def _setting(self, number: int, value: int) -> None:
        """Section 6.5.2. The peer's table size does not matter: nothing that we send is indexed."""
        if number == frames.SETTINGS_ENABLE_PUSH:
            if value > 1 or (value and not self._is_server):
                raise ConnectionFault(frames.PROTOCOL_ERROR, f"ENABLE_PUSH of {value}")
        elif number == frames.SETTINGS_MAX_CONCURRENT_STREAMS:
            self.max_peer_streams = value
        elif number == frames.SETTINGS_MAX_HEADER_LIST_SIZE:
            self.max_list_bytes = value
        elif number == frames.SETTINGS_MAX_FRAME_SIZE:
            if not frames.MAX_FRAME_BYTES <= value <= frames.LARGEST_FRAME_BYTES:
                raise ConnectionFault(frames.PROTOCOL_ERROR, f"a maximum frame size of {value}")
            self.max_frame_bytes = value
        elif number == frames.SETTINGS_ENABLE_CONNECT_PROTOCOL:
            if value > 1 or (self.extends_connect and not value):
                raise ConnectionFault(frames.PROTOCOL_ERROR, f"ENABLE_CONNECT_PROTOCOL of {value}")
            self.extends_connect = value == 1

    def _change_windows(self, window: int) -> None:
        """The initial window is another, and those of open streams change by as much (section 6.9.2)."""
        change = window - self.initial_send_window
        self.initial_send_window = window
        for stream in self.streams.values():
            stream.send_window += change  # below 0, maybe
            if stream.send_window > frames.MAX_WINDOW:
                raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "a stream's window over 2^31-1")
        self.write_blocked()

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Section 6.7."""
        if stream_id:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "PING is not 8 bytes long")
        self._spend(1)
        if flags & frames.ACK:
            self.on_ping_ack(payload)
        else:
            self._emit(frames.ping(payload, is_ack=True))

    def _goaway(self, stream_id: int, payload: bytes) -> None:
        """Section 6.8."""
        if stream_id:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "GOAWAY below 8 bytes")
        self._spend(1)
        self.is_going = True
        self.on_goaway(frames.word(payload) & frames.MAX_STREAM_ID, frames.word(payload, 4))

    def _priority(self, stream_id: int, payload: bytes) -> None:
        """Section 6.3: its form counts, what it says does not."""
        if not stream_id:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "PRIORITY on stream 0")
        self._spend(1)
        if len(payload) != 5:
            stream = self.streams.get(stream_id)
            if stream is None:  # idle or closed: there is nothing to reset
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes long")
            self.break_stream(stream, frames.FRAME_SIZE_ERROR)

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        """Section 6.9."""
        if len(payload) != 4:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, "WINDOW_UPDATE is not 4 bytes long")
        self._spend(1)
        increment = frames.word(payload) & frames.MAX_WINDOW
        if not stream_id:
            if not increment:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            was_shut = self.send_window <= 0
            self.send_window += increment
            if self.send_window > frames.MAX_WINDOW:
                raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "the connection's window over 2^31-1")
            if was_shut:  # else it is not what streams wait for
                self.write_blocked()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id, "WINDOW_UPDATE")
        elif not increment:
            self.break_stream(stream, frames.PROTOCOL_ERROR)
        elif stream.send_window + increment > frames.MAX_WINDOW:
            self.break_stream(stream, frames.FLOW_CONTROL_ERROR)
        else:
            stream.send_window += increment
            while stream.write_one():
                pass

    def _check_not_idle(self, stream_id: int, what: str) -> None:
        """Section 5.1: on a stream that nobody opened there is only HEADERS and PRIORITY."""
        if self._is_server:
            is_idle = not stream_id & 1 or stream_id > self.last_peer_id
        else:
            is_idle = not stream_id & 1 or stream_id >= self.next_id
        if is_idle:
            raise ConnectionFault(frames.PROTOCOL_ERROR, f"{what} on stream {stream_id}, which is idle")

    # --- the end of streams, and of the connection ---

    def forget(self, stream: Stream) -> None:
        """The stream is closed: both sides have ended, or one was reset."""
        if self.streams.pop(stream.stream_id, None) is not None:
            stream.drop()
            self.on_stream_closed()

    def on_stream_closed(self) -> None: ...

    def reset(self, stream: Stream, code: int) -> None:
        self._emit(frames.rst_stream(stream.stream_id, code))
        self.note_reset(stream.stream_id)
        self.forget(stream)

    def refuse(self, stream_id: int, code: int) -> None:
        """A stream that was never opened here."""
        self._emit(frames.rst_stream(stream_id, code))
        self.note_reset(stream_id)

    def note_reset(self, stream_id: int) -> None:
        """Frames for it may come, and mean nothing (section 5.1)."""
        if len(self._reset) >= _RESET_AT_MOST:
            del self._reset[next(iter(self._reset))]
        self._reset[stream_id] = None

    def break_stream(self, stream: Stream, code: int) -> None:
        """The peer broke the rules on this stream (section 5.4.2): it ends, the others go on."""
        self.reset(stream, code)
        stream.on_broken(code)
        if self._is_server:
            self._spend(_RESET_COST)  # as if the peer had reset it (CVE-2025-8671)

    def fail(self, fault: ConnectionFault) -> None:
        """The peer broke the rules of the connection (section 5.4.1)."""
        self.is_broken = self.is_going = True
        self._emit(frames.goaway(self.last_peer_id, fault.code, fault.text))
        self.on_fault(fault)


def _unpadded(payload: bytes) -> bytes:
    """Without the padding's length and the padding (section 6.1)."""
    if not payload:
        raise ConnectionFault(frames.FRAME_SIZE_ERROR, "a padded frame without its padding's length")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(frames.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - padding]
