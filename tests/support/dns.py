"""A DNS server for tests: answers A and AAAA questions over UDP from a table that the test may change."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_A, _AAAA = 1, 28
_NO_ERROR, _SERVER_FAILURE, _NO_SUCH_NAME = 0, 2, 3


@dataclass
class Zone:
    """`names`: addresses by name; `ttl_s`: of all answers. `is_broken`: SERVFAIL always; `is_silent`: no answer."""

    names: dict[str, list[str]] = field(default_factory=dict)
    ttl_s: int = 1
    is_broken: bool = False
    is_silent: bool = False
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def answer(self, query: bytes) -> bytes:
        number, flags = query[:2], 0x8180
        labels, position = [], 12
        while length := query[position]:
            labels.append(query[position + 1 : position + 1 + length].decode().lower())
            position += 1 + length
        question = query[12 : position + 5]
        (kind,) = struct.unpack("!H", query[position + 1 : position + 3])
        name = ".".join(labels)
        self.asked.append(name)
        if self.is_broken:
            return number + struct.pack("!HHHHH", flags | _SERVER_FAILURE, 1, 0, 0, 0) + question
        if name not in self.names:
            return number + struct.pack("!HHHHH", flags | _NO_SUCH_NAME, 1, 0, 0, 0) + question
        records = b""
        count = 0
        for address in self.names[name]:
            is_ipv6 = ":" in address
            if kind == (_AAAA if is_ipv6 else _A):
                raw = socket.inet_pton(socket.AF_INET6 if is_ipv6 else socket.AF_INET, address)
                records += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl_s, len(raw)) + raw
                count += 1
        return number + struct.pack("!HHHHH", flags | _NO_ERROR, 1, count, 0, 0) + question + records


@contextlib.contextmanager
def serve(**names: list[str]) -> Iterator[Zone]:
    """Underscores in keyword names stand for dots: `box_test` is `box.test`."""
    zone = Zone({name.replace("_", "."): addresses for name, addresses in names.items()})
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    zone.port = server.getsockname()[1]

    def loop() -> None:
        while True:
            try:
                query, peer = server.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            if not zone.is_silent:
                server.sendto(zone.answer(query), peer)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield zone
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stop:
            stop.sendto(b"", ("127.0.0.1", zone.port))
        thread.join(5)
        server.close()
