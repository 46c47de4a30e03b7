"""Many small GET requests over one keep-alive connection, two at a time.

Made for peers that answer each with a status and a short body of known length; anything else is an error. Two, because
Envoy 1.40 closes a connection on which three requests wait that it answers itself (measured): 26,000 requests a second
against 13,000 one by one.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence

Fields = Sequence[tuple[bytes, bytes]]

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def answers(port: int, host: bytes, requests: Sequence[Fields], target: bytes = b"/") -> list[tuple[int, bytes]]:
    """(status, body) of each."""
    found: list[tuple[int, bytes]] = []
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        for start in range(0, len(requests), 2):
            pair = [_request(host, target, fields) for fields in requests[start : start + 2]]
            connection.sendall(b"".join(pair))
            for _ in pair:
                while (answer := _answer(data)) is None:
                    piece = connection.recv(1 << 16)
                    if not piece:
                        raise ConnectionError(f"closed after {len(found)} answers: {data!r}")
                    data += piece
                status, body, data = answer
                found.append((status, body))
    return found


def _request(host: bytes, target: bytes, fields: Fields) -> bytes:
    lines = b"".join(b"%s: %s\r\n" % field for field in fields)
    return b"GET %s HTTP/1.1\r\nhost: %s\r\n%s\r\n" % (target, host, lines)


def _answer(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Status, body and what follows, once all of it is there."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    length = _LENGTH.search(head + b"\r\n")
    size = int(length[1]) if length else 0
    return (int(head[9:12]), rest[:size], rest[size:]) if len(rest) >= size else None
