"""What a preview's host names: `<endpoint>--<key>.<domain>` (SPEC 4, preview gateway).

Rules:

- One label stands before the domain, so that one wildcard certificate covers a domain's previews.
- It is split at the first `--`: endpoints contain none, keys may. At most 63 characters; hosts know no case, so keys
  are of `a-z0-9-`. `xn--` begins a name of another script (RFC 5891 section 4.2.3.1) and is no endpoint.
- An entry with a routing key counts for that key alone, and before one without.

A host below a known domain that names no preview is told from any other host: the first is a mistake in a preview's
address, the second has nothing to do with previews. Cost: a few dictionary lookups, however many keys and entries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from proxy.routing.authority import DEFAULT_PORT, named, split_authority
from proxy.routing.names import Endpoint
from proxy.routing.table import Preview

SEPARATOR: Final = b"--"
_MAX_LABEL: Final = 63  # RFC 1035 section 2.3.4
_KEY: Final = re.compile(rb"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_NO_ENDPOINT: Final = b"xn"


class PreviewHost:
    """A host below a preview domain. `key` is empty if it is none that a preview could have; `upstream` is None if no
    entry has this endpoint and key."""

    __slots__ = ("domain", "key", "upstream")

    def __init__(self, domain: bytes, key: bytes, upstream: Endpoint | None) -> None:
        self.domain = domain
        self.key = key
        self.upstream = upstream


PreviewName = tuple[str, str, str | None]  # what a preview's host is made of: domain, endpoint, and its key or None


class PreviewHosts:
    """The `previews` of one routing table, as requests look them up."""

    __slots__ = ("_domains",)

    def __init__(self, previews: Iterable[Preview] = ()) -> None:
        self._domains: Final[dict[bytes, dict[tuple[bytes, bytes], Endpoint]]] = {}
        for preview in previews:
            self.put(preview)

    def put(self, preview: Preview) -> Endpoint | None:
        """Adds it; the upstream of one that was there."""
        of_domain = self._domains.setdefault(preview.domain.encode("ascii"), {})
        name = _entry(preview.endpoint, preview.routing_key)
        before = of_domain.get(name)
        of_domain[name] = preview.upstream
        return before

    def remove(self, name: PreviewName) -> Endpoint | None:
        """Takes it away; the upstream that it had, if it was there."""
        domain = name[0].encode("ascii")
        of_domain = self._domains.get(domain)
        if of_domain is None:
            return None
        before = of_domain.pop(_entry(name[1], name[2]), None)
        if not of_domain:
            del self._domains[domain]
        return before

    @property
    def domains(self) -> frozenset[bytes]:
        return frozenset(self._domains)

    def __bool__(self) -> bool:
        return bool(self._domains)

    def stands_below(self, authority: bytes) -> bool:
        """Whether `find` finds something: the quick way, where all services' authorities, well-formed, are asked."""
        domain = authority.lower().partition(b".")[2].partition(b":")[0]
        return domain.removesuffix(b".") in self._domains

    def find(self, authority: bytes) -> PreviewHost | None:
        """What this Host or `:authority` names; None where it stands below no preview domain. The port is ignored:
        what stands before the gateway chooses it."""
        label, _, domain = bare_host(authority).partition(b".")
        entries = self._domains.get(domain)
        if entries is None:
            return None
        endpoint, found, key = label.partition(SEPARATOR)
        if not found or len(label) > _MAX_LABEL or endpoint == _NO_ENDPOINT or not _KEY.fullmatch(key):
            return PreviewHost(domain, b"", None)
        upstream = entries.get((endpoint, key))
        if upstream is None:
            upstream = entries.get((endpoint, _EVERY))
        return PreviewHost(domain, key, upstream)

    def are_relatives(self, authority: bytes, other: bytes) -> bool:
        """Whether two hosts are previews of one key and one domain, and so of the same change."""
        one, two = self.find(authority), self.find(other)
        return one is not None and two is not None and bool(one.key) and (one.domain, one.key) == (two.domain, two.key)


_EVERY: Final = b""  # in place of a key: an entry for every one


def _entry(endpoint: str, key: str | None) -> tuple[bytes, bytes]:
    return endpoint.encode("ascii"), key.encode("ascii") if key is not None else _EVERY


def bare_host(authority: bytes) -> bytes:
    """An authority's host in its one spelling, without port."""
    parts = split_authority(authority)
    return parts[0] if parts is not None else b""


def authority_of(upstream: Endpoint) -> bytes:
    """The Host that a request for a Service carries: without port 80, which is HTTP's own."""
    return named(upstream.host.encode("ascii"), upstream.port if upstream.port != DEFAULT_PORT else None)
