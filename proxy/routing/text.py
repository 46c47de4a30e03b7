"""The text of a routing table to plain objects: JSON, or the part of YAML that a table needs.

JSON where the first character is `{`, else YAML. Both are read strictly, because a table that is misread sends tests to
the wrong place:

- a field that stands twice in one object is a fault (parsers keep the last silently);
- YAML is read by the core schema of YAML 1.2 (section 10.3.2), where `no` is text and only `true`/`false` are booleans;
  anchors, aliases, tags, several documents and keys that are no strings are faults, so neither "billion laughs" nor
  surprises of type exist;
- UTF-8 without NUL, at most `MAX_BYTES`; nested at most `MAX_DEPTH` deep (JSON: as deep as Python's parser goes).

YAML's objects are built from libyaml's events directly: PyYAML's own composer and constructor double the time.
It is imported when the first YAML arrives.

Cost: about 60 us per route of YAML, 12 us of JSON.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from proxy.routing.faults import TableError, excerpt

if TYPE_CHECKING:
    from yaml import ScalarEvent

__all__ = ["MAX_BYTES", "MAX_DEPTH", "TableError", "parse_text"]

MAX_BYTES: Final = 256 << 20  # ten times 100,000 routes of JSON with generous names
MAX_DEPTH: Final = 32  # a table needs 7
_BOM: Final = b"\xef\xbb\xbf"
_JSON: Final = re.compile(rb"[ \t\r\n]*\{")


def parse_text(data: bytes) -> object:
    """The text's value, of dict, list, str, int, float, bool and None.

    Raises: TableError with one fault that names line and column, where the parser tells.
    """
    if len(data) > MAX_BYTES:
        raise TableError([f"must be at most {MAX_BYTES >> 20} MiB, is {len(data) >> 20} MiB"])
    data = data.removeprefix(_BOM)
    if not data.strip():
        raise TableError(["is empty"])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TableError(
            [f"{_place(data, error.start)}: must be UTF-8, byte 0x{data[error.start]:02x} is not"]
        ) from None
    if (nul := data.find(b"\0")) >= 0:
        raise TableError([f"{_place(data, nul)}: must be text, holds NUL"])
    return _parse_json(text) if _JSON.match(data) else _parse_yaml(text)


def _place(data: bytes, position: int) -> str:
    line_start = data.rfind(b"\n", 0, position) + 1
    line = data.count(b"\n", 0, position) + 1
    return f"line {line} column {position - line_start + 1}"


# --- JSON (RFC 8259) -----------------------------------------------------------------------------------------------


def _parse_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_unique_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise TableError([f"line {error.lineno} column {error.colno}: not JSON: {error.msg}"]) from None
    except ValueError:  # int() limits the digits that it converts
        raise TableError(["not JSON: a number with too many digits"]) from None
    except RecursionError:
        raise TableError(["not JSON that is read: nested too deep"]) from None


def _unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise TableError([f"field {excerpt(name)} stands twice in one object"])
            seen.add(name)
    return result


def _refuse_constant(name: str) -> None:
    raise TableError([f"not JSON: {name}"])


# --- YAML (1.2, a subset) ------------------------------------------------------------------------------------------

# YAML 1.2 section 10.3.2. Only plain scalars are looked at; quoted and block scalars are strings.
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TRUES: Final = frozenset(("true", "True", "TRUE"))
_FALSES: Final = frozenset(("false", "False", "FALSE"))
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_NUMBER_START: Final = frozenset("0123456789+-.")
_MAX_DIGITS: Final = 40
_BASES: Final = {"0o": 8, "0x": 16}


class _Unset:
    """Stands where a mapping waits for its next key."""


_NO_KEY: Final = _Unset()


def _parse_yaml(text: str) -> object:
    import yaml  # late: users of JSON, and the feed, never pay for it

    # The loaders are used as parsers only: their constructors are never called.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        parser = loader(text)
        try:
            return _build(parser, yaml)
        finally:
            parser.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise TableError([f"{_mark_place(mark)}: not YAML: {_plain(problem)}" if mark else _plain(problem)]) from None
    except yaml.YAMLError as error:  # the reader's: a character that YAML forbids
        raise TableError([f"not YAML: {_plain(str(error))}"]) from None


def _build(parser: Any, yaml: Any) -> object:
    """The one document's value, from the parser's events. No recursion: open collections stand on a stack."""
    scalar, mapping_start, sequence_start = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
    mapping_end, sequence_end = yaml.MappingEndEvent, yaml.SequenceEndEvent
    next_event = parser.get_event
    next_event()  # StreamStartEvent
    event = next_event()
    if type(event) is yaml.StreamEndEvent:
        raise TableError(["is empty: only comments"])

    root: list[object] = []
    container: Any = root  # the innermost open collection
    key: Any = _NO_KEY  # the key whose value is next, where `container` is a mapping
    stack: list[tuple[Any, Any]] = []  # the collections around it, each with the key that waits there
    while True:
        event = next_event()
        kind = type(event)
        if kind is scalar:
            if event.anchor is not None or event.tag is not None:
                _refuse_properties(event)
            if type(container) is list:
                container.append(_scalar_value(event))
            elif key is _NO_KEY:
                key = _scalar_value(event)
                if type(key) is not str:
                    raise _fault(event, f"a key must be a string: quote {excerpt(event.value)}")
                if key in container:
                    raise _fault(event, f"field {excerpt(key)} stands twice in one object")
            else:
                container[key] = _scalar_value(event)
                key = _NO_KEY
        elif kind is mapping_start or kind is sequence_start:
            if event.anchor is not None or event.tag is not None:
                _refuse_properties(event)
            opened: Any = {} if kind is mapping_start else []
            if type(container) is list:
                container.append(opened)
            elif key is _NO_KEY:
                raise _fault(event, "a key must be a string")
            else:
                container[key] = opened
            if len(stack) >= MAX_DEPTH:
                raise _fault(event, f"must be nested at most {MAX_DEPTH} deep")
            stack.append((container, key))
            container, key = opened, _NO_KEY
        elif kind is mapping_end or kind is sequence_end:
            container, key = stack.pop()
            if type(container) is dict:
                key = _NO_KEY
        elif kind is yaml.AliasEvent:
            raise _fault(event, "aliases are not read")
        else:  # DocumentEndEvent
            break
    event = next_event()
    if type(event) is not yaml.StreamEndEvent:
        raise _fault(event, "must be one document, a second begins")
    return root[0]


def _scalar_value(event: ScalarEvent) -> object:
    value: str = event.value
    if not event.implicit[0]:  # quoted, or a block: a string whatever it looks like
        return value
    if value[:1] in _NUMBER_START:
        if _INTEGER.fullmatch(value):
            if len(value) > _MAX_DIGITS:
                raise _fault(event, "a number with too many digits: quote it")
            return int(value[2:], base) if (base := _BASES.get(value[:2])) else int(value)
        if _FLOAT.fullmatch(value):
            return float(value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    elif value in _NULLS:
        return None
    elif value in _TRUES:
        return True
    elif value in _FALSES:
        return False
    return value


def _refuse_properties(event: Any) -> None:
    what = "anchors" if event.anchor is not None else "tags"
    raise _fault(event, f"{what} are not read")


def _fault(event: Any, text: str) -> TableError:
    return TableError([f"{_mark_place(event.start_mark)}: {text}"])


def _mark_place(mark: Any) -> str:
    return f"line {mark.line + 1} column {mark.column + 1}"


def _plain(problem: str) -> str:
    """A parser's own words in one line of ASCII, short: they may quote the input."""
    return excerpt(" ".join(problem.split()), 80)[1:-1]
