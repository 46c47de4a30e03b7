"""What a change changed: two states of an object as lines, without what changes by itself."""

from __future__ import annotations

from difflib import unified_diff

from controller.documents import rendered

_OF_STORE = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")


def difference(before: object, after: object, name: str) -> str:
    """A unified diff of YAML; empty if nothing changed."""
    lines = unified_diff(_lines(before), _lines(after), f"{name} (before)", f"{name} (after)", lineterm="")
    return "\n".join(lines)


def _lines(document: object) -> list[str]:
    if not isinstance(document, dict):
        return []
    metadata = document.get("metadata")
    authored = {name: value for name, value in document.items() if name != "status"}
    if isinstance(metadata, dict):
        authored["metadata"] = {name: value for name, value in metadata.items() if name not in _OF_STORE}
    return rendered(authored).decode().splitlines()
