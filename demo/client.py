"""One HTTP request on a connection of its own, by the standard library: its client adds no header that matters here."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_TIMEOUT_S: Final = 5.0
_PROBE_TIMEOUT_S: Final = 0.5


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
