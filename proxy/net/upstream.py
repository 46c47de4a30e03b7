"""One upstream connection that speaks HTTP/1.1: an exchange's request out, its response in, then back to the pool."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, cast

from proxy import errors
from proxy.codec.events import CHUNKED, END, NO_BODY, End, RequestHead, ResponseHead
from proxy.codec.h1.response import ResponseReader
from proxy.codec.h1.writer import chunk, head_bytes, last_chunk
from proxy.codec.translate import request_lines, trailer_lines, websocket_accept
from proxy.errors import ProtocolError, Reason
from proxy.exchange import Exchange
from proxy.net.targets import Address

if TYPE_CHECKING:
    from proxy.net.pool import Pool


class H1Upstream:
    """Implements `exchange.Upstream` for the one exchange that it serves at a time."""

    __slots__ = (
        "_exchange",
        "_is_chunked",
        "_is_tunnel",
        "_keep_alive",
        "_pauses",
        "_pool",
        "_reader",
        "_request_ended",
        "_response_begun",
        "_transport",
        "active_at_s",
        "address",
        "endpoint",
        "ends",
        "is_reused",
    )

    _transport: asyncio.Transport

    def __init__(self, pool: Pool, address: Address) -> None:
        self._pool = pool
        self.address = address
        self.endpoint = address.endpoint
        self._reader = ResponseReader(pool.response_kinds, pool.limits)
        self._exchange: Exchange | None = None
        self._is_chunked = False
        self._is_tunnel = False
        self._keep_alive = True
        self._pauses = 0
        self._request_ended = True
        self._response_begun = False
        self.is_reused = False
        self.active_at_s = pool.now_s
        self.ends: tuple[object, object] = (None, None)  # local, remote

    # --- from the exchange ---

    def send_head(self, head: RequestHead, exchange: Exchange) -> None:
        self._exchange = exchange
        self._reader.expect(head.method, head.upgrade)
        body = head.body
        self._is_chunked = body == CHUNKED
        self._request_ended = body == NO_BODY
        self._response_begun = False
        self.active_at_s = self._pool.now_s
        self._transport.write(head_bytes(request_lines(head)))

    def send_body(self, data: bytes) -> None:
        self.active_at_s = self._pool.now_s
        self._transport.write(chunk(data) if self._is_chunked else data)

    def send_end(self, end: End) -> None:
        self._request_ended = True
        self.active_at_s = self._pool.now_s
        if self._is_chunked:
            self._transport.write(last_chunk(trailer_lines(end)))
        elif self._is_tunnel:
            self._end_tunnel_side()

    def _end_tunnel_side(self) -> None:
        """One direction of a tunnel is at its end: half of the connection, or the rest of it."""
        if not self._request_ended:
            return
        if self._reader.is_done:
            self._exchange = None
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()

    def cancel(self) -> None:
        self._exchange = None
        self._transport.abort()

    def pause_reading(self) -> None:
        self._pauses += 1
        if self._pauses == 1 and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._pauses:
            return
        self._pauses -= 1
        if not self._pauses:
            if not self._transport.is_closing():
                self._transport.resume_reading()
            if self._exchange is not None:
                self._pull(self._exchange)

    # --- from the peer ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has its own base class
        self._pool.opened(self, self._transport)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self._pool.forget(self)
            self._transport.abort()  # nobody asked: a second response must never reach the next request (CHECKLIST 22)
            return
        self.active_at_s = self._pool.now_s
        self._reader.receive(data)
        if not self._pauses:
            self._pull(exchange)

    def _pull(self, exchange: Exchange) -> None:
        """Hands on what has arrived; at the end of the response the connection is free first."""
        reader = self._reader
        try:
            while not self._pauses:
                event = reader.next_event()
                if event is None:
                    if reader.is_cut_before_head:
                        self._fail(exchange, self._closed_reason())
                        return
                    break
                if type(event) is bytes:
                    exchange.response_body(event)
                    if reader.take_end():
                        self._end(exchange, END)
                        return
                elif type(event) is ResponseHead:
                    if event.status == 101:
                        self._open_tunnel(exchange, event)
                        continue
                    exchange.response_head(event)
                    if self._exchange is None:
                        return  # it was no answer that could be passed on
                    if event.status < 200:
                        self.is_reused = False  # it was not stale: the request has arrived, a retry would be the second
                    else:
                        self._response_begun = True
                        if self.address.is_failing:
                            self.address.succeeded()
                        self._keep_alive = event.keep_alive
                        if event.body == NO_BODY:
                            self._end(exchange, END)
                            return
                elif type(event) is End:
                    self._end(exchange, event)
                    return
        except ProtocolError as fault:
            self._fail(exchange, fault.reason)
            return
        exchange.flush()

    def _open_tunnel(self, exchange: Exchange, head: ResponseHead) -> None:
        if not self._request_ended:
            raise ProtocolError(errors.UPSTREAM_INVALID, "101 before the request's end")
        key = exchange.head.websocket_key
        if key and b"sec-websocket-accept: " + websocket_accept(key).lower() not in map(bytes.lower, head.lines):
            raise ProtocolError(errors.UPSTREAM_INVALID, "101 without an answer to the key")
        self._is_tunnel = self._response_begun = True
        self._is_chunked = False  # as the request may have been
        self._request_ended = False  # the other direction of the tunnel
        exchange.response_head(head)

    def _end(self, exchange: Exchange, end: End) -> None:
        if self._is_tunnel:
            self._end_tunnel_side()
            exchange.response_end(end)
            return
        self._exchange = None
        reader = self._reader
        is_reusable = self._keep_alive and self._request_ended and not reader.buf and not reader.eof
        if is_reusable and not self._transport.is_closing():
            reader.start_next()
            if self._pauses:  # the last piece filled the downstream, which waits no more
                self._pauses = 0
                self._transport.resume_reading()
            self._pool.put(self)
        else:
            self._transport.close()
        exchange.response_end(end)

    def _fail(self, exchange: Exchange, reason: Reason) -> None:
        if not self._response_begun and not self.is_reused:  # a reused one may just have been stale
            self.address.failed(self._pool.now_s, reason.text)
        self._exchange = None
        self._transport.abort()
        exchange.upstream_failed(reason)

    def eof_received(self) -> bool:
        """The peer's last byte was read. What is buffered is still handed on; the transport closes, save a tunnel's."""
        self._reader.eof = True
        if self._exchange is None:
            self._pool.forget(self)
        elif not self._pauses:
            self._pull(self._exchange)
        return self._is_tunnel and not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)
        exchange = self._exchange
        if exchange is None or (self._pauses and self._reader.eof):
            return  # what was read whole before is handed on when the downstream reads again
        if exc is not None and not self._pauses:
            self._read_last_words(exchange)
            if self._exchange is None:
                return
        self._fail(exchange, self._closed_reason())

    def _read_last_words(self, exchange: Exchange) -> None:
        """A peer that did not want the rest of a request says so and goes. Where our next write meets the reset, what
        it said is still in the kernel, unread (CHECKLIST 25)."""
        words = b""
        try:
            fd = self._transport.get_extra_info("socket").fileno()
            while data := os.read(fd, 65536):
                words += data
        except OSError:
            pass  # the reset itself, or nothing there
        if words:
            self._reader.receive(words)
            self._pull(exchange)

    def _closed_reason(self) -> Reason:
        """Half a head makes a retry unsafe: the request was executed."""
        return errors.UPSTREAM_CLOSED if self._reader.is_between_messages else errors.UPSTREAM_INVALID

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.upstream_is_full()

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.upstream_is_free()

    # --- time ---

    def check_time(self, now_s: float, idle_timeout_s: float, response_timeout_s: float) -> None:
        """Called about once a second."""
        quiet_s = now_s - self.active_at_s
        exchange = self._exchange
        if exchange is None:
            if quiet_s > idle_timeout_s:
                if self._transport.is_closing():
                    self._transport.abort()  # the peer does not read what was written last
                else:
                    self._pool.forget(self)
                    self._transport.close()
        elif response_timeout_s and self._request_ended and not self._response_begun and quiet_s > response_timeout_s:
            self._fail(exchange, errors.UPSTREAM_TIMEOUT)

    def close(self) -> None:
        """An idle connection that is no longer wanted."""
        self._transport.close()
