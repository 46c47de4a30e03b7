"""Objects as the API has them: where they are, and what of them people look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from controller.objects import PLURALS
from pointsman.client import path_of

KINDS: Final = {"sandbox": "Sandbox", "routegroup": "RouteGroup"}

Document = Mapping[str, object]


def list_path(kind: str, namespace: str | None) -> str:
    plural = PLURALS[kind]
    return path_of("api", "v1", plural) if namespace is None else path_of("api", "v1", "namespaces", namespace, plural)


def object_path(kind: str, namespace: str, name: str, *parts: str) -> str:
    return path_of("api", "v1", "namespaces", namespace, PLURALS[kind], name, *parts)


def part(document: object, *names: str) -> object:
    """What stands at this place, or None."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def text_at(document: object, *names: str) -> str:
    """The text that stands at this place, or `-`."""
    value = part(document, *names)
    return value if isinstance(value, str) and value else "-"


def number_at(document: object, *names: str) -> int:
    value = part(document, *names)
    return value if isinstance(value, int) else 0


def entries(document: object, *names: str) -> list[object]:
    value = part(document, *names)
    return value if isinstance(value, list) else []


def full_name(document: object) -> str:
    """`sandbox hotrod/pr-123`."""
    kind = text_at(document, "kind").lower()
    return f"{kind} {text_at(document, 'metadata', 'namespace')}/{text_at(document, 'metadata', 'name')}"


def routing_key(document: object) -> str | None:
    """The key that leads to it. None if it has none, or asks for one that is another's: who tags requests with that one
    tests something else."""
    key = part(document, "spec", "routingKey")
    return key if isinstance(key, str) and not is_refused(document) else None


def is_refused(document: object) -> bool:
    """Whether the key that it asks for is another's."""
    accepted = condition(document, "Accepted")
    return accepted is not None and accepted.get("reason") in ("KeyClaimed", "KeyReserved")


def condition(document: object, type_: str) -> Document | None:
    for found in entries(document, "status", "conditions"):
        if isinstance(found, dict) and found.get("type") == type_:
            return found
    return None


def readiness(document: object) -> str:
    """`yes`, or the reason why not."""
    if part(document, "metadata", "deletionTimestamp") is not None:
        return "Deleting"
    ready = condition(document, "Ready")
    if ready is None:
        return "-"
    return "yes" if ready.get("status") == "True" else str(ready.get("reason"))


def complaints(document: object) -> Iterator[str]:
    """What the controller finds wrong with the object, as far as it says why; `Ready` only repeats it."""
    found = [entry for entry in entries(document, "status", "conditions") if isinstance(entry, dict)]
    wrong = [entry for entry in found if entry.get("status") != "True" and entry.get("message")]
    causes = [entry for entry in wrong if entry.get("type") != "Ready"]
    for entry in causes or wrong:
        yield f"{entry.get('reason')}: {entry.get('message')}"
