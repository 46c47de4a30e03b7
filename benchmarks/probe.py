"""One request on a connection of its own, by blocking sockets: to ask an origin's count, to see a target come up."""

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.processes import Child

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ORIGIN = re.compile(rb"\r\nx-origin: *(\w+)", re.IGNORECASE)
_ASK_TIMEOUT_S = 5.0
_PAUSE_S = 0.002  # between two attempts: the resolution of start times


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    origin: str  # its mark, empty if there is none
    body: bytes


def parse_answer(data: bytes) -> tuple[Answer, int] | None:
    """The response at the start of `data` and its length, or None while it is incomplete.

    Only what origins and proxies here send: no 1xx, and always a Content-Length.
    Raises: ValueError for anything else.
    """
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    status, length = _STATUS.match(data), _LENGTH.search(data, 0, head_end)
    if status is None or length is None:
        raise ValueError(f"not an answer that a benchmark expects: {data[:200]!r}")
    end = head_end + 4 + int(length[1])
    if len(data) < end:
        return None
    origin = _ORIGIN.search(data, 0, head_end)
    return Answer(int(status[1]), origin[1].decode() if origin else "", data[head_end + 4 : end]), end


def ask(port: int, head: bytes) -> Answer:
    """Raises: OSError if nobody listens, or the connection ends before the answer does."""
    with socket.create_connection(("127.0.0.1", port), _ASK_TIMEOUT_S) as connection:
        connection.sendall(head)
        data = b""
        while (parsed := parse_answer(data)) is None:
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError(f"port {port} closed after {len(data)} bytes")
            data += piece
        return parsed[0]


def first_answer(child: Child, attempt: Callable[[], Answer], origin: str, timeout_s: float) -> int:
    """Waits until a request gets through to the origin it should reach. Returns the monotonic time in ns.

    `attempt` makes one request of its own, as `ask` does.

    Raises: ChildFailed if the child ends, or no such answer came in time.
    """
    deadline = time.monotonic() + timeout_s
    last: object = "no answer"
    while time.monotonic() < deadline:
        child.check()
        try:
            last = attempt()
        except OSError as error:
            last = error
        else:
            if last.status == 200 and last.origin == origin:
                return time.monotonic_ns()
        time.sleep(_PAUSE_S)
    raise child.failure(f"no request reached the {origin} within {timeout_s} s, last: {last}")
