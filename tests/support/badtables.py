"""Table files that must be refused, each with the faults that are told, by the place in the document."""

from __future__ import annotations

import json

from tests.support.proxy import KEY, WORKLOAD, route, table


def _two_mappings() -> dict[str, object]:
    spoiled = route(KEY, [9])
    mapping = {"port": 8081, "destinations": []}
    return {**spoiled, "mappings": [mapping, {**mapping, "port": 8082}, mapping]}


def _without(document: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in document.items() if key != name}


_DOCUMENTS: dict[str, tuple[dict[str, object], list[str]]] = {
    "no version": (_without(table(), "version"), ["version: missing"]),
    "no sandbox": (table(route("a"), _without(route("b"), "sandbox")), ["routes[1].sandbox: missing"]),
    "another kind": (table(kind="Sandbox"), ["kind: must be RoutingTable, is 'Sandbox'"]),
    "unknown field": (table(defaultRoute="x"), ["defaultRoute: unknown field"]),
    "unknown field within": (table(route(KEY, weight=5)), ["routes[0].mappings[0].weight: unknown field"]),
    "wrong type": (table(routes={}), ["routes: must be a list ([] for none), is an object"]),
    "number for text": (table(version=5), ["version: must be a string: quote it, is 5"]),  # type: ignore[arg-type]
    "bad key": (
        table(route("-a")),
        ["routes[0].routingKey: must be 1-63 of A-Z a-z 0-9 . _ -, first and last alphanumeric, is '-a'"],
    ),
    "bad gone key": (
        table(goneKeys=["a", ""]),
        ["goneKeys[1]: must be 1-63 of A-Z a-z 0-9 . _ -, first and last alphanumeric, is ''"],
    ),
    "workload and key twice": (
        table(route(KEY), route("a"), route(KEY, sandbox="other")),
        [f"routes[2]: {WORKLOAD} has a route for '{KEY}' already: routes[0]"],
    ),
    "port twice": (
        table(_two_mappings()),
        ["routes[0].mappings[2].port: 8081 is mapped already: routes[0].mappings[0]"],
    ),
    "port 0": (table(route(KEY, port=0)), ["routes[0].mappings[0].port: must be an integer in 1-65535, is 0"]),
    "port 65536": (
        table(route(KEY, [9, 65536])),
        ["routes[0].mappings[0].destinations[1].port: must be an integer in 1-65535, is 65536"],
    ),
    "two faults": (
        table(route("a"), {**route("b", port=0), "sandbox": "a b"}),
        [
            "routes[1].sandbox: must be 1-253 of A-Z a-z 0-9 . _ / -, is 'a b'",
            "routes[1].mappings[0].port: must be an integer in 1-65535, is 0",
        ],
    ),
}
_TEXTS: dict[str, tuple[str, list[str]]] = {
    "empty": ("", ["is empty"]),
    "not YAML": ("routes: [\n}", ["line 2 column 1: not YAML: "]),
    "not JSON": ('{"routes": ]', ["line 1 column 12: not JSON: Expecting value"]),
    "half a file": (json.dumps(table(route(KEY, [9])))[:-30], ["line 1 column "]),
    "no object": ("hello", ["document: must be an object, is 'hello'"]),
}

# By name: the file's text, and the beginning of each fault.
BAD_TABLES: dict[str, tuple[str, list[str]]] = {
    **_TEXTS,
    **{name: (json.dumps(document), faults) for name, (document, faults) in _DOCUMENTS.items()},
}


def are_these(faults: list[str], beginnings: list[str]) -> bool:
    """Whether each fault, in order, is one line and begins as expected."""
    return len(faults) == len(beginnings) and all(
        fault.startswith(beginning) and "\n" not in fault for fault, beginning in zip(faults, beginnings, strict=True)
    )


# Pieces that matter to YAML's grammar.
YAML_PIECES = [
    "a",
    "b",
    ": ",
    "- ",
    "\n",
    "  ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "'",
    '"',
    "|",
    ">",
    "#",
    "&x",
    "*x",
    "!t",
    "? ",
]
YAML_PIECES += [
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "1",
    "~",
    "true",
    ".inf",
    "0x",
    "\t",
    "\x00",
    "\x85",
    "\ufeff",
    "ä",
    "\\",
]
