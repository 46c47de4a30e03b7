"""All that the table says of one key, and the table's version, made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from proxy.routing.table import GoneRoute, Preview, Route

_DIGEST_BYTES: Final = 32
_MODULUS: Final = 1 << (8 * _DIGEST_BYTES)
_VERSION_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class KeyState:
    """One key: live with its routes, gone, or neither (then nobody needs to know of it)."""

    key: str
    is_live: bool = False
    is_gone: bool = False
    routes: tuple[Route, ...] = ()
    gone_routes: tuple[GoneRoute, ...] = ()
    previews: tuple[Preview, ...] = ()
    digest: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        digest = blake2b("\n".join(self._lines()).encode(), digest_size=_DIGEST_BYTES).digest()
        object.__setattr__(self, "digest", int.from_bytes(digest, "big"))

    def _lines(self) -> Iterator[str]:
        """The content as text. No word of it holds a space or a line's end (`proxy.routing.names`), so no two states
        have the same text. A third of the cost of JSON, and nothing for the garbage collector to look at."""
        yield f"{self.key} {self.is_live} {self.is_gone}"
        for route in self.routes:
            yield f"route {route.sandbox} {route.baseline}"
            for mapping in route.mappings:
                yield f"{mapping.port} {mapping.app_protocol} {mapping.authority}"
                for host, port in mapping.destinations:
                    yield f"to {host} {port}"
        for gone in self.gone_routes:
            yield f"gone {gone.baseline}"
        for preview in self.previews:
            yield f"preview {preview.domain} {preview.endpoint} {preview.upstream}"

    @property
    def is_known(self) -> bool:
        return self.is_live or self.is_gone


def combined_version(digests: int, rest: str) -> str:
    """The version of a table whose key states have digests with this sum, whatever their order. `rest`: the text of all
    else that it holds."""
    text = f"{digests % _MODULUS}\n{rest}"
    return blake2b(text.encode(), digest_size=_VERSION_BYTES).hexdigest()
