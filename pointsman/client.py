"""The controller's REST API over HTTP/1.1, blocking, by the standard library alone: `pointsman sandbox list` must start
in a blink.

- One connection is kept for the next request. When it turns out to be closed, what may be sent twice is sent again on a
  new one.
- The token's file is read for each request, so that a renewed token counts.
- Whatever is no success comes out as one exception: `ApiError` if the controller answered, `Unreachable` if it did not
  or if that was no controller.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, responses
from socket import SHUT_RDWR
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

CONNECT_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 60.0
_REPEATABLE: Final = frozenset({"GET", "PUT", "DELETE"})  # RFC 9110 section 9.2.2
_MAX_LINE: Final = 16 << 20
_SHOWN: Final = 10


class ClientError(Exception):
    """The base of both."""


class Unreachable(ClientError):
    """There was no answer of a controller."""


class ApiError(ClientError):
    """The controller said no. Spec: RFC 9457; `type` is the last word of it, e.g. `quota`; `faults` has every fault of
    what was sent, each named by its path."""

    def __init__(
        self, status: int, title: str, detail: str = "", faults: tuple[str, ...] = (), type_: str = ""
    ) -> None:
        self.status: Final = status
        self.type: Final = type_
        self.title: Final = title
        self.detail: Final = detail
        self.faults: Final = faults
        text = detail or title
        shown = "; ".join(faults[:_SHOWN])
        if shown and shown not in text:
            more = len(faults) - _SHOWN
            text = f"{text}: {shown}" + (f"; and {more} more" if more > 0 else "")
        super().__init__(f"{text} ({status})")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    document: object


class Client:
    """One controller, at `url`. Not for several threads at once."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        token_file: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        """Raises: ValueError for a URL that is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"must be http://HOST:PORT or https://HOST:PORT, is {url!r}")
        if parts.username is not None:
            raise ValueError("must not hold a password: use a token file")
        self.url: Final = url.rstrip("/")
        self._is_tls: Final = parts.scheme == "https"
        self._host: Final = parts.hostname
        self._port: Final = parts.port
        self._base: Final = parts.path.rstrip("/")
        self._token: Final = token
        self._token_file: Final = token_file
        self._ca_file: Final = ca_file
        self._connection: HTTPConnection | None = None
        self._streaming: HTTPConnection | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def shut(self) -> None:
        """Ends what another thread reads by `lines`."""
        connection = self._streaming
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(SHUT_RDWR)

    def call(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        query: Mapping[str, str] | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Answer:
        """The answer, if it is a success.

        Raises: ApiError, Unreachable.
        """
        body = None if document is None else json.dumps(document).encode()
        fields = self._fields(body)
        while True:
            connection, is_kept = self._connection, self._connection is not None
            self._connection = None
            if connection is None:
                connection = self._connect()
            try:
                response = _send(connection, method, self._target(path, query), body, fields, timeout_s)
                raw = response.read()
            except (OSError, HTTPException) as error:
                connection.close()
                if is_kept and method in _REPEATABLE and not isinstance(error, TimeoutError):
                    continue
                raise Unreachable(f"{self.url}: {_said(error)}") from None
            if response.will_close:
                connection.close()
            else:
                self._connection = connection
            return self._answer(response, raw)

    def lines(self, path: str, *, query: Mapping[str, str] | None = None, silence_s: float) -> Iterator[bytes]:
        """The lines of an answer that does not end, on a connection of its own.

        Raises: ApiError; Unreachable, also when nothing comes for `silence_s` or the answer ends.
        """
        fields = self._fields(None)
        with closing(self._connect()) as connection:
            self._streaming = connection
            try:
                response = _send(connection, "GET", self._target(path, query), None, fields, silence_s)
                if response.status != 200:
                    self._answer(response, response.read())
                    raise Unreachable(f"{self.url}: answered {response.status} where lines were expected")
                while line := response.readline(_MAX_LINE):
                    yield line
            except (OSError, HTTPException) as error:
                raise Unreachable(f"{self.url}: {_said(error)}") from None
        raise Unreachable(f"{self.url}: the answer has ended")

    # --- how it is done ---

    def _connect(self) -> HTTPConnection:
        if not self._is_tls:
            connection = HTTPConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        else:
            from ssl import create_default_context

            try:
                context = create_default_context(cafile=self._ca_file)
            except OSError as error:
                raise Unreachable(f"{self._ca_file}: can't be used: {_said(error)}") from None
            connection = HTTPSConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S, context=context)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise Unreachable(f"{self.url}: can't be reached: {_said(error)}") from None
        return connection

    def _target(self, path: str, query: Mapping[str, str] | None) -> str:
        return self._base + path + (f"?{urlencode(query)}" if query else "")

    def _fields(self, body: bytes | None) -> dict[str, str]:
        fields = {"Accept": "application/json", "User-Agent": "pointsman"}
        if body is not None:
            fields["Content-Type"] = "application/json"
        token = self._read_token()
        if token is not None:
            fields["Authorization"] = f"Bearer {token}"
        return fields

    def _read_token(self) -> str | None:
        if self._token_file is None:
            return self._token
        try:
            with open(self._token_file, encoding="ascii") as file:
                token = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unreachable(f"{self._token_file}: can't be read: {_said(error)}") from None
        if not token or not token.isprintable() or " " in token:
            raise Unreachable(f"{self._token_file}: must hold one token")
        return token

    def _answer(self, response: HTTPResponse, raw: bytes) -> Answer:
        content_type = response.headers.get_content_type()
        reason = response.reason or responses.get(response.status, "an unknown status")
        is_json = content_type == "application/json" or content_type.endswith("+json")
        try:
            document = json.loads(raw) if is_json and raw.strip() else None
        except ValueError:
            raise Unreachable(f"{self.url}: answered {response.status} with broken JSON") from None
        if 200 <= response.status < 300 and (is_json or not raw):
            return Answer(response.status, document)
        if isinstance(document, dict) and content_type == "application/problem+json":
            faults = document.get("faults")
            raise ApiError(
                response.status,
                str(document.get("title") or reason),
                str(document.get("detail") or ""),
                tuple(map(str, faults)) if isinstance(faults, list) else (),
                str(document.get("type") or "").rpartition(":")[2],
            )
        raise Unreachable(f"{self.url}: answered {response.status} {reason}, not as a controller does")


def _send(
    connection: HTTPConnection, method: str, target: str, body: bytes | None, fields: dict[str, str], timeout_s: float
) -> HTTPResponse:
    if connection.sock is not None:
        connection.sock.settimeout(timeout_s)
    connection.request(method, target, body, fields)
    return connection.getresponse()


def path_of(*parts: str) -> str:
    """A path of names that may hold anything."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _said(error: Exception) -> str:
    """An exception of the network in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
