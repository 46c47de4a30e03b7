"""Looks names up as a proxy does: by c-ares, at the servers that it is told of or /etc/resolv.conf's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final

from pointsman.doctor.facts import NameFacts

_MOST: Final = 50  # names: who has more learns of these
_TIMEOUT_S: Final = 7.0  # of all; the resolver tries three times for two seconds


def look_up(names: Mapping[str, str], servers: Sequence[str]) -> list[NameFacts]:
    """`names`: what each is for. Addresses among them are left out."""
    wanted = {name: what for name, what in names.items() if not _is_address(name)}
    if not wanted:
        return []
    return asyncio.run(_all(list(wanted.items())[:_MOST], servers))


async def _all(names: Iterable[tuple[str, str]], servers: Sequence[str]) -> list[NameFacts]:
    from proxy.net.resolver import Resolver

    resolver, asked = Resolver(servers), ", ".join(servers) or ", ".join(_system_servers()) or "the system's resolver"

    async def one(name: str, what: str) -> NameFacts:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                addresses, _ = await resolver.look_up(name)
        except OSError as error:  # TimeoutError is one
            return NameFacts(name, what, asked, error=str(error).removeprefix(f"{name}: ") or "no answer in time")
        return NameFacts(name, what, asked, tuple(addresses))

    return list(await asyncio.gather(*(one(name, what) for name, what in names)))


def _system_servers() -> list[str]:
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            return [line.split()[1] for line in file if line.startswith("nameserver ") and len(line.split()) > 1]
    except OSError:
        return []


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
