"""Large bodies pass through buffers that are kept, not given back to the system each time."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from tests.support.client import connected, get
from tests.support.origin import RawOrigin, running
from tests.support.proxy import Proxy, run_proxy

_BLOCK = bytes(1 << 20)
_BLOCKS = 150
# What glibc does by itself depends on how the heap happens to lie; this makes it give back always.
_EAGER = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}


def page_faults(proxy: Proxy) -> int:
    """So many pages were asked for since its start."""
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[7])  # minflt, the tenth field


def test_buffers_are_kept(tmp_path: Path) -> None:
    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (_BLOCKS * len(_BLOCK)))
        with contextlib.suppress(OSError):
            for _ in range(_BLOCKS):
                connection.sendall(_BLOCK)

    origin = RawOrigin(script)
    with running(origin), run_proxy(tmp_path, origin.port, environ=_EAGER) as proxy, connected(proxy.port) as client:
        start = page_faults(proxy)
        client.send(get())
        received = 0
        while received < _BLOCKS * len(_BLOCK):
            received += len(client.socket.recv(1 << 20))
        pages = _BLOCKS * len(_BLOCK) // os.sysconf("SC_PAGE_SIZE")
        assert page_faults(proxy) - start < pages / 4
