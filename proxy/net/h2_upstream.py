"""One upstream connection that speaks HTTP/2, shared by exchanges: each has a stream of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from proxy import errors
from proxy.codec.events import END, NO_BODY, UNTIL_CLOSE, End, RequestHead, ResponseHead
from proxy.codec.fields import FieldLine
from proxy.codec.h2 import frames
from proxy.codec.h2.connection import GOOD, TOO_LARGE
from proxy.codec.h2.frames import ConnectionFault
from proxy.codec.h2.heads import Malformed, end_of, response_head
from proxy.codec.h2.hpack import Decoder
from proxy.codec.h2.stream import STREAM_WINDOW, UNKNOWN_LENGTH, Stream
from proxy.codec.translate import request_fields
from proxy.errors import Reason
from proxy.exchange import Exchange
from proxy.net.h2_transport import H2Transport
from proxy.net.targets import Address
from proxy.sides import NO_CODE

if TYPE_CHECKING:
    from proxy.net.pool import Pool

_STREAMS_AT_MOST: Final = 1000
# Of heads, that a peer does not read: then others get the next ones.
_UNREAD_AT_MOST: Final = 65536
# Servers end a connection on which many streams are reset (nghttp2: 1,000, then 33 a second), and with it what others
# wait for. So that no caller can bring that about alone, a connection is left to its streams when so many were.
_CANCELS_AT_MOST: Final = 300
# Who takes heads of more than this is not asked whether this one is.
_MAX_LIST_BYTES: Final = 1 << 20
_WITHOUT_BODY: Final = (204, 304)
# RFC 9113 section 6.5.2: what a field counts beside its name and value.
_FIELD_BYTES: Final = 32
# Stream ids are used up one day; the connection is left before.
_LAST_ID: Final = 2**30
# gRPC servers allow a ping in five minutes where nothing else moves, and end connections that send more.
_PING_AFTER_S: Final = 330.0


class H2Upstream(H2Transport):
    """The connection."""

    __slots__ = (
        "_cancels",
        "_has_room_for",
        "_is_stuck",
        "_pool",
        "_unflushed",
        "address",
        "end_reason",
        "ends",
        "is_proven",
        "ready",
    )

    def __init__(self, pool: Pool, address: Address) -> None:
        decoder = Decoder(pool.h2_response_kinds, pool.limits)
        max_bytes = pool.limits.max_bytes
        super().__init__(decoder, pool.outbox, pool.now_s, is_server=False, max_block_bytes=max_bytes)
        self._pool = pool
        self.address = address
        self.ends: tuple[object, object] = (None, None)  # local, remote
        self.is_proven = False  # it has answered a request
        self.end_reason = errors.UPSTREAM_CLOSED
        self._has_room_for = 0  # until the peer has said how many
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # it has; or it is over
        self._cancels = 0
        self._is_stuck = False  # its window was shut a moment ago: some handler does not read what others wait behind
        self._unflushed: list[H2UpstreamStream] = []  # whose response has begun, and may be waiting for more

    # --- from the pool ---

    @property
    def has_room(self) -> bool:
        return (
            not self.is_going
            and len(self.streams) < self._has_room_for
            and self.unread < _UNREAD_AT_MOST
            and (self.send_window > 0 or not self._is_stuck)
            and self.next_id < _LAST_ID
        )

    def open(self) -> H2UpstreamStream:
        """A stream that has no number before its head is sent."""
        return H2UpstreamStream(self)

    def close(self) -> None:
        """It is no longer wanted: at once, or after the streams that it has."""
        if not self.is_going:
            self.is_going = True
            self._pool.forget_shared(self)
            if not self._transport.is_closing():
                self.write_goaway(0)
        if not self.streams:
            self.close_written()

    def leave(self) -> None:
        """No table names its address any more. Who waits for a connection that is just being made keeps the table that
        led there, and is served by it alone; it ends when all those are done, or when it was idle for long."""
        if self.next_id > 1:
            self.close()
        else:
            self._pool.forget_shared(self)

    def abort(self) -> None:
        """It does not speak."""
        self._transport.abort()

    # --- from the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has its own base class
        self._pool.opened(self, self._transport)
        self.announce(
            (frames.SETTINGS_HEADER_TABLE_SIZE, 0),
            (frames.SETTINGS_ENABLE_PUSH, 0),
            (frames.SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (frames.SETTINGS_MAX_HEADER_LIST_SIZE, self._pool.limits.max_bytes),
        )

    def data_received(self, data: bytes) -> None:
        self.take(data, self._pool.now_s)

    def on_taken(self) -> None:
        if self._unflushed:
            unflushed, self._unflushed = self._unflushed, []
            for stream in unflushed:
                if stream.exchange is not None:
                    stream.exchange.flush()

    def eof_received(self) -> bool:
        self.is_going = True
        self._pool.forget_shared(self)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_broken = self.is_going = True
        self._get_ready()
        self._pool.lost(self)
        if not self.is_proven and self.streams:
            self.address.failed(self._pool.now_s, errors.UPSTREAM_CLOSED.text)
        self._end_streams(errors.UPSTREAM_CLOSED)

    # --- from the peer ---

    def on_settings(self) -> None:
        self._has_room_for = min(self.max_peer_streams, _STREAMS_AT_MOST)
        self._get_ready()

    def _get_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def on_block(self, stream: Stream, fields: list[FieldLine], state: int, *, is_end: bool) -> None:
        assert isinstance(stream, H2UpstreamStream)
        exchange = stream.exchange
        if exchange is None:
            if is_end:
                stream.receive_end(END)
            return
        try:
            if stream.has_head:
                if state != GOOD or not is_end or stream.body_left > 0:
                    raise Malformed
                stream.receive_end(end_of(fields, self._pool.h2_response_kinds))
                return
            if state == TOO_LARGE:
                stream.reset(frames.CANCEL)
                stream.fail(errors.UPSTREAM_HEAD_TOO_LARGE, NO_CODE)
                return
            if state != GOOD:
                raise Malformed
            head = response_head(fields, is_head_request=exchange.head.method == b"HEAD", is_end=is_end)
            stream.receive_head(head, exchange, is_end=is_end)
        except Malformed:
            self.break_stream(stream, frames.PROTOCOL_ERROR)

    def on_request(self, stream_id: int, fields: list[FieldLine], state: int, *, is_end: bool) -> None:
        """Never: a peer can't open streams here."""

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """Streams above the last one that it names were not processed, and go elsewhere (section 6.8)."""
        self._pool.forget_shared(self)
        for stream in list(self.streams.values()):
            if stream.stream_id > last_stream_id:
                self.forget(stream)
                stream.on_reset(frames.REFUSED_STREAM)
        self.on_stream_closed()

    def on_fault(self, fault: ConnectionFault) -> None:
        self.end_reason = errors.UPSTREAM_INVALID
        self._get_ready()
        self.address.failed(self._pool.now_s, errors.UPSTREAM_INVALID.text)
        self._pool.forget_shared(self)
        self.close_written()
        self._end_streams(errors.UPSTREAM_INVALID)

    def on_stream_closed(self) -> None:
        if not self.streams and not self.is_broken:
            if self.is_going:
                self.close_written()
            elif self.address.is_gone:
                self.close()

    def refused_stream(self) -> None:
        """The peer takes no more streams than it has now, whatever it announced; for a second that is believed."""
        self._has_room_for = min(self._has_room_for, max(1, len(self.streams)))

    def cancelled_stream(self) -> None:
        """One of its callers gave up."""
        self._cancels += 1
        if self._cancels >= _CANCELS_AT_MOST and not self.is_going:
            self.close()

    def _end_streams(self, reason: Reason) -> None:
        """All but those whose response came whole, and waits for a slow downstream."""
        for stream in list(self.streams.values()):
            if not stream.stop_sending():
                self.forget(stream)
                if isinstance(stream, H2UpstreamStream):
                    stream.fail(reason, NO_CODE)

    # --- time ---

    def check_time(self, now_s: float, idle_timeout_s: float, response_timeout_s: float) -> None:
        """Called about once a second."""
        self.now_s = now_s
        self.fill_budget()
        self._is_stuck = self.send_window <= 0
        if self.ready.done():
            self._has_room_for = min(self.max_peer_streams, _STREAMS_AT_MOST)  # after a refusal, as announced again
        quiet_s = now_s - self.active_at_s
        if self._transport.is_closing():
            if quiet_s > idle_timeout_s:
                self._transport.abort()  # the peer does not read what was written last
        elif not self.streams:
            if quiet_s > idle_timeout_s:
                self.close()
        else:
            if response_timeout_s:
                for stream in list(self.streams.values()):
                    if isinstance(stream, H2UpstreamStream):
                        stream.check_time(now_s, response_timeout_s)
            self.check_alive(now_s, _PING_AFTER_S)


class H2UpstreamStream(Stream):
    """Implements `exchange.Upstream`."""

    __slots__ = ("_is_tunnel", "_upstream", "endpoint", "exchange", "has_head", "is_reused")

    def __init__(self, connection: H2Upstream) -> None:
        super().__init__(connection, 0)
        self._upstream = connection
        self.endpoint = connection.address.endpoint
        self.is_reused = connection.is_proven  # else a lost connection was none
        self.exchange: Exchange | None = None
        self.has_head = False
        self._is_tunnel = False

    # --- from the exchange ---

    def send_head(self, head: RequestHead, exchange: Exchange) -> None:
        connection = self._upstream
        self.exchange = exchange
        self.active_at_s = self._upstream._pool.now_s  # the connection's: only what comes says that the peer is there
        if head.upgrade and head.body != NO_BODY:
            head.upgrade = ()  # a tunnel has no body; the server may take the request as any other
        self.stream_id = connection.next_id
        connection.next_id += 2
        connection.streams[self.stream_id] = self
        if head.upgrade and not connection.extends_connect:
            connection.forget(self)
            self.fail(errors.UPGRADE_REFUSED, NO_CODE)
            return
        fields = request_fields(head)
        if connection.max_list_bytes < _MAX_LIST_BYTES and _list_bytes(fields) > connection.max_list_bytes:
            # There are servers that end the connection for that (Netty's, grpc-java's), and others share it.
            connection.forget(self)
            self.fail(errors.HEAD_TOO_LARGE, NO_CODE)
            return
        self.is_local_ended = is_end = head.body == NO_BODY and not head.upgrade
        connection.write_head(self, fields, is_end=is_end)

    def send_end(self, end: End) -> None:
        self.write_end(end)

    def cancel(self) -> None:
        self.exchange = None
        self.reset(frames.CANCEL)
        self._upstream.cancelled_stream()

    # --- from the peer ---

    def receive_head(self, head: ResponseHead, exchange: Exchange, *, is_end: bool) -> None:
        """An interim or the final head."""
        if head.status < 200:
            self.is_reused = False  # the request has arrived: a retry would be the second
            exchange.response_head(head)
            return
        self.has_head = True
        if self._upstream.address.is_failing:
            self._upstream.address.succeeded()
        self._upstream.is_proven = True
        self.expect(head.body)
        if exchange.head.upgrade and head.status < 300 and not is_end:
            self._is_tunnel = True
            head.status = 101
            head.body = UNTIL_CLOSE
            self.body_left = UNKNOWN_LENGTH
        exchange.response_head(head)
        if is_end:
            self.receive_end(END)
        elif not exchange.head.is_http2 and (exchange.head.method == b"HEAD" or head.status in _WITHOUT_BODY):
            # HTTP/1.1 has all of it then. Some servers end the stream with a frame of its own, maybe much later.
            self._finish_exchange(exchange, END)
        else:
            self._upstream._unflushed.append(self)

    def on_body(self, data: bytes) -> None:
        if not self.has_head:
            self._upstream.break_stream(self, frames.PROTOCOL_ERROR)  # section 8.1: a head comes first
        elif self.exchange is not None:
            self.exchange.response_body(data)

    def on_end(self, end: End) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        if not self.has_head:
            self._upstream.break_stream(self, frames.PROTOCOL_ERROR)
            return
        if self._is_tunnel:
            exchange.response_end(end)
        else:
            self._finish_exchange(exchange, end)

    def _finish_exchange(self, exchange: Exchange, end: End) -> None:
        self.exchange = None
        if not self.is_local_ended:
            self.reset(frames.CANCEL)  # the rest of the request is not wanted
        exchange.response_end(end)

    def stop_sending(self) -> bool:
        """A tunnel that is reset is over, both ways."""
        return not self._is_tunnel and super().stop_sending()

    def on_reset(self, code: int) -> None:
        self.is_reused = False  # the connection was not stale
        if code == frames.REFUSED_STREAM:
            self._upstream.refused_stream()
            self.fail(errors.UPSTREAM_REFUSED, code)
        else:
            # A reset that says "no error" leaves the response unfinished all the same.
            self.fail(errors.UPSTREAM_CLOSED, frames.INTERNAL_ERROR if code == frames.NO_ERROR else code)

    def on_broken(self, code: int) -> None:
        self.is_reused = False
        self.fail(errors.UPSTREAM_INVALID, NO_CODE)

    def fail(self, reason: Reason, code: int) -> None:
        """The stream is no more."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            if self._is_full:
                self._is_full = False
                exchange.upstream_is_free()  # what it could not take goes elsewhere, or nowhere
            exchange.upstream_failed(reason, code)

    def on_full(self) -> None:
        if self.exchange is not None:
            self.exchange.upstream_is_full()

    def on_free(self) -> None:
        if self.exchange is not None:
            self.exchange.upstream_is_free()

    def check_time(self, now_s: float, response_timeout_s: float) -> None:
        exchange = self.exchange
        if exchange is None:
            if not self.is_remote_ended and now_s - self.active_at_s > response_timeout_s:
                self.reset(frames.CANCEL)  # all was said, and the server forgot to say so
            return
        if self.has_head or not self.is_local_ended or exchange.head.is_grpc:
            return  # a gRPC server may send its head with the first message, whenever that is
        if now_s - self.active_at_s > response_timeout_s:
            self.reset(frames.CANCEL)
            self.fail(errors.UPSTREAM_TIMEOUT, NO_CODE)


def _list_bytes(fields: list[FieldLine]) -> int:
    size = len(fields) * _FIELD_BYTES
    for field in fields:
        size += len(field.name) + len(field.value)
    return size
