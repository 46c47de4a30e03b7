"""Sends a marked request, and asks proxies whether the mark came to them.

The mark is a member `pointsman-probe` of `baggage` and of `tracestate`, beside a valid `traceparent`: no proxy reads it
as a key, so the request goes to the baseline everywhere. Services that pass these headers on pass on whatever members
they hold.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from pointsman.adminclient import AdminClient
from pointsman.doctor.asking import NoPage, ask, text_of
from pointsman.doctor.facts import Hop, ProbeFacts
from pointsman.doctor.speaking import said

MEMBER: Final = "pointsman-probe"
# A proxy notes a request when it is over, which may be a moment after its caller has the answer; so they are asked
# until they say the same twice.
_LATE_S: Final = 0.2
_LATEST_S: Final = 1.5


def send_through(url: str, pages: Sequence[AdminClient], timeout_s: float) -> ProbeFacts:
    trace, mark = secrets.token_hex(16), "p" + secrets.token_hex(10)
    question = json.dumps({"trace": trace, "mark": mark}).encode()
    asked, silent = [], []
    for each in pages:
        why = _ask(each, question)
        if isinstance(why, str):
            silent.append(f"{each.url}: {why}")
        else:
            asked.append(each)
    status, error = _send(url, trace, mark, timeout_s)
    hops: list[Hop] = []
    end_s, is_settled = time.monotonic() + _LATEST_S, False
    while not is_settled:
        time.sleep(_LATE_S)
        known, hops = len(hops), []
        for each in list(asked):
            found = _ask(each, question)
            if isinstance(found, str):
                silent.append(f"{each.url}: {found}")
                asked.remove(each)
            else:
                hops += found
        is_settled = (len(hops) == known and known > 0) or time.monotonic() > end_s
    names = tuple(each.url for each in asked)
    return ProbeFacts(url, error, status, tuple(hops), names, tuple(silent))


def _ask(pages: AdminClient, question: bytes) -> list[Hop] | str:
    """What it has seen so far, or why it does not say."""
    try:
        page = ask(pages, "/probe", question)
        if page.status != 200:
            return f"/probe says {page.status}: {text_of(page)[:100]}"
        return [_hop(pages.url, entry) for entry in json.loads(page.body)["requests"]]
    except NoPage as error:
        return str(error)
    except (ValueError, KeyError, TypeError, AttributeError):
        return "/probe says nothing that is known here"


def _hop(proxy: str, entry: dict[str, object]) -> Hop:
    began, ended, status = entry["beganAt"], entry["endedAt"], entry["status"]
    if not isinstance(began, float) or not isinstance(ended, float) or not isinstance(status, int):
        raise TypeError
    return Hop(
        proxy,
        str(entry.get("workload") or "an unknown service"),
        began,
        ended,
        entry.get("baggage") is True,
        entry.get("tracestate") is True,
        status,
        str(entry.get("reason")),
    )


def _send(url: str, trace: str, mark: str, timeout_s: float) -> tuple[int, str]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = {
        "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01",
        "tracestate": f"{MEMBER}={mark}",
        "baggage": f"{MEMBER}={mark}",
        "user-agent": "pointsman-doctor",
    }
    try:
        with closing(connect(parts.hostname, parts.port, timeout=timeout_s)) as connection:
            connection.request("GET", target, headers=fields)
            response = connection.getresponse()
            response.read()
            return response.status, ""
    except OSError as error:
        return 0, said(error)
    except HTTPException as error:
        return 0, str(error) or type(error).__name__
