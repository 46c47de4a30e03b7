"""Reads manifests of others: what is not looked at may be anything, what is must have its shape."""

from __future__ import annotations

from collections.abc import Mapping

from controller.reader import MISSING, Reader, join


class ManifestReader(Reader):
    """Missing parts and those that are null are empty ones, as for Kubernetes."""

    __slots__ = ()

    def part(self, value: object, path: str) -> Mapping[str, object]:
        """An object, or nothing."""
        if value is None or value is MISSING:
            return {}
        if not isinstance(value, dict):
            self.wrong(path, "must be an object", value)
            return {}
        return value

    def parts(self, value: object, path: str) -> list[tuple[str, Mapping[str, object]]]:
        """A list of objects, each with its path, or nothing."""
        if value is None or value is MISSING:
            return []
        if not isinstance(value, list):
            self.wrong(path, "must be a list", value)
            return []
        found: list[tuple[str, Mapping[str, object]]] = []
        for index, entry in enumerate(value):
            if isinstance(entry, dict):
                found.append((f"{path}[{index}]", entry))
            else:
                self.wrong(f"{path}[{index}]", "must be an object", entry)
        return found

    def word(self, value: object, path: str, default: str | None = None) -> str:
        """With a default, an empty one is a missing one: templates leave such behind."""
        if default is not None and (value is None or value is MISSING or value == ""):
            return default
        if not isinstance(value, str) or not value:
            self.wrong(path, "must be a string", None if value is MISSING else value)
            return ""
        return value

    def words(self, value: object, path: str) -> tuple[str, ...]:
        if value is None or value is MISSING:
            return ()
        if not isinstance(value, list):
            self.wrong(path, "must be a list", value)
            return ()
        return tuple(self.word(entry, f"{path}[{index}]") for index, entry in enumerate(value))

    def text_fields(self, value: object, path: str) -> dict[str, str]:
        """Labels and the like."""
        found: dict[str, str] = {}
        for name, text in self.part(value, path).items():
            if isinstance(text, str):
                found[name] = text
            else:
                self.wrong(join(path, name), "must be a string", text)
        return found

    def port(self, value: object, path: str) -> int | None:
        return self.whole(value, path, 1, 65535)
