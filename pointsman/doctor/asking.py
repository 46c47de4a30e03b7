"""Asks a proxy's admin pages, and reads its metrics."""

from __future__ import annotations

import re
from typing import Final

from pointsman.adminclient import AdminClient, Page, admin_url
from pointsman.client import Unreachable
from pointsman.doctor.facts import Samples

_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? ([-+.\deE]+)$")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class NoPage(Exception):
    """Nobody answers there; the text says why."""


def ask(pages: AdminClient, path: str, body: bytes | None = None) -> Page:
    """GET, or POST with a body. Raises: NoPage, BadTokenFile."""
    try:
        return pages.ask("GET" if body is None else "POST", path, body)
    except Unreachable as error:
        raise NoPage(str(error).removeprefix(f"{pages.url}: ").lower()) from None


def text_of(page: Page) -> str:
    return page.body.decode("utf-8", "replace").strip()


def admin_address(text: str) -> str:
    """`http://HOST:PORT` or `HOST:PORT`; or `off`, as the proxy's variable of this name may say."""
    if text == "off":
        return text
    try:
        return admin_url(text if "://" in text else f"http://{text}")
    except ValueError:
        raise ValueError(f"must be http://HOST:PORT or HOST:PORT, is {text!r}") from None


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
