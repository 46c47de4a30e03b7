"""WebSocket ends by the `websockets` library, frame by frame: what one end sends and what it gets is comparable."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from tests.support.origin import Server

# (opcode, is final, payload)
Said = tuple[str, bool, bytes]


def said(frame: Frame) -> Said:
    return frame.opcode.name, frame.fin, bytes(frame.data)


def flush(connection: socket.socket, protocol: Protocol) -> None:
    for data in protocol.data_to_send():
        if data:
            connection.sendall(data)
        else:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)


class EchoOrigin(Server):
    """Accepts every upgrade and sends every data frame back as it came; records frames and requests."""

    def __init__(self, name: str = "baseline") -> None:
        self.name = name
        self.heard: list[Said] = []
        self.requests: list[Request] = []
        super().__init__(self._converse)

    def _converse(self, connection: socket.socket) -> None:
        protocol = ServerProtocol(max_size=None)
        while data := connection.recv(262144):
            protocol.receive_data(data)
            for event in protocol.events_received():
                if isinstance(event, Request):
                    self.requests.append(event)
                    response = protocol.accept(event)
                    response.headers["x-origin"] = self.name
                    protocol.send_response(response)
                elif isinstance(event, Frame):
                    self.heard.append(said(event))
                    if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                        protocol.send_frame(event)
            flush(connection, protocol)
        protocol.receive_eof()
        flush(connection, protocol)


@dataclass
class WebSocket:
    """A client's end."""

    socket: socket.socket
    protocol: ClientProtocol
    response: Response
    heard: list[Said] = field(default_factory=list)
    is_ended: bool = False

    def send(self, *frames: Frame) -> None:
        for frame in frames:
            self.protocol.send_frame(frame)
        flush(self.socket, self.protocol)

    def close(self, code: int, reason: str = "") -> None:
        self.protocol.send_close(code, reason)
        flush(self.socket, self.protocol)

    def hear(self, count: int) -> list[Said]:
        """Reads until so many frames came in all, or the end."""
        while len(self.heard) < count and not self.is_ended:
            data = self.socket.recv(262144)
            if data:
                self.protocol.receive_data(data)
            else:
                self.is_ended = True
                self.protocol.receive_eof()
            self.heard += [said(event) for event in self.protocol.events_received() if isinstance(event, Frame)]
            flush(self.socket, self.protocol)
        return self.heard


def connect(port: int, *fields: tuple[str, str], timeout_s: float = 10.0) -> WebSocket:
    """Opens a WebSocket. Raises: ConnectionError if it is refused."""
    connection = socket.create_connection(("127.0.0.1", port), timeout_s)
    try:
        return _opened(connection, fields)
    except BaseException:
        connection.close()
        raise


def _opened(connection: socket.socket, fields: tuple[tuple[str, str], ...]) -> WebSocket:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    protocol = ClientProtocol(parse_uri("ws://location/socket"), max_size=None)
    request = protocol.connect()
    for name, value in fields:
        request.headers[name] = value
    protocol.send_request(request)
    flush(connection, protocol)
    while True:
        data = connection.recv(65536)
        protocol.receive_data(data) if data else protocol.receive_eof()
        for event in protocol.events_received():
            assert isinstance(event, Response)
            if event.status_code != 101:
                raise ConnectionError(f"refused with {event.status_code}")
            return WebSocket(connection, protocol, event)
        if protocol.handshake_exc is not None:
            raise ConnectionError(str(protocol.handshake_exc))
