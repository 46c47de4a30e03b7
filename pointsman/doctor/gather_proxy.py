"""Sees a running proxy: its pages, and from its machine what it talks to."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pointsman.adminclient import AdminClient
from pointsman.doctor.asking import NoPage, ask, samples, text_of
from pointsman.doctor.facts import BaselineFacts, NameFacts, ProxyFacts, Samples
from pointsman.doctor.names import look_up
from pointsman.doctor.speaking import spoken_at
from proxy.release import RELEASE

EXCHANGE_S: Final = 2.0


def first_look(pages: AdminClient) -> ProxyFacts:
    facts = ProxyFacts(pages.url, own_release=RELEASE)
    try:
        ready = ask(pages, "/readyz")
        table = ask(pages, "/table")
        before = _metrics(pages)
    except NoPage as error:
        return replace(facts, unreachable=str(error))
    if ready.status not in (200, 503):
        return replace(facts, unreachable=f"/readyz says {ready.status}, not as a proxy does")
    facts = replace(facts, status=ready.status, ready_text=text_of(ready), before=before, after=before)
    try:
        state = json.loads(table.body) if table.status == 200 else None
    except ValueError:
        state = None
    if not isinstance(state, dict):
        return replace(facts, refused=f"/table says {table.status}: {text_of(table)[:100]}")
    return replace(facts, state=state, is_here=_is_here(state))


def second_look(pages: AdminClient, facts: ProxyFacts, started_s: float, interval_s: float) -> ProxyFacts:
    """Counters once more, so long after the first look."""
    if facts.unreachable:
        return facts
    time.sleep(max(started_s + interval_s - time.monotonic(), 0.0))
    try:
        return replace(facts, after=_metrics(pages))
    except NoPage as error:
        return replace(facts, unreachable=str(error))


def _metrics(pages: AdminClient) -> Samples:
    page = ask(pages, "/metrics")
    return samples(text_of(page)) if page.status == 200 else Samples()


def baselines_of(facts: ProxyFacts) -> list[BaselineFacts]:
    about = _about(facts)
    protocol = str(about.get("baselineProtocol", "auto"))
    found = []
    for entry in _entries(about.get("baselines")):
        address = str(entry.get("address", ""))
        host, _, port = address.rpartition(":")
        if port.isdecimal():
            spoken = spoken_at(host.strip("[]"), int(port), EXCHANGE_S, protocol)
            found.append(BaselineFacts(address, protocol, spoken))
    return found


def names_of(facts: ProxyFacts) -> list[NameFacts]:
    """Of baselines, destinations and services."""
    about, names = _about(facts), dict[str, str]()
    for entry in _entries(about.get("baselines")):
        names[str(entry.get("address", "")).rpartition(":")[0].strip("[]")] = "a baseline"
    for name, what in document_names(facts.state or {}).items():
        names.setdefault(name, what)
    servers = about.get("dnsServers")
    return look_up(names, [str(server) for server in servers] if isinstance(servers, list) else [])


def document_names(document: Mapping[str, object]) -> dict[str, str]:
    """The hosts that a table names, and for what."""
    names: dict[str, str] = {}
    for route in _entries(document.get("routes")):
        for mapping in _entries(route.get("mappings")):
            for destination in _entries(mapping.get("destinations")):
                names.setdefault(str(destination.get("host", "")), f"a destination of sandbox {route.get('sandbox')}")
    for service in _entries(document.get("services")):
        upstream = service.get("upstream")
        if isinstance(upstream, dict):
            names.setdefault(str(upstream.get("host", "")), "a service's upstream")
    names.pop("", None)
    return names


def _is_here(state: Mapping[str, object]) -> bool:
    """Whether what it calls 127.0.0.1 is ours: the same host name, and its process is one that we see."""
    about = state.get("proxy")
    if not isinstance(about, dict) or about.get("host") != socket.gethostname():
        return False
    return os.path.exists(f"/proc/{about.get('process')}")


def _about(facts: ProxyFacts) -> Mapping[str, object]:
    about = (facts.state or {}).get("proxy")
    return about if isinstance(about, dict) else {}


def _entries(value: object) -> list[Mapping[str, object]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
