"""One end of an HTTP/2 connection: the h2 library on a transport. It is strict in all that it takes from the proxy.

h2 takes a connection that got GOAWAY for closed, so those frames are kept from it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from tests.soak import HANG_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
_LARGEST_WINDOW = (1 << 31) - 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


class Side(asyncio.Protocol):
    """`may_be_wrong`: h2 lets through what this side says, whatever it is."""

    def __init__(self, settings: Mapping[SettingCodes, int], *, is_client: bool, may_be_wrong: bool = False) -> None:
        config = H2Configuration(client_side=is_client, header_encoding=None)
        config.normalize_inbound_headers = False
        config.validate_outbound_headers = config.normalize_outbound_headers = not may_be_wrong
        self.http = H2Connection(config)
        self.http.local_settings = Settings(is_client, dict(settings))
        self.goaways: list[tuple[int, int]] = []  # last stream, code
        self.is_over = False
        self.is_deaf = False  # to all but GOAWAY
        self.unread: set[int] = set()  # streams whose windows are not given back
        self._was_reset: set[int] = set()  # streams that the proxy ended: h2 does not tell before something is sent
        self._changed = asyncio.Event()  # windows, or what is open
        self._preface_left = b"" if is_client else PREFACE
        self._rest = b""
        self._may_write = True

    def begin(self) -> None:
        """Our preface. The connection's window is never what holds a peer back, only each stream's."""
        self.http.initiate_connection()
        self.http.increment_flow_control_window(_LARGEST_WINDOW - 65535)
        self.flush()

    # --- for others to say ---

    def took(self, event: Event) -> None:
        raise NotImplementedError

    def met(self, error: ProtocolError) -> None:
        """The proxy broke the rules."""
        raise NotImplementedError

    # --- the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self._changed.set()

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._changed.set()

    def data_received(self, data: bytes) -> None:
        try:
            for one in self._frames(data):
                for event in [] if self.is_deaf else self.http.receive_data(one):
                    if isinstance(event, StreamReset):
                        self._was_reset.add(event.stream_id)
                    self.took(event)
        except ProtocolError as error:
            self.met(error)
        self.flush()
        self._changed.set()

    def _frames(self, data: bytes) -> Iterator[bytes]:
        """What arrived, frame by frame."""
        self._rest += data
        if self._preface_left:
            if len(self._rest) < len(PREFACE):
                return
            yield self._rest[: len(PREFACE)]
            self._rest = self._rest[len(PREFACE) :]
            self._preface_left = b""
        while len(self._rest) >= 9 and len(self._rest) >= (end := 9 + int.from_bytes(self._rest[:3])):
            one, self._rest = self._rest[:end], self._rest[end:]
            if one[3] == GOAWAY:
                self.goaways.append((int.from_bytes(one[9:13]), int.from_bytes(one[13:17])))
            else:
                yield one

    # --- sending ---

    def flush(self) -> None:
        data = self.http.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> bool:
        """All of it, as windows and transport allow. False: the stream ended before. Raises TimeoutError."""
        view = memoryview(data)
        while not self.is_over and stream not in self._was_reset:
            try:
                window = self.http.local_flow_control_window(stream)
                room = min(window, self.http.max_outbound_frame_size, len(view))
                if room == len(view):
                    self.http.send_data(stream, bytes(view), end_stream=end)
                    self.flush()
                    return True
                if room > 0 and self._may_write:
                    self.http.send_data(stream, bytes(view[:room]))
                    view = view[room:]
                    self.flush()
                    continue
            except ProtocolError:
                return False
            await self.change()
        return False

    async def change(self) -> None:
        """Waits for news. Raises TimeoutError where none are in sight."""
        self._changed.clear()
        async with asyncio.timeout(HANG_S):
            await self._changed.wait()

    def give_window(self, stream: int, number: int) -> None:
        if number and stream not in self.unread:
            try:
                self.http.acknowledge_received_data(number, stream)
            except ProtocolError:  # the stream is closed
                return

    # --- ends ---

    def reset(self) -> None:
        """Ends the connection as a killed process does."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


WINDOW, STREAMS, PUSH, CONNECT = (
    SettingCodes.INITIAL_WINDOW_SIZE,
    SettingCodes.MAX_CONCURRENT_STREAMS,
    SettingCodes.ENABLE_PUSH,
    SettingCodes.ENABLE_CONNECT_PROTOCOL,
)
