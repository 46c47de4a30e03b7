"""Reads a table file: a small one here and now, a large one in a process of its own, so that no request waits for it.

`json.loads` of 100,000 routes holds the interpreter lock for most of a second, so a thread would not help. A child
process (`python -m proxy.tableload`) reads, parses and validates, and what it found comes back in frames of a few
hundred routes. The proxy turns them into routes one frame at a time, serving requests in between. The memory that
parsing takes goes back to the system with the child.

A frame is its length (4 bytes) and a tuple in `marshal` form, which is read much faster than JSON. It is safe here:
only our own child writes to that pipe, and it is the same interpreter. In this order:

    ("table", version, workloads, live keys, gone keys, gone routes, services, previews, salt)
                                                            or ("faults", [text, ...])   or ("changed",)
    ("routes", [(routing key, sandbox, index of the workload, mappings), ...])              as often as needed
    ("end",)
"""

from __future__ import annotations

import gc
import marshal
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from proxy.collector import collector_paused
from proxy.routing.faults import TableError
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import GoneRoute, Mapping, Preview, Route, RoutingTable, Service
from proxy.routing.text import parse_text
from proxy.routing.wire import read_document

if TYPE_CHECKING:
    from asyncio import StreamReader
    from asyncio.subprocess import Process

FRAME_ROUTES: Final = 250  # about 1 ms of work for the proxy
# What is read in this process. 500 routes of YAML take 30-50 ms; a process of its own takes longer than that to start.
SMALL_ROUTES: Final = 520
SMALL_BYTES: Final = 512 * SMALL_ROUTES
# Up to this many are read on the spot, in 3 ms; more in a thread, which lets requests in every 5 ms. (No way for large
# tables: while a thread computes, the loop waits up to 5 ms each time it comes back from the kernel.)
_TINY_ROUTES: Final = 40
_LENGTH_BYTES: Final = 4
# A request takes several turns of the loop, and must not wait for a frame at each one. So half of the time is its.
_PAUSE_S: Final = 0.001

Stamp = tuple[int, int, int, int, int]


class FileChanged(Exception):
    """The file was not the one expected, or did not stand still while it was read."""


def stamp_of(path: str | int) -> Stamp:
    """What tells a file's states apart: device, inode, size, times of change of content and of inode."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_file(path: str, expected: Stamp) -> bytes:
    """The content of the file in the state that `expected` describes.

    Raises: FileChanged if it is in another state, before or after reading; TableError if it can't be read.
    """
    try:
        with open(path, "rb") as file:
            if stamp_of(file.fileno()) != expected:
                raise FileChanged
            raw = file.read()
        if stamp_of(path) != expected:
            raise FileChanged
    except OSError as error:
        raise TableError([f"can't be read: {error.strerror}"]) from None
    return raw


async def read_table(path: str, expected: Stamp, *, gently: bool) -> RoutingTable:
    """The table in the file: a small one read here, a large one aside.

    `gently`: requests are being served meanwhile. Raises: TableError, FileChanged.
    """
    size_bytes = expected[2]
    if size_bytes <= SMALL_BYTES:
        raw = read_file(path, expected)
        routes = raw.count(b"routingKey")
        if gently and _TINY_ROUTES < routes <= SMALL_ROUTES:
            import asyncio

            return await asyncio.to_thread(_table_of, raw)
        if routes <= SMALL_ROUTES:
            return _table_of(raw)
    return await _read_aside(path, expected, gently)


def _table_of(raw: bytes) -> RoutingTable:
    return read_document(parse_text(raw))


async def _read_aside(path: str, expected: Stamp, gently: bool) -> RoutingTable:
    """The table in the file, read by a child process, which is killed if the caller is cancelled."""
    import asyncio

    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy.tableload", os.path.abspath(path), "gently" if gently else "fast", *map(str, expected)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),  # from where `proxy` is imported
        limit=1 << 20,
    )
    try:
        return await _receive(child, gently)
    except asyncio.IncompleteReadError:
        code = await child.wait()
        raise TableError([f"the process that read the table ended early, with exit code {code}"]) from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def _receive(child: Process, gently: bool) -> RoutingTable:
    import asyncio

    assert child.stdout is not None
    kind, *content = await _frame(child.stdout)
    if kind == "faults":
        raise TableError(content[0])
    if kind == "changed":
        raise FileChanged
    with collector_paused():
        builder = _Builder(*content)
        while True:
            kind, *content = await _frame(child.stdout)
            if kind == "end":
                await child.wait()
                return await asyncio.to_thread(builder.table)
            builder.add(content[0])
            if gently:
                await asyncio.sleep(_PAUSE_S)


async def _frame(stream: StreamReader) -> tuple[Any, ...]:
    """The next frame. Any: its kind says what is in it."""
    length = int.from_bytes(await stream.readexactly(_LENGTH_BYTES), "big")
    frame: tuple[Any, ...] = marshal.loads(await stream.readexactly(length))
    return frame


class _Builder:
    """Frames -> table: the other side of `_frames`."""

    # Any: the child's validated values, plain tuples of text and numbers
    def __init__(
        self,
        version: str,
        workloads: list[tuple[str, str, str]],
        live_keys: list[bytes],
        gone_keys: list[bytes],
        gone_routes: list[tuple[str, int]],
        services: list[Any],
        previews: list[Any],
        salt: bytes | None,
    ) -> None:
        self._workloads = [Workload(*parts) for parts in workloads]
        self._version = version
        self._salt = salt
        self._live_keys = live_keys
        self._gone_keys = gone_keys
        self._gone_routes = [GoneRoute(key, self._workloads[index]) for key, index in gone_routes]
        self._services = [
            Service(hosts, port, self._workloads[index], Endpoint(*upstream), callers)
            for hosts, port, index, upstream, callers in services
        ]
        self._previews = [
            Preview(domain, endpoint, Endpoint(*upstream), key) for domain, endpoint, upstream, key in previews
        ]
        self._routes: list[Route] = []

    def add(self, routes: list[Any]) -> None:
        workloads = self._workloads
        self._routes += [
            Route(
                key,
                sandbox,
                workloads[index],
                tuple(
                    Mapping(port, app_protocol, authority, tuple(Endpoint(*endpoint) for endpoint in destinations))
                    for port, app_protocol, authority, destinations in mappings
                ),
            )
            for key, sandbox, index, mappings in routes
        ]

    def table(self) -> RoutingTable:
        return RoutingTable(
            self._version,
            self._routes,
            self._live_keys,
            self._gone_keys,
            self._gone_routes,
            self._services,
            self._previews,
            self._salt,
        )


# --- in the child --------------------------------------------------------------------------------------------------


def _frames(table: RoutingTable) -> Iterator[tuple[Any, ...]]:
    indexes: dict[Workload, int] = {}

    def index(workload: Workload) -> int:
        return indexes.setdefault(workload, len(indexes))

    routes = [(route.routing_key, route.sandbox, index(route.baseline), _mappings(route)) for route in table.routes]
    gone_routes = [(gone.routing_key, index(gone.baseline)) for gone in table.gone_routes]
    services = [
        (service.hosts, service.port, index(service.baseline), tuple(service.upstream), service.callers)
        for service in table.services
    ]
    previews = [
        (preview.domain, preview.endpoint, tuple(preview.upstream), preview.routing_key) for preview in table.previews
    ]
    workloads = [tuple(workload) for workload in indexes]
    keys = (list(table.live_keys), list(table.gone_keys))
    yield "table", table.version, workloads, *keys, gone_routes, services, previews, table.salt
    for start in range(0, len(routes), FRAME_ROUTES):
        yield "routes", routes[start : start + FRAME_ROUTES]
    yield ("end",)


def _mappings(route: Route) -> tuple[Any, ...]:
    return tuple(
        (mapping.port, mapping.app_protocol, mapping.authority, tuple(map(tuple, mapping.destinations)))
        for mapping in route.mappings
    )


def _send(frames: Iterable[tuple[Any, ...]], out: BinaryIO) -> None:
    for frame in frames:
        raw = marshal.dumps(frame)
        out.write(len(raw).to_bytes(_LENGTH_BYTES, "big"))
        out.write(raw)
    out.flush()


def main() -> None:
    path, pace, *stamp = sys.argv[1:]
    gc.disable()  # the process is over before garbage matters
    if pace == "gently":
        os.nice(10)  # the proxy goes first where both share a core
    expected = tuple(map(int, stamp))
    assert len(expected) == 5
    frames: Iterable[tuple[Any, ...]]
    try:
        frames = _frames(_table_of(read_file(path, expected)))
    except TableError as error:
        frames = [("faults", error.faults)]
    except FileChanged:
        frames = [("changed",)]
    _send(frames, sys.stdout.buffer)
    os._exit(0)  # freeing 100,000 routes one by one would only take time


if __name__ == "__main__":
    main()
