"""What an address speaks, by a real exchange with it in bounded time.

HTTP/1.1: `OPTIONS *`, which asks for nothing; any status line counts. HTTP/2: the client's preface, and the server's
SETTINGS, which must be its first frame (RFC 9113 section 3.4). TLS shows itself by an alert, or by the words with
which Go's and nginx's servers refuse plain HTTP.
"""

from __future__ import annotations

import socket
import time
from contextlib import closing
from typing import Final

from pointsman.doctor.facts import Spoken

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
_SETTINGS: Final = 4
_FRAME_HEAD: Final = 9
_ALERT: Final = b"\x15\x03"
_MOST: Final = 4096
_REFUSALS_OF_PLAIN: Final = (b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port")


def spoken_at(host: str, port: int, timeout_s: float, configured: str) -> Spoken:
    """What is configured is tried first, the other only where that fails: applications log a strange preface.

    Each exchange takes `timeout_s` at most.
    """
    name = f"[{host}]" if ":" in host else host
    question = f"OPTIONS * HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode("ascii", "replace")
    try:
        second = _answer(host, port, _PREFACE, timeout_s) if configured == "http2" else b""
        first = _answer(host, port, question, timeout_s) if not _begins_with_settings(second) else b""
        if configured != "http2" and not first.startswith(b"HTTP/1."):
            second = _answer(host, port, _PREFACE, timeout_s)
    except OSError as error:
        return Spoken(unreachable=said(error))
    refuses_plain = any(words in first for words in _REFUSALS_OF_PLAIN)
    return Spoken(
        http1=first.startswith(b"HTTP/1.") and not refuses_plain,
        http2=_begins_with_settings(second),
        tls=refuses_plain or first.startswith(_ALERT) or second.startswith(_ALERT),
    )


def _begins_with_settings(data: bytes) -> bool:
    """A frame of connection settings, and not the acknowledgement of ours."""
    is_settings = len(data) >= _FRAME_HEAD and data[3] == _SETTINGS
    return is_settings and not data[4] & 1 and data[5:9] == b"\0\0\0\0"


def _answer(host: str, port: int, question: bytes, timeout_s: float) -> bytes:
    """What comes back: a few bytes where that is enough to tell. Raises: OSError if there is no connection."""
    end_s = time.monotonic() + timeout_s
    found = b""
    with closing(socket.create_connection((host, port), timeout_s)) as connection:
        try:
            connection.sendall(question)
            while len(found) < _MOST and (left_s := end_s - time.monotonic()) > 0:
                connection.settimeout(left_s)
                piece = connection.recv(_MOST)
                if not piece:
                    break
                found += piece
                if question is _PREFACE and len(found) >= _FRAME_HEAD:
                    break
        except OSError:
            pass  # what came before counts
    return found


def said(error: OSError) -> str:
    """An exception of the network in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or str(error) or type(error).__name__).lower()
