"""One downstream connection that speaks HTTP/1.1: bytes to exchanges, and back.

Requests are served one after another: the next head is not parsed before the last response is out, so pipelined bytes
wait in the reader, bounded, and whatever follows a fault is never taken for a request (CHECKLIST 16).

Closing is never abrupt where an answer could get lost: after an answer that the peer may not have read yet, our side
ends first and incoming bytes are read and dropped for a while (RFC 9112 section 9.6).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final, cast

from proxy import errors
from proxy.answers import decision_field, refusal
from proxy.codec.events import CHUNKED, UNTIL_CLOSE, End, RequestHead, ResponseHead
from proxy.codec.h1.request import PREFACE_HEAD, Http2Preface, RequestReader
from proxy.codec.h1.writer import chunk, head_bytes, last_chunk
from proxy.codec.translate import response_lines, trailer_lines
from proxy.errors import ProtocolError, Reason
from proxy.exchange import Exchange
from proxy.net.connections import Connections
from proxy.net.h2_downstream import H2Downstream
from proxy.routing.decision import decision_text
from proxy.sides import NO_CODE, Port
from proxy.watched import new_exchange

_LINGER_S: Final = 2.0
# Bytes of pipelined requests that may wait in memory while a response is under way.
_MAX_WAITING: Final = 65536
# Below this a head and the first piece of its body go out as one piece; above it the copy costs more than the call.
_MAX_COPY: Final = 16384
_RESET: Final = struct.pack("ii", 1, 0)


class H1Downstream:
    """Implements `exchange.Downstream` for the one exchange that runs."""

    __slots__ = (
        "_connections",
        "_eof",
        "_exchange",
        "_head_sent",
        "_head_since_s",
        "_held",
        "_is_chunked",
        "_is_full",
        "_is_http10",
        "_is_lingering",
        "_is_new",
        "_is_pulling",
        "_is_tunnel",
        "_is_waiting_line",
        "_keep_alive",
        "_pauses",
        "_peer",
        "_port",
        "_reader",
        "_transport",
        "_tunnel_ends_s",
        "active_at_s",
        "is_looped",
    )

    _transport: asyncio.Transport

    def __init__(self, port: Port, connections: Connections) -> None:
        self._port = port
        self._connections = connections
        self._reader = RequestReader(connections.request_kinds, connections.limits)
        self._exchange: Exchange | None = None
        self._held = b""  # a response head that waits for its first piece of body
        self._head_sent = False
        self._pauses = 0  # how many parties want no request bytes now
        self._peer = b""  # not asked for yet
        self._is_waiting_line = False  # reading stopped because enough pipelined bytes wait
        self._is_full = False  # the peer does not read what we write
        self._is_pulling = False
        self._is_chunked = False
        self._is_http10 = False
        self._is_lingering = False
        self._is_tunnel = False
        self._tunnel_ends_s = 0.0  # when a tunnel whose route is gone must have ended; 0: it stands
        self._keep_alive = True
        self._eof = False
        self._is_new = True
        self._head_since_s = 0.0  # when the first byte of an unfinished head came; 0: none
        self.active_at_s = connections.now_s
        self.is_looped = False

    # --- from the peer ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has its own base class
        if not self._connections.add(self):
            self._refuse(ProtocolError(errors.CONNECTION_LIMIT, "too many connections"))

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """A connection that is known already, with what has come of it."""
        self._transport = transport
        if data:
            self.data_received(data)

    @property
    def port(self) -> Port:
        return self._port

    def data_received(self, data: bytes) -> None:
        if self._is_lingering:
            return
        self.active_at_s = self._connections.now_s
        self._reader.receive(data)
        if not self._pauses:
            self._pull()

    def _pull(self) -> None:
        """Takes events out of the reader while somebody wants them."""
        if self._is_pulling:
            return  # an answer that was given at once: the loop below goes on with the next request
        self._is_pulling = True
        reader = self._reader
        try:
            while True:
                exchange = self._exchange
                if exchange is None:
                    if self._is_lingering or self._is_full:
                        break
                elif self._pauses or exchange.request_ended:
                    break
                event = reader.next_event()
                if event is None:
                    break
                if exchange is None:
                    if type(event) is RequestHead:
                        self._begin(event)
                elif type(event) is bytes:
                    exchange.request_body(event)
                elif type(event) is End:
                    exchange.request_end(event)
        except ProtocolError as fault:
            if self._is_new and type(fault) is Http2Preface:
                self._turn_to_http2()
                return
            self._refuse(fault)
        finally:
            self._is_pulling = False
        if reader.buf or self._eof:
            self._after_pull()

    def _turn_to_http2(self) -> None:
        """The first bytes say so. Another protocol takes the transport over."""
        data = PREFACE_HEAD + self._reader.take_rest()
        successor = H2Downstream(self._port, self._connections, self._transport)
        self._connections.replace(self, successor)
        self._transport.set_protocol(cast(asyncio.BaseProtocol, successor))
        successor.data_received(data)

    def _begin(self, head: RequestHead) -> None:
        self._head_since_s = 0.0
        self._keep_alive = head.keep_alive
        self._is_http10 = head.http10
        self._head_sent = False
        if self._is_new:
            # Only now is it certain that the other end, if it is ours, is known as ours.
            self._is_new = False
            self.is_looped = self._connections.is_own(self._transport)
        self._exchange = exchange = new_exchange(self._port, self, head)
        exchange.start()

    def _after_pull(self) -> None:
        """What the bytes that are left mean."""
        if self._is_lingering:
            return
        if self._exchange is None and not self._is_full:
            if self._eof:
                self._transport.close()
            elif self._reader.buf and not self._head_since_s:
                self._head_since_s = self._connections.now_s
        elif self._reader.buffered > _MAX_WAITING and not self._is_waiting_line and not self._pauses:
            self._is_waiting_line = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The peer ended its side. A request that was complete is still answered (half-close)."""
        self._eof = True
        self._reader.eof = True
        if self._is_lingering or (self._exchange is None and not self._reader.buf):
            return False
        if not self._pauses:
            self._pull()
        return not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        if self._is_tunnel:
            self._connections.remove_tunnel(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.downstream_failed()

    def pause_writing(self) -> None:
        self._is_full = True
        if self._exchange is not None:
            self._exchange.downstream_is_full()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._exchange is not None:
            self._exchange.downstream_is_free()
        elif not self._is_lingering:
            if self._is_waiting_line:
                self._is_waiting_line = False
                self._transport.resume_reading()
            self._pull()

    # --- from the exchange ---

    @property
    def peer(self) -> bytes:
        """The caller's address, without its port."""
        if not self._peer:
            name = self._transport.get_extra_info("peername")
            self._peer = str(name[0]).encode() if name else b"unknown"
        return self._peer

    def send_interim(self, head: ResponseHead) -> None:
        if not self._is_http10 and not self._is_full:  # an upstream may send any number, and HTTP/2 holds no heads back
            self._transport.write(head_bytes(self._lines(head)))

    def _lines(self, head: ResponseHead) -> list[bytes]:
        return response_lines(head, self._exchange.head) if self._exchange is not None else head.lines

    def send_head(self, head: ResponseHead, *, is_last: bool = False) -> None:
        lines = self._lines(head) if head.is_http2 else head.lines
        self._is_chunked = False
        if head.status == 101:
            self._open_tunnel(lines)
            return
        if head.body == CHUNKED:
            if self._is_http10:
                lines[1:] = [line for line in lines[1:] if not line.lower().startswith(b"transfer-encoding:")]
                self._keep_alive = False
            else:
                self._is_chunked = True
        elif head.body == UNTIL_CLOSE:
            if self._is_http10:
                self._keep_alive = False
            else:
                lines.append(b"Transfer-Encoding: chunked")
                self._is_chunked = True
        if is_last or self._connections.is_draining:
            self._keep_alive = False
        if not self._keep_alive:
            lines.append(b"Connection: close")
        elif self._is_http10:
            lines.append(b"Connection: keep-alive")
        self._head_sent = True
        self._held = head_bytes(lines)

    def send_body(self, data: bytes) -> None:
        if self._is_chunked:
            data = chunk(data)
        if self._held:
            if len(data) <= _MAX_COPY:
                data = self._held + data
            else:
                self._transport.write(self._held)
            self._held = b""
        self._transport.write(data)

    def _open_tunnel(self, lines: list[bytes]) -> None:
        """From here on bytes pass as they are, what the peer sent early included."""
        self._is_tunnel = self._head_sent = True
        self._connections.add_tunnel(self)
        self._transport.write(head_bytes(lines))
        self._reader.start_tunnel()
        if self._is_waiting_line:
            self._is_waiting_line = False
            if not self._pauses:
                self._transport.resume_reading()
        if not self._pauses:
            self._pull()

    def send_end(self, end: End) -> None:
        if self._is_tunnel:
            self._end_tunnel_side()
            return
        if self._is_chunked:
            self._transport.write(self._held + last_chunk(trailer_lines(end)))
            self._held = b""
        elif self._held:
            self._transport.write(self._held)
            self._held = b""
        self._exchange = None
        reader = self._reader
        if not reader.is_done:
            self._linger()  # the upstream answered early and did not want the rest (CHECKLIST 25)
            return
        if not self._keep_alive:
            if reader.buf:
                self._linger()
            else:
                self._transport.close()
            return
        self.active_at_s = self._connections.now_s
        reader.start_next()
        if self._pauses or self._is_waiting_line:
            self._pauses = 0
            self._is_waiting_line = False
            self._transport.resume_reading()
        if reader.buf:
            self._pull()
        elif self._eof:
            self._transport.close()

    def _end_tunnel_side(self) -> None:
        exchange = self._exchange
        if exchange is not None and not exchange.is_over:
            self._transport.write_eof()
            return
        self._exchange = None
        if self._reader.is_done:
            self._transport.close()
        else:
            self._linger()

    def flush(self) -> None:
        if self._held:
            self._transport.write(self._held)
            self._held = b""

    def abort(self, code: int = NO_CODE) -> None:
        """Ends the response so that it is not taken for complete.

        A chunked body or one with a length shows by itself that it was cut; one that only the end of the connection
        ends must be reset (RFC 9112 section 8), and so must a tunnel. A head that came with the fault in one piece is
        sent all the same: a connection that closes without a word looks stale, and some then ask again by themselves.
        """
        self._exchange = None
        held, self._held = self._held, b""
        if self._is_tunnel or (self._is_http10 and not self._keep_alive):
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        else:
            if held:
                self._transport.write(held)
            self._transport.close()

    def pause_reading(self) -> None:
        self._pauses += 1
        if self._pauses == 1 and not self._is_waiting_line:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._pauses:
            return  # the exchange that paused is over
        self._pauses -= 1
        if not self._pauses and not self._transport.is_closing():
            if not self._is_waiting_line:
                self._transport.resume_reading()
            self._pull()

    # --- refusing and closing ---

    def _refuse(self, fault: ProtocolError) -> None:
        """Not a valid request, or not a valid body: one answer where none was begun, then the end of both sides."""
        reason = fault.reason
        exchange = self._exchange
        if exchange is None:
            self._port.refuse(reason, self.peer)
        else:
            self._port.metrics.refuse(reason)
            exchange.downstream_failed(reason)
            self._exchange = None
            if self._head_sent:
                self.abort()
                return
        self._is_chunked = False
        self._answer_and_end(reason, fault.text)

    def _answer_and_end(self, reason: Reason, text: str) -> None:
        head, body = refusal(reason, text)
        head.lines.append(b"Connection: close")
        if self._port.decision_field:
            head.append(decision_field(decision_text("none", None, reason)))
        self._transport.write(head_bytes(head.lines) + body)
        self._linger()

    def _linger(self) -> None:
        """Our side ends; what still comes is dropped, so that no reset overtakes the answer."""
        self._is_lingering = True
        self._reader.take_rest()
        self.active_at_s = self._connections.now_s
        if self._transport.is_closing():
            return
        if self._eof:
            self._transport.close()
            return
        if self._pauses or self._is_waiting_line:
            self._pauses = 0
            self._transport.resume_reading()
        self._transport.write_eof()

    def check_time(self, now_s: float) -> None:
        """Called about once a second: closes what took too long."""
        timeouts = self._connections.timeouts
        idle_s = now_s - self.active_at_s
        if self._is_lingering:
            if idle_s > _LINGER_S:
                self._transport.abort()
        elif self._exchange is not None:
            limit_s = timeouts.tunnel_idle_timeout_s if self._is_tunnel else timeouts.stream_idle_timeout_s
            if self._tunnel_ends_s and now_s > self._tunnel_ends_s:
                self._exchange.route_ended()
            elif limit_s and idle_s > limit_s and now_s - self._exchange.upstream_active_at_s > limit_s:
                self._exchange.stream_timed_out()
        elif self._is_full or self._transport.is_closing():
            if timeouts.stream_idle_timeout_s and idle_s > timeouts.stream_idle_timeout_s:
                self._transport.abort()  # the peer does not read what was written last
        elif self._head_since_s and self._reader.is_between_messages:
            self._head_since_s = 0.0  # it was an empty line
        elif self._head_since_s:
            if now_s - self._head_since_s > timeouts.head_timeout_s:
                self._port.refuse(errors.REQUEST_TIMEOUT, self.peer)
                self._answer_and_end(errors.REQUEST_TIMEOUT, "the head took too long")
        elif timeouts.idle_timeout_s and idle_s > timeouts.idle_timeout_s:
            self._transport.close()

    def end_unrouted_tunnel(self, within_s: float) -> None:
        """The table changed: a tunnel that it no longer leads where it goes ends within so many seconds."""
        if self._exchange is None or self._exchange.is_routed:
            self._tunnel_ends_s = 0.0
        elif not self._tunnel_ends_s:
            self._tunnel_ends_s = self._connections.now_s + within_s

    def drain(self, idle_since_s: float) -> None:
        """Ends if idle since before then. A busy connection ends after its response, which says `Connection: close`."""
        is_idle = self._exchange is None and not self._is_lingering and self._reader.is_between_messages
        if is_idle and self.active_at_s < idle_since_s:
            self._transport.close()

    def cut(self) -> None:
        """The drain's time is over."""
        if self._exchange is not None:
            self._exchange.downstream_failed(errors.DRAINED)
            self._exchange = None
        self._transport.abort()
