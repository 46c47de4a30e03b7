"""One downstream connection that speaks HTTP/2: each stream is one exchange, routed by itself."""

from __future__ import annotations

import asyncio
from typing import Final

from proxy import errors
from proxy.answers import decision_field, grpc_head, refusal
from proxy.codec.events import END, End, ResponseHead
from proxy.codec.fields import FieldLine
from proxy.codec.h2 import frames
from proxy.codec.h2.connection import GOOD, TOO_LARGE
from proxy.codec.h2.frames import ConnectionFault
from proxy.codec.h2.heads import Malformed, RequestHeads, end_of, is_grpc
from proxy.codec.h2.hpack import Decoder
from proxy.codec.h2.output import MAX_UNREAD
from proxy.codec.h2.stream import STREAM_WINDOW, Stream
from proxy.codec.translate import response_fields
from proxy.errors import Reason
from proxy.exchange import Exchange
from proxy.net.connections import Connections
from proxy.net.h2_transport import H2Transport
from proxy.routing.decision import decision_text
from proxy.sides import NO_CODE, Port
from proxy.watched import new_exchange

_LINGER_S: Final = 2.0
# Interim answers need no window, and an upstream may send any number: beyond this they do without.
_INTERIM_UNREAD: Final = 65536
# A caller that is silent while it waits for answers is asked whether it is still there.
_PING_AFTER_S: Final = 30.0
_DRAINING: Final = b"draining"
# How long a drain waits for the answer that says which streams were under way.
_GOAWAY_S: Final = 1.0


class H2Downstream(H2Transport):
    """The connection. Made when an H1Downstream meets the preface, with everything that came so far."""

    __slots__ = (
        "_connections",
        "_drain_since_s",
        "_eof",
        "_final_id",
        "_heads",
        "_is_lingering",
        "_is_new",
        "_peer",
        "_port",
        "is_looped",
    )

    def __init__(self, port: Port, connections: Connections, transport: asyncio.Transport) -> None:
        decoder = Decoder(connections.h2_request_kinds, connections.limits)
        max_bytes = connections.limits.max_bytes
        super().__init__(decoder, connections.outbox, connections.now_s, is_server=True, max_block_bytes=max_bytes)
        self._port = port
        self._connections = connections
        self._transport = transport
        self._heads = RequestHeads()
        self._eof = False
        self._is_new = True
        self._is_lingering = False
        self._peer = b""  # not asked for yet
        self._final_id = frames.MAX_STREAM_ID  # of the last stream that is served
        self._drain_since_s = 0.0
        self.is_looped = False
        self.announce(
            (frames.SETTINGS_HEADER_TABLE_SIZE, 0),
            (frames.SETTINGS_MAX_CONCURRENT_STREAMS, connections.max_streams),
            (frames.SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (frames.SETTINGS_MAX_HEADER_LIST_SIZE, connections.limits.max_bytes),
            (frames.SETTINGS_ENABLE_CONNECT_PROTOCOL, 1),
        )

    @property
    def port(self) -> Port:
        return self._port

    # --- from the transport ---

    def data_received(self, data: bytes) -> None:
        if self._is_lingering:
            return
        self.take(data, self._connections.now_s)

    def eof_received(self) -> bool:
        """The peer has gone, and wants no answers. (Unlike HTTP/1.1: without it no window would be given any more.)"""
        self._eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        self.is_broken = True
        self._end_streams(errors.DOWNSTREAM_CLOSED)

    def flush(self) -> None:
        if not self._is_lingering:  # then the last word was said
            super().flush()

    # --- from the peer ---

    def on_request(self, stream_id: int, fields: list[FieldLine], state: int, *, is_end: bool) -> None:
        if self.unread > MAX_UNREAD:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "answers that are not read")
        if stream_id > self._final_id:
            self.note_reset(stream_id)  # section 6.8: the GOAWAY told that it would not be served
            return
        if len(self.streams) >= self._connections.max_streams:
            self._spend(1)
            self.refuse(stream_id, frames.REFUSED_STREAM)
            return
        if self._is_new:
            self._is_new = False
            self.is_looped = self._connections.is_own(self._transport)
        if state == TOO_LARGE:
            text = "the header list is over the limit"
            self._refuse(stream_id, is_end, errors.HEAD_TOO_LARGE, text, is_call=is_grpc(fields))
            return
        try:
            if state != GOOD:
                raise Malformed
            head = self._heads.read(fields, is_end=is_end)
        except Malformed:
            # Section 8.1.1. Nobody is told in words: a peer that makes such requests is no browser.
            self._port.refuse(errors.BAD_REQUEST, self.peer)
            self._spend(1)
            self.refuse(stream_id, frames.PROTOCOL_ERROR)
            return
        if head.method == b"CONNECT" and not head.upgrade:
            self._refuse(stream_id, is_end, errors.METHOD_NOT_ALLOWED, "CONNECT is not served")
            return
        self.streams[stream_id] = stream = H2DownstreamStream(self, stream_id)
        stream.is_remote_ended = is_end
        stream.expect(head.body)
        if head.upgrade:
            stream.pause_reading()  # until it is a tunnel
        stream.exchange = exchange = new_exchange(self._port, stream, head)
        exchange.start()

    def on_block(self, stream: Stream, fields: list[FieldLine], state: int, *, is_end: bool) -> None:
        """Trailers: a block behind the first one, which ends the stream."""
        try:
            if state != GOOD or not is_end or stream.body_left > 0:
                raise Malformed
            end = end_of(fields, self._connections.h2_request_kinds)
        except Malformed:
            self.break_stream(stream, frames.PROTOCOL_ERROR)
        else:
            stream.receive_end(end)

    def on_fault(self, fault: ConnectionFault) -> None:
        reason = errors.BAD_REQUEST if fault.code != frames.NO_ERROR else errors.REQUEST_TIMEOUT
        if self.streams:
            self._port.metrics.refuse(reason)
        else:
            self._port.refuse(reason, self.peer)
        self._end_streams(reason)
        self._linger()

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        self.on_stream_closed()

    def on_ping_ack(self, payload: bytes) -> None:
        if payload == _DRAINING and self._drain_since_s:
            self._say_last()

    def on_stream_closed(self) -> None:
        if not self.streams and self.is_going and not self.is_broken:
            self.close_written()

    # --- refusing and closing ---

    def _refuse(self, stream_id: int, is_end: bool, reason: Reason, text: str, *, is_call: bool = False) -> None:
        """An answer without an exchange."""
        self._port.refuse(reason, self.peer)
        self._spend(1)
        self.streams[stream_id] = stream = H2DownstreamStream(self, stream_id)
        stream.is_remote_ended = is_end
        if is_call:
            body = b""
            head = grpc_head(reason.grpc_status, reason, reason.name)
        else:
            head, body = refusal(reason, text)
        if self._port.decision_field:
            head.append(decision_field(decision_text("none", None, reason)))
        stream.send_head(head)
        if body:
            stream.send_body(body)
        stream.send_end(END)

    def _end_streams(self, reason: Reason) -> None:
        for stream in list(self.streams.values()):
            stream.drop()
            if isinstance(stream, H2DownstreamStream):
                stream.lose(reason)
        self.streams.clear()

    def _linger(self) -> None:
        """Our side ends; what still comes is dropped, so that no reset overtakes the last words."""
        self._is_lingering = True
        self.active_at_s = self._connections.now_s
        if self._transport.is_closing():
            return
        self._transport.write(self.take_output())
        if self._eof:
            self._transport.close()
        else:
            self._transport.write_eof()

    @property
    def peer(self) -> bytes:
        """The caller's address, without its port."""
        if not self._peer:
            name = self._transport.get_extra_info("peername")
            self._peer = str(name[0]).encode() if name else b"unknown"
        return self._peer

    # --- time ---

    def check_time(self, now_s: float) -> None:
        """Called about once a second: closes what took too long."""
        timeouts = self._connections.timeouts
        self.now_s = self._connections.now_s
        self.fill_budget()
        idle_s = now_s - self.active_at_s
        if self._is_lingering:
            if idle_s > _LINGER_S:
                self._transport.abort()
        elif self._transport.is_closing():
            if timeouts.stream_idle_timeout_s and idle_s > timeouts.stream_idle_timeout_s:
                self._transport.abort()  # the peer does not read what was written last
        elif (self.block_since_s and now_s - self.block_since_s > timeouts.head_timeout_s) or (
            not self._has_settings and idle_s > timeouts.head_timeout_s
        ):
            self.fail(ConnectionFault(frames.NO_ERROR, "a head that took too long"))
        elif self.streams:
            for stream in list(self.streams.values()):
                if isinstance(stream, H2DownstreamStream):
                    stream.check_time(now_s)
            self.check_alive(now_s, _PING_AFTER_S)
        elif timeouts.idle_timeout_s and idle_s > timeouts.idle_timeout_s:
            self.is_going = True
            self.write_goaway(self.last_peer_id)
            self.close_written()

    def drain(self, idle_since_s: float) -> None:
        """Ends gracefully, in two steps (section 6.8): no new streams, please; and, when the peer must have read that,
        which was the last one."""
        now_s = self._connections.now_s
        if self._is_lingering:
            return
        if not self._drain_since_s:
            self._drain_since_s = now_s
            self.write_goaway(frames.MAX_STREAM_ID)
            self.write_ping(_DRAINING)
        elif now_s - self._drain_since_s > _GOAWAY_S:
            self._say_last()

    def _say_last(self) -> None:
        if self._final_id == frames.MAX_STREAM_ID:
            self._final_id = self.last_peer_id
            self.is_going = True
            self.write_goaway(self._final_id)
        self.on_stream_closed()

    def cut(self) -> None:
        """The drain's time is over."""
        self.is_broken = True
        self._end_streams(errors.DRAINED)
        self._transport.abort()


class H2DownstreamStream(Stream):
    """Implements `exchange.Downstream`."""

    __slots__ = ("_downstream", "_is_tunnel", "_tunnel_ends_s", "exchange")

    def __init__(self, connection: H2Downstream, stream_id: int) -> None:
        super().__init__(connection, stream_id)
        self._downstream = connection
        self.exchange: Exchange | None = None
        self._is_tunnel = False
        self._tunnel_ends_s = 0.0  # when a tunnel whose route is gone must have ended; 0: it stands

    # --- from the exchange ---

    @property
    def is_looped(self) -> bool:
        return self._downstream.is_looped

    @property
    def peer(self) -> bytes:
        return self._downstream.peer

    def send_interim(self, head: ResponseHead) -> None:
        if self.connection.unread > _INTERIM_UNREAD:
            return
        self.connection.write_head(self, response_fields(head), is_end=False)

    def send_head(self, head: ResponseHead, *, is_last: bool = False) -> None:
        if self.is_closed:
            return
        self.active_at_s = self.connection.now_s
        if head.status == 101:
            self._open_tunnel(head)
        else:
            self.connection.write_head(self, response_fields(head), is_end=False)

    def _open_tunnel(self, head: ResponseHead) -> None:
        self._is_tunnel = True
        self.connection.write_head(self, response_fields(head), is_end=False)
        self._downstream._connections.add_tunnel(self)
        self.resume_reading()

    def send_end(self, end: End) -> None:
        exchange = self.exchange
        if exchange is None or exchange.is_over:
            self._leave()
        self.write_end(end)

    def flush(self) -> None:
        """The connection writes when all that came was worked off."""

    def abort(self, code: int = NO_CODE) -> None:
        self._leave()
        self.reset(frames.INTERNAL_ERROR if code == NO_CODE else code)

    # --- from the peer ---

    def on_body(self, data: bytes) -> None:
        if self.exchange is not None:
            self.exchange.request_body(data)

    def on_end(self, end: End) -> None:
        if self.exchange is not None:
            self.exchange.request_end(end)

    def on_reset(self, code: int) -> None:
        self.lose(errors.DOWNSTREAM_CLOSED)

    def on_broken(self, code: int) -> None:
        self._downstream._port.metrics.refuse(errors.BAD_REQUEST)
        self.lose(errors.BAD_REQUEST)

    def lose(self, reason: Reason) -> None:
        """The stream is no more."""
        exchange = self.exchange
        self._leave()
        if exchange is not None:
            exchange.downstream_failed(reason)

    def _leave(self) -> None:
        self.exchange = None
        if self._is_tunnel:
            self._is_tunnel = False
            self._downstream._connections.remove_tunnel(self)

    def on_full(self) -> None:
        if self.exchange is not None:
            self.exchange.downstream_is_full()

    def on_free(self) -> None:
        if self.exchange is not None:
            self.exchange.downstream_is_free()

    def on_sent(self) -> None:
        """An answer that did not wait for the whole request: the rest of that is not wanted (section 8.1)."""
        if self.exchange is None:
            if self.is_remote_ended:
                self.connection.forget(self)
            else:
                self.reset(frames.NO_ERROR)

    # --- time ---

    def check_time(self, now_s: float) -> None:
        exchange = self.exchange
        timeouts = self._downstream._connections.timeouts
        idle_s = now_s - self.active_at_s
        if exchange is None:
            if timeouts.stream_idle_timeout_s and idle_s > timeouts.stream_idle_timeout_s:
                self.reset(frames.CANCEL)  # the peer does not read what is written
            return
        is_long = self._is_tunnel or exchange.head.is_grpc  # which may be silent for as long as it likes
        limit_s = timeouts.tunnel_idle_timeout_s if is_long else timeouts.stream_idle_timeout_s
        if self._tunnel_ends_s and now_s > self._tunnel_ends_s:
            exchange.route_ended()
        elif limit_s and idle_s > limit_s and now_s - exchange.upstream_active_at_s > limit_s:
            exchange.stream_timed_out()

    def end_unrouted_tunnel(self, within_s: float) -> None:
        """The table changed: a tunnel that it no longer leads where it goes ends within so many seconds."""
        if self.exchange is None or self.exchange.is_routed:
            self._tunnel_ends_s = 0.0
        elif not self._tunnel_ends_s:
            self._tunnel_ends_s = self.connection.now_s + within_s
