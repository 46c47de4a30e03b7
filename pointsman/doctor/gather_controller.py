"""Sees a controller: its health, what its store can't read, the proxies that it knows, its clock."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from pointsman.cli.objects import entries, part, text_at
from pointsman.client import ApiError, Client, ClientError
from pointsman.doctor.facts import ControllerFacts
from pointsman.doctor.speaking import said

_TIMEOUT_S: Final = 10.0
_DATE_S: Final = 1.0  # a Date has whole seconds


def look_at(url: str, token_file: str | None, ca_file: str | None, *, is_all: bool = True) -> ControllerFacts:
    """`is_all` False: only what needs no token."""
    facts = ControllerFacts(url)
    try:
        began_s = time.time()
        status, text, date = _ready(url, ca_file)
        ended_s = time.time()
    except (OSError, HTTPException) as error:
        return replace(facts, unreachable=said(error) if isinstance(error, OSError) else str(error))
    if status not in (200, 503):
        return replace(facts, unreachable=f"/readyz says {status}, not as a controller does")
    facts = replace(facts, status=status, ready_text=text)
    ahead = _ahead(date, (began_s + ended_s) / 2)
    facts = replace(facts, ahead_s=ahead, vague_s=(ended_s - began_s) / 2 + _DATE_S / 2)
    if status != 200 or not is_all:
        return facts
    refused = []
    with Client(url, token_file=token_file, ca_file=ca_file) as client:
        try:
            proxies = entries(client.call("GET", "/api/v1/proxies", timeout_s=_TIMEOUT_S).document, "items")
            facts = replace(facts, proxies=tuple(proxy for proxy in proxies if isinstance(proxy, dict)))
        except ClientError as error:
            refused.append(f"it does not list its proxies: {_short(error)}")
        try:
            found = entries(client.call("GET", "/api/v1/faults", timeout_s=_TIMEOUT_S).document, "items")
            faults = tuple((text_at(item, "place"), _texts(part(item, "faults"))) for item in found)
            facts = replace(facts, faults=faults)
        except ClientError as error:
            refused.append(f"it does not tell what its store can't read: {_short(error)}")
    return replace(facts, refused=tuple(refused))


def _ready(url: str, ca_file: str | None) -> tuple[int, str, str]:
    """`/readyz`, which needs no token, and the Date of the answer."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection: HTTPConnection
    if parts.scheme == "https":
        from ssl import create_default_context

        context = create_default_context(cafile=ca_file)
        connection = HTTPSConnection(parts.hostname, parts.port, timeout=_TIMEOUT_S, context=context)
    else:
        connection = HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    with closing(connection):
        connection.request("GET", parts.path.rstrip("/") + "/readyz")
        response: HTTPResponse = connection.getresponse()
        text = response.read().decode("utf-8", "replace").strip()
        return response.status, text, response.headers.get("Date", "")


def _ahead(date: str, now_s: float) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() + _DATE_S / 2 - now_s
    except (TypeError, ValueError):
        return None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _short(error: ClientError) -> str:
    return f"{error.title} ({error.status})" if isinstance(error, ApiError) else str(error)
