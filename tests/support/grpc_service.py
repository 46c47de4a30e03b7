"""A gRPC service for tests, by grpcio: messages are bytes, methods are Python functions, so nothing is generated.

On the wire every kind of call is a stream of messages each way, so the server offers all methods as bidirectional, and
a client calls them by the kind that it wants. A method is `(requests, context) -> messages`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc

Metadata = tuple[tuple[str, str | bytes], ...]
Method = Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]
Options = tuple[tuple[str, int | str], ...]

SERVICE = "hotrod.Location"
COMMON: Options = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


@dataclass
class Call:
    """One call as the server saw it. `has_ended` is set when it is over, however it ended."""

    method: str
    metadata: Metadata
    time_remaining_s: float | None
    has_ended: threading.Event = field(default_factory=threading.Event)
    is_whole: bool = False  # the method came to its end before the call did

    def values(self, name: str) -> list[str | bytes]:
        return [value for key, value in self.metadata if key == name]


def echo(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Each message, before the next is read."""
    yield from requests


def count(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """As many messages as the request says, of the size behind the comma."""
    number, _, size = next(requests).partition(b",")
    for index in range(int(number)):
        yield b"%d" % index + bytes(int(size or 0))


def join(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """All messages as one."""
    yield b"".join(requests)


def wait(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """One message, and then nothing until the call ends."""
    ended = threading.Event()
    if context.add_callback(ended.set):
        yield b"waiting"
        ended.wait(30)


METHODS: Mapping[str, Method] = {"Echo": echo, "Count": count, "Join": join, "Wait": wait}


class GrpcServer(grpc.GenericRpcHandler):
    """Listens (on loopback) until it is stopped. The methods above begin with `x-origin`, own ones of a test do not."""

    def __init__(
        self,
        name: str = "baseline",
        methods: Mapping[str, Method] | None = None,
        *,
        options: Options = (),
        port: int = 0,
        threads: int = 64,
        handlers: Mapping[str, grpc.RpcMethodHandler] | None = None,
        compression: grpc.Compression | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.name = name
        self.calls: list[Call] = []
        self._methods = methods or {}
        self._server = grpc.server(
            ThreadPoolExecutor(threads),
            handlers=[self],
            options=(("grpc.so_reuseport", 0), *COMMON, *options),
            compression=compression,
        )
        self.port = self._server.add_insecure_port(f"{host}:{port}")
        self._server.start()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        service, _, name = details.method.removeprefix("/").partition("/")
        own = self._methods.get(name)
        method = own or METHODS.get(name)
        if service != SERVICE or method is None:
            return None
        metadata = tuple((key, value) for key, value in details.invocation_metadata)

        def run(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            call = Call(name, metadata, _deadline(context))
            self.calls.append(call)
            if not context.add_callback(call.has_ended.set):
                call.has_ended.set()
            if own is None:
                context.send_initial_metadata((("x-origin", self.name),))
            yield from method(requests, context)
            call.is_whole = bool(context.is_active())

        return grpc.stream_stream_rpc_method_handler(run)

    def add(self, register: Callable[[grpc.Server], None]) -> None:
        """A generated service beside ours."""
        register(self._server)

    def stop(self, grace_s: float | None = None) -> None:
        """With a grace it says GOAWAY and finishes what runs."""
        self._server.stop(grace_s).wait(10)


@contextlib.contextmanager
def serving(*servers: GrpcServer) -> Iterator[None]:
    """Stops the servers at the end."""
    try:
        yield
    finally:
        for server in servers:
            server.stop()


@contextlib.contextmanager
def connected_to(target: str, *options: tuple[str, int | str], **more: grpc.Compression) -> Iterator[grpc.Channel]:
    """A channel with connections of its own."""
    own: Options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    with grpc.insecure_channel(target, options=(*own, *COMMON, *options), **more) as channel:
        yield channel


def connected(
    port: int, *options: tuple[str, int | str], **more: grpc.Compression
) -> contextlib.AbstractContextManager[grpc.Channel]:
    return connected_to(f"127.0.0.1:{port}", *options, **more)


@dataclass
class Answer:
    """What a unary call came to."""

    code: grpc.StatusCode
    details: str
    message: bytes | None
    initial: Metadata
    trailing: Metadata

    @property
    def origin(self) -> str:
        return self.value("x-origin")

    @property
    def decision(self) -> str:
        return self.value("pointsman-decision")

    def value(self, name: str) -> str:
        """The values of a name in either metadata, joined; empty where it is absent."""
        return ", ".join(str(value) for key, value in (*self.initial, *self.trailing) if key == name)


def path(method: str) -> str:
    return f"/{SERVICE}/{method}"


def answer_of(call: grpc.Call | grpc.Future) -> Answer:
    """Waits for the end."""
    message = None if (error := call.exception()) else call.result()
    assert error is None or isinstance(error, grpc.RpcError), error
    return Answer(call.code(), call.details(), message, pairs(call.initial_metadata()), pairs(call.trailing_metadata()))


def pairs(metadata: Metadata | None) -> Metadata:
    return tuple((key, value) for key, value in metadata or ())


def start(
    channel: grpc.Channel,
    message: bytes = b"",
    metadata: Metadata = (),
    *,
    method: str = "Echo",
    timeout_s: float | None = 20.0,
    **more: bool | grpc.Compression,
) -> grpc.Future:
    """A unary call under way."""
    return channel.unary_unary(path(method)).future(message, timeout=timeout_s, metadata=metadata, **more)


def ask(
    channel: grpc.Channel, message: bytes = b"", metadata: Metadata = (), **more: str | float | bool | None
) -> Answer:
    """A unary call; it never raises."""
    return answer_of(start(channel, message, metadata, **more))


def _deadline(context: grpc.ServicerContext) -> float | None:
    """Seconds; grpcio says 290 billion years where there is none."""
    remaining_s = context.time_remaining()
    return remaining_s if remaining_s is not None and remaining_s < 1e9 else None


def tagged(key: str, *, strict: bool = False) -> Metadata:
    """Metadata that names a routing key."""
    return (("baggage", f"sd-routing-key={key}" + (",sd-strict=1" if strict else "")),)
