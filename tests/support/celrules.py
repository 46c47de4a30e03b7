"""The validation rules of CustomResourceDefinitions that are written in CEL, which a server before 1.25 does not know.

    rules = CelRules(folder of definitions)
    rules.broken(object as the server has it, with its defaults)      -> ["spec.rules[0]: what the rule says", ...]

Rules on a change (`oldSelf`) are left out. Names that mean something in CEL are escaped as Kubernetes does
(kubernetes.io, "Custom Resources", "Validation expression").
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]

_RESERVED = frozenset(
    {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"}
    | {"let", "loop", "package", "namespace", "return", "var", "void", "while"}
)


MISSING = (
    None
    if find_spec("cel_expr_python") is not None
    else "cel-expr-python is not installed: validation rules in CEL are not read"
)


class CelRules:
    """Of all definitions in a folder."""

    def __init__(self, folder: Path) -> None:
        from cel_expr_python import cel

        environment = cel.NewEnv(variables={"self": cel.Type.DYN})
        self._compiled = functools.cache(environment.compile)
        self._schemas: dict[tuple[str, str], Schema] = {}
        for path in sorted(folder.glob("*.yaml")):
            for definition in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader):
                if definition is not None:
                    self._add(definition["spec"])

    def _add(self, spec: Schema) -> None:
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            self._schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema

    def broken(self, document: Schema) -> list[str]:
        """Of an object that no definition is for: none."""
        return list(self._broken(self._schemas.get((document["apiVersion"], document["kind"]), {}), document, ""))

    def _broken(self, schema: Schema, value: Any, path: str) -> Iterator[str]:
        for rule in schema.get("x-kubernetes-validations", ()):
            if "oldSelf" not in rule["rule"]:
                holds = self._compiled(rule["rule"]).eval(data={"self": _escaped(schema, value)}).plain_value()
                if holds is not True:
                    yield f"{path}: {rule.get('message', rule['rule'])}"
        if isinstance(value, list):
            for index, entry in enumerate(value):
                yield from self._broken(schema.get("items", {}), entry, f"{path}[{index}]")
        elif isinstance(value, dict):
            properties, others = schema.get("properties", {}), schema.get("additionalProperties")
            for name, entry in value.items():
                inner = properties.get(name, others if isinstance(others, dict) else {})
                yield from self._broken(inner, entry, f"{path}.{name}" if path else name)


def _escaped(schema: Schema, value: Any) -> Any:
    """The value as a rule sees it. Keys of maps stay as they are, names of fields do not."""
    if isinstance(value, list):
        return [_escaped(schema.get("items", {}), entry) for entry in value]
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    return {
        _name(name) if name in properties else name: _escaped(
            properties.get(name, others if isinstance(others, dict) else {}), entry
        )
        for name, entry in value.items()
    }


def _name(name: str) -> str:
    if name in _RESERVED:
        return f"__{name}__"
    for character, word in (("__", "underscores"), (".", "dot"), ("-", "dash"), ("/", "slash")):
        name = name.replace(character, f"__{word}__")
    return name
