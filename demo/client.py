"""One HTTP/1.1 request on a connection of its own, by the standard library: its client adds no header that matters.

And a look whether a server speaks HTTP/2, which that library does not.
"""

from __future__ import annotations

import http.client
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_TIMEOUT_S: Final = 5.0
_PROBE_TIMEOUT_S: Final = 0.5

_SETTINGS: Final = 4
_HELLO: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack("!HBBBL", 0, 0, _SETTINGS, 0, 0)


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: str


class NoResponse(Exception):
    """Refused, broken off, timed out, or not HTTP."""


def get(address: str, target: str, headers: Mapping[str, str] | None = None, timeout_s: float = _TIMEOUT_S) -> Response:
    """The answer to a GET. Raises: NoResponse."""
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", target, headers=dict(headers or {}))
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, fields, response.read().decode())
    except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
        raise NoResponse(f"http://{address}{target}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


def probe(address: str, target: str = "/") -> int | None:
    """The status of whatever answers within a moment, or None."""
    try:
        return get(address, target, timeout_s=_PROBE_TIMEOUT_S).status
    except NoResponse:
        return None


def greets(address: str) -> bool:
    """Whether a server, asked in HTTP/2 (RFC 9113 section 3.4), begins as it must: with a SETTINGS frame."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_PROBE_TIMEOUT_S) as connection:
            connection.sendall(_HELLO)
            head = connection.recv(9, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(head) == 9 and head[3] == _SETTINGS
