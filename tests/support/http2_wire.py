"""A proxy with a client on one side and an upstream on the other, both played by one test, step by step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.http2 import MAX_WINDOW
from tests.support.http2_origin import Listener
from tests.support.http2_peer import WIDE, Peer, Stream, connect
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until


class Wire:
    """What a test opens is closed by `clear`, which waits until the proxy has let go of it as well."""

    def __init__(self, proxy: Proxy, listener: Listener) -> None:
        self.proxy, self.listener = proxy, listener
        self._idle = proxy.open_files()
        self._clients: list[Peer] = []

    def client(self, announced: Mapping[int, int] = WIDE, window: int = MAX_WINDOW) -> Peer:
        """A client; what its first request may owe, a size update, its first block must bring (`SIZE_0`)."""
        peer = connect(self.proxy.port, announced, window, first=False)
        self._clients.append(peer)
        peer.acks_settings = False  # so it owes none
        peer.sync()
        return peer

    def upstream(self, announced: Mapping[int, int] = WIDE, window: int = MAX_WINDOW) -> Peer:
        """The connection that the proxy opens. Raises: TimeoutError if it opens none."""
        return self.listener.accept(announced, window)

    def opened(self, client: Peer, request: bytes, **how: Mapping[int, int] | int) -> tuple[Peer, Stream]:
        """A client's first request as it arrives upstream, at a server with these settings."""
        client.send(request)
        upstream = self.upstream(**how)  # type: ignore[arg-type]
        return upstream, upstream.next_stream()

    def next_request(self, upstream: Peer) -> tuple[Peer, Stream]:
        """The next one, over that connection or another."""
        try:
            return upstream, upstream.next_stream(0.3)
        except (TimeoutError, EOFError):
            upstream = self.upstream()
            return upstream, upstream.next_stream()

    def close(self) -> None:
        for peer in self._clients:
            peer.socket.close()
        self._clients.clear()
        self.listener.drop()

    def clear(self) -> None:
        """Closes, and waits until the proxy has let go as well."""

        def is_idle() -> bool:
            self.close()  # again, as a connection may come late
            return self.proxy.open_files() <= self._idle

        until(is_idle, "the end of the test's connections")


@contextlib.contextmanager
def wired(folder: Path, *flags: str) -> Iterator[Wire]:
    listener = Listener()
    try:
        with run_proxy(folder, listener.port, flags=flags) as proxy:
            proxy.page("/readyz")  # it has opened what it needs
            wire = Wire(proxy, listener)
            try:
                yield wire
            finally:
                wire.close()
    finally:
        listener.close()
