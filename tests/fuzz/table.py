"""The text of a routing table: YAML, or JSON if it begins with `{`; then the document in it.

Read or refused by name, nothing else. What is accepted means the same when it is written and read again, read by
others (PyYAML without types, `json`), and read without our shortcut for the usual route.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from proxy.routing.decision import Decider, Policy
from proxy.routing.key import KeyReading
from proxy.routing.table import RoutingTable
from proxy.routing.text import MAX_DEPTH, TableError, parse_text
from proxy.routing.wire import read_document, read_route
from tests.fuzz.cost import cpu_limit, pumped
from tests.support.badtables import BAD_TABLES, YAML_PIECES
from tests.support.proxy import KEY, route, table

DIGESTS = table(route(KEY, [9]), keyDigest={"salt": "00ff"}, liveKeys=["0" * 24], goneKeys=["f" * 24])
_PLAIN_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NO_TEXT = re.compile("-?(?:0|[1-9][0-9]*)|true|false|null|~|", re.ASCII)  # plain, these are never text
_WORDS = """apiVersion kind version routes routingKey sandbox baseline mappings port destinations host appProtocol
authority hosts upstream name namespace liveKeys goneKeys goneRoutes services previews domain endpoint keyDigest salt"""
SCRAPS = [piece.encode() for piece in (*YAML_PIECES, *_WORDS.split())]
SCRAPS += [b'"port": ', b'{"host": "h", "port": 1}', b"null", b"false", b"1e5", b"127.1", b"::1", b"h."]


def seeds() -> Iterable[bytes]:
    for path in sorted((Path(__file__).parents[1] / "contract").glob("table-*")):
        yield path.read_bytes()
    yield b"- {routingKey: a, sandbox: s, baseline: {kind: D, namespace: n, name: x}, mappings: []}\n"
    routes = [route(KEY, [9]), route("a", [8]), route("b", [7], appProtocol="http2", authority="preserve")]
    for document in (table(), routes, [route(KEY, [9, 8]), route("a", port=1)], {"liveKeys": ["a", "b"]}, DIGESTS):
        yield json.dumps(document).encode()
        yield yaml.safe_dump(document).encode()
    yield b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    yield b"- " * MAX_DEPTH + b"a"
    for text, _ in BAD_TABLES.values():
        yield text.encode()


def check(data: bytes) -> None:
    with cpu_limit():
        value, faults = parsed(data)
    if (long := pumped(data)) is not None:
        with cpu_limit():
            long_value, long_faults = parsed(long)
            if not long_faults:
                read(long_value)
    if faults:
        assert len(faults) == 1
        check_faults(faults)
        return
    check_text(data, value)
    for document in (value, completed(value)):
        with cpu_limit():
            result = read(document)
        lenient = read(document, ignore_unknown=True)
        if isinstance(result, list):
            check_faults(result)
        else:
            check_table(document, result)
            assert isinstance(lenient, RoutingTable)
            assert lenient.document() == result.document()


def completed(value: object) -> object:
    """As a document, so that an input may be no more than a part: some routes, or some fields."""
    if isinstance(value, list):
        return {**table(), "routes": value}
    return {**table(), **value} if isinstance(value, dict) else value


def parsed(data: bytes) -> tuple[object, list[str]]:
    try:
        return parse_text(data), []
    except TableError as error:
        return None, error.faults or ["nothing \0"]


def read(document: object, *, ignore_unknown: bool = False) -> RoutingTable | list[str]:
    try:
        return read_document(document, ignore_unknown=ignore_unknown)
    except TableError as error:
        return [str(error), *error.faults] if error.faults else ["nothing \0"]


def check_faults(faults: list[str]) -> None:
    """They go to terminals and logs."""
    assert all(fault.isascii() and fault.isprintable() and len(fault) < 4000 for fault in faults)


def check_text(data: bytes, value: object) -> None:
    """Others read the same structure and the same strings. JSON: the very same value."""
    text = data.decode("utf-8-sig")
    if text.lstrip(" \t\r\n").startswith("{"):
        assert same(value, json.loads(text, object_pairs_hook=unique))
        return
    assert same(value, untyped(yaml.compose(text, Loader=_PLAIN_LOADER)))
    assert depth(value) <= MAX_DEPTH


def unique(pairs: list[tuple[object, object]]) -> dict[object, object]:
    result = dict(pairs)
    assert len(result) == len(pairs), "a field that stands twice is never accepted"
    return result


@dataclass(frozen=True, slots=True)
class Scalar:
    """One scalar of YAML: its text, and whether it stands without quotes, where it may mean something else."""

    text: str
    is_plain: bool


def untyped(node: yaml.Node) -> object:
    """What PyYAML made of it, all scalars as text; keys are strings or refused."""
    if isinstance(node, yaml.MappingNode):
        return unique([(key.value, untyped(value)) for key, value in node.value])
    if isinstance(node, yaml.SequenceNode):
        return [untyped(entry) for entry in node.value]
    return Scalar(node.value, not node.style)


def same(one: object, two: object) -> bool:
    """Whether they are equal, to the type."""
    if type(one) is dict and type(two) is dict:
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if type(one) is list and type(two) is list:
        return len(one) == len(two) and all(same(*pair) for pair in zip(one, two, strict=True))
    if isinstance(two, Scalar):
        return means(one, two)
    return type(one) is type(two) and (one == two or (one != one and two != two))


def means(value: object, scalar: Scalar) -> bool:
    """Whether the scalar means this value. Spec: YAML 1.2 section 10.3.2."""
    text = scalar.text
    if isinstance(value, str):
        return value == text and not (scalar.is_plain and _NO_TEXT.fullmatch(text))
    if not scalar.is_plain:
        return False
    if value is None:
        return text.lower() in ("", "~", "null")
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if isinstance(value, int):
        return value == int(text, 0 if text[:2] in ("0x", "0o") else 10)
    return isinstance(value, float) and (value != value or value == float(text.lower().replace(".inf", "inf")))


def depth(value: object) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def check_table(document: object, result: RoutingTable) -> None:
    written = result.document()
    again = read_document(written)
    assert again.document() == written
    assert read_document(parse_text(json.dumps(written).encode())).document() == written
    assert (again.routes, again.live, again.gone) == (result.routes, result.live, result.gone)
    assert isinstance(document, dict)
    for number, each in enumerate(document["routes"]):
        alone, faults = read_route(each, "route")
        assert not faults
        assert alone == result.routes[number], "the shortcut reads as all others do"
    places = [(route.baseline, route.routing_key) for route in result.routes]
    assert len(places) == len(set(places))
    for workload, key in places:
        reading = KeyReading(key.encode(), False, False, True, None, None, None)
        decision = Decider(workload, Policy()).decide(reading, result.view(workload), 8081)
        assert decision.kind != "baseline", "a strict request for a live route is never the baseline's"
