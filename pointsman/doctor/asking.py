"""A proxy's admin pages over HTTP/1.1, blocking, by the standard library alone."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from pointsman.doctor.facts import Samples

_TIMEOUT_S: Final = 10.0
_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? ([-+.\deE]+)$")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class NoPage(Exception):
    """Nobody answers there; the text says why."""


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    body: bytes
    date: str = ""

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace").strip()


class AdminPages:
    """One proxy's, at `url`. The token's file is read for each request; of several tokens in it the first is sent."""

    def __init__(self, url: str, token_file: str | None = None) -> None:
        self.url: Final = url
        self._token_file: Final = token_file

    def ask(self, path: str, body: bytes | None = None) -> Page:
        """GET, or POST with a body. Raises: NoPage."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        try:
            fields = {"Authorization": f"Bearer {self._token()}"} if self._token_file is not None else {}
            with closing(HTTPConnection(parts.hostname, parts.port or 80, timeout=_TIMEOUT_S)) as connection:
                connection.request("GET" if body is None else "POST", path, body, fields)
                response = connection.getresponse()
                return Page(response.status, response.read())
        except TimeoutError:
            raise NoPage("no answer in time") from None
        except (OSError, HTTPException, UnicodeDecodeError) as error:
            raise NoPage(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None

    def _token(self) -> str:
        assert self._token_file is not None
        with open(self._token_file, encoding="ascii") as file:
            tokens = [line.strip() for line in file if line.strip() and not line.startswith("#")]
        if not tokens:
            raise NoPage(f"{self._token_file}: holds no token")
        return tokens[0]


def admin_url(text: str) -> str:
    """`http://HOST:PORT` or `HOST:PORT`, or `off`, as the proxy's variable may say."""
    if text == "off":
        return text
    url = text if "://" in text else f"http://{text}"
    parts = urlsplit(url)
    try:
        is_fine = parts.scheme == "http" and bool(parts.hostname) and (parts.port or 0) > 0
    except ValueError:
        is_fine = False
    if not is_fine or parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"must be http://HOST:PORT or HOST:PORT, is {text!r}")
    return url.rstrip("/")


def samples(text: str) -> Samples:
    """A page in Prometheus' text format, without timestamps and exemplars. What is no number is left out."""
    values = {}
    for line in text.splitlines():
        if not line.startswith("#") and (match := _SAMPLE.match(line)) is not None:
            labels = frozenset((name, _plain(value)) for name, value in _LABEL.findall(match[2] or ""))
            values[match[1], labels] = float(match[3])
    return Samples(values)


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], value)
