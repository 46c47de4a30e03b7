"""A proxy's admin pages over HTTP/1.1, blocking, by the standard library alone.

The token's file is read for each request, so that a renewed token counts. Of several tokens in it the first is sent.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from pointsman.client import ClientError, Unreachable

TIMEOUT_S: Final = 10.0


class BadTokenFile(ClientError):
    """It can't be used; the text says why, without its content."""


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    body: bytes


class AdminClient:
    """One proxy's, at `url`."""

    def __init__(self, url: str, token_file: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Raises: ValueError for a URL that is none."""
        self.url: Final = admin_url(url)
        self._token_file: Final = token_file
        self._timeout_s: Final = timeout_s

    def ask(self, method: str, path: str, body: bytes | None = None) -> Page:
        """Raises: Unreachable, BadTokenFile."""
        headers = {"Authorization": f"Bearer {self._token()}"} if self._token_file is not None else {}
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        try:
            connection = HTTPConnection(parts.hostname, parts.port or 80, timeout=self._timeout_s)
            with closing(connection):
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                return Page(response.status, response.read())
        except (OSError, HTTPException) as error:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unreachable(f"{self.url}: {text}") from None

    def _token(self) -> str:
        from proxy.reloading import ReloadError  # only here: asyncio is 30 ms
        from proxy.tokensfile import tokens_of_file

        assert self._token_file is not None
        try:
            tokens = tokens_of_file(self._token_file)
        except ReloadError as error:
            raise BadTokenFile(str(error)) from None
        if not tokens:
            raise BadTokenFile(f"{self._token_file}: holds no token")
        return tokens[0].decode("ascii")


def admin_url(text: str) -> str:
    """Where a proxy's admin pages are.

    Raises: ValueError.
    """
    parts = urlsplit(text)
    try:
        is_fine = parts.scheme == "http" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_fine = False
    if not is_fine or parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"must be http://HOST:PORT, is {text!r}")
    return text.rstrip("/")
