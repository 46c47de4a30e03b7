"""HTTP/2 by the h2 library, blocking: a client, and an origin that a script plays, for what no gRPC library shows.

What h2 validates of its peer's frames and fields stays on, so whatever is read here was also checked.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from tests.support.origin import Server

Field = tuple[bytes, bytes]
GOAWAY = 7
NO_WINDOW_LIMIT = (1 << 31) - 1


@dataclass
class Message:
    """One stream's incoming half. `reset`: the code of its RST_STREAM."""

    stream: int
    fields: list[Field] = field(default_factory=list)
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    is_complete: bool = False
    reset: int | None = None

    def values(self, name: str) -> list[str]:
        """Of the head, then of the trailers."""
        return [value.decode("latin-1") for key, value in (*self.fields, *self.trailers) if key == name.encode()]

    def value(self, name: str) -> str:
        return ", ".join(self.values(name))

    @property
    def status(self) -> int:
        return int(self.value(":status") or 0)

    @property
    def is_over(self) -> bool:
        return self.is_complete or self.reset is not None


class Connection:
    """One side of a connection. Whoever waits for something reads all that arrives meanwhile."""

    def __init__(
        self, connected: socket.socket, *, is_client: bool, window: int = 1 << 20, streams: int = 1000
    ) -> None:
        self.socket = connected
        self.messages: dict[int, Message] = {}
        self.arrived: list[Message] = []  # heads of requests that nobody took yet
        self.goaways: list[tuple[int, int]] = []  # last stream and code
        self.has_settings = False
        self.is_closed = False
        self.unread: set[int] = set()  # streams whose windows are not given back
        self._rest = b""
        config = h2.config.H2Configuration(client_side=is_client, header_encoding=None)
        config.normalize_inbound_headers = False  # h2 would join cookies and put them last
        self.http = h2.connection.H2Connection(config)
        codes = h2.settings.SettingCodes
        settings = {codes.INITIAL_WINDOW_SIZE: window, codes.MAX_CONCURRENT_STREAMS: streams}
        if is_client:
            settings[codes.ENABLE_PUSH] = 0
        self.http.local_settings = h2.settings.Settings(is_client, settings)
        self.http.initiate_connection()
        self.http.increment_flow_control_window(NO_WINDOW_LIMIT - 65535)
        self.flush()

    # --- sending ---

    def flush(self) -> None:
        if data := self.http.data_to_send():
            self.socket.sendall(data)

    def head(self, stream: int, *fields: Field, end: bool = False) -> None:
        self.http.send_headers(stream, fields, end_stream=end)
        self.flush()

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """All of it, waiting for the window where it must."""
        view = memoryview(data)
        while len(view) > (room := min(self.http.local_flow_control_window(stream), self.http.max_outbound_frame_size)):
            if room:
                self.http.send_data(stream, bytes(view[:room]))
                view = view[room:]
                self.flush()
            elif not self.read_more():
                return
        self.http.send_data(stream, bytes(view), end_stream=end)
        self.flush()

    def reset(self, stream: int, code: int = h2.errors.ErrorCodes.CANCEL) -> None:
        self.http.reset_stream(stream, code)
        self.flush()

    def goaway(self, last: int, code: int = 0) -> None:
        """The frame alone: h2 would take the connection for closed."""
        self.flush()
        self.socket.sendall(GoAwayFrame(0, last_stream_id=last, error_code=code).serialize())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def abort(self) -> None:
        """RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # --- receiving ---

    def read_more(self) -> bool:
        """Waits for bytes and takes them; False at the end."""
        try:
            data = self.socket.recv(262144)
        except ConnectionResetError:
            data = b""
        if not data:
            self.is_closed = True
            return False
        for frame in self._frames(data):
            for event in self.http.receive_data(frame):
                self._take(event)
        self.flush()
        return True

    def _frames(self, data: bytes) -> Iterator[bytes]:
        """What arrived, without GOAWAY, after which h2 would read nothing more."""
        if self.http.config.client_side is False and not self.messages and not self._rest and data[:3] == b"PRI":
            yield data[:24]
            data = data[24:]
        self._rest += data
        while len(self._rest) >= 9 and len(self._rest) >= (end := 9 + int.from_bytes(self._rest[:3])):
            frame, self._rest = self._rest[:end], self._rest[end:]
            if frame[3] == GOAWAY:
                self.goaways.append((int.from_bytes(frame[9:13]), int.from_bytes(frame[13:17])))
            else:
                yield frame

    def _take(self, event: h2.events.Event) -> None:
        stream = getattr(event, "stream_id", None) or 0
        message = self.messages.setdefault(stream, Message(stream)) if stream else Message(0)
        if isinstance(event, h2.events.RequestReceived):
            message.fields = list(event.headers)
            self.arrived.append(message)
        elif isinstance(event, h2.events.ResponseReceived):
            message.fields = list(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            message.interim.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, h2.events.TrailersReceived):
            message.trailers = list(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            message.body += event.data
            if stream not in self.unread and event.flow_controlled_length:
                with contextlib.suppress(h2.exceptions.StreamClosedError):
                    self.http.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.StreamEnded):
            message.is_complete = True
        elif isinstance(event, h2.events.StreamReset):
            message.reset = int(event.error_code)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.has_settings = True

    def until(self, condition: Callable[[], object]) -> bool:
        """Reads until it holds; False if the connection ends before."""
        while not condition():
            if not self.read_more():
                return bool(condition())
        return True


class H2Client(Connection):
    """A client's connection. Every wait ends after `timeout_s`. `bytewise`: each byte is sent alone."""

    def __init__(self, port: int, *, timeout_s: float = 10.0, window: int = 1 << 20, bytewise: bool = False) -> None:
        connected = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._bytewise = bytewise
        super().__init__(connected, is_client=True, window=window)
        self.until(lambda: self.has_settings)

    def flush(self) -> None:
        if self._bytewise:
            for byte in self.http.data_to_send():
                self.socket.sendall(bytes([byte]))
        super().flush()

    def start(
        self, path: str = "/", *fields: tuple[str, str], method: str = "GET", host: str = "location", end: bool = True
    ) -> int:
        """A request's stream; its head goes out, and its end unless told otherwise."""
        stream = self.http.get_next_available_stream_id()
        self.messages[stream] = Message(stream)
        pseudo = [(":method", method), (":scheme", "http"), (":authority", host), (":path", path)]
        self.head(stream, *((name.encode(), value.encode("latin-1")) for name, value in (*pseudo, *fields)), end=end)
        return stream

    def call(self, path: str, *fields: tuple[str, str], message: bytes | None = b"") -> int:
        """A gRPC call; with `None` nothing follows its head."""
        grpc = (("content-type", "application/grpc"), ("te", "trailers"))
        stream = self.start(path, *grpc, *fields, method="POST", end=False)
        if message is not None:
            self.data(stream, framed(message), end=True)
        return stream

    def read(self, stream: int) -> Message:
        """The response, as soon as it is over; or what there is of it when the connection ends."""
        message = self.messages[stream]
        self.until(lambda: message.is_over)
        return message

    def ask(self, path: str = "/", *fields: tuple[str, str], method: str = "GET", body: bytes = b"") -> Message:
        stream = self.start(path, *fields, method=method, end=not body)
        if body:
            self.data(stream, body, end=True)
        return self.read(stream)


def framed(message: bytes, flag: int = 0) -> bytes:
    """A gRPC message as it is sent."""
    return bytes([flag]) + len(message).to_bytes(4) + message


@contextlib.contextmanager
def connected(port: int, **options: float) -> Iterator[H2Client]:
    client = H2Client(port, **options)
    try:
        yield client
    finally:
        client.close()


Script = Callable[[Connection, Message], None]


class H2Origin(Server):
    """Runs `script(connection, request)` for each request: at its end, or with `at_head` as soon as its head is there.

    A connection's scripts run one after the other, in its thread.
    """

    def __init__(self, script: Script, *, at_head: bool = False, streams: int = 1000) -> None:
        self._script = script
        self._at_head = at_head
        self._streams = streams
        self.requests: list[Message] = []
        super().__init__(self._play)

    def _play(self, connected: socket.socket) -> None:
        connection = Connection(connected, is_client=False, streams=self._streams)
        waiting: list[Message] = []
        while True:
            self.requests += connection.arrived
            waiting += connection.arrived
            connection.arrived.clear()
            ready = next((each for each in waiting if self._at_head or each.is_complete), None)
            if ready is not None:
                waiting.remove(ready)
                self._script(connection, ready)
            elif not connection.read_more():
                return


OK_HEAD: tuple[Field, ...] = ((b":status", b"200"), (b"content-type", b"application/grpc"))


def answers(message: bytes = b"", *fields: Field, status: bytes = b"0") -> Script:
    """A script: a whole gRPC response; `fields` stand in its head."""

    def script(connection: Connection, request: Message) -> None:
        connection.head(request.stream, *OK_HEAD, *fields)
        connection.data(request.stream, framed(message))
        connection.head(request.stream, (b"grpc-status", status), end=True)

    return script
