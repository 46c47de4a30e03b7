"""Routing keys as OpenTelemetry's Python API sees them, and the reviewed list of where we differ from it on purpose.

A difference that `understood` undoes needs no more than its line there. All others say by `concerns` which lists of
members they may touch; on every other list both must read the same. `tests/differential/test_otel_propagator.py` holds
each entry true, `tests/fuzz/key.py` looks for what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_plus

from opentelemetry.baggage import get_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.routing.key import KeyReader, KeyReading, KeySettings
from proxy.routing.names import is_routing_key

NAME = "sd-routing-key"
READER = KeyReader(KeySettings(names=(NAME.encode(),)))
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

_BAGGAGE = W3CBaggagePropagator()
_TRACE = TraceContextTextMapPropagator()


def sdk_baggage(*lines: str) -> str | None:
    """The value that a service sees for the key's name."""
    value = get_baggage(NAME, _BAGGAGE.extract({"baggage": list(lines)}))
    return None if value is None else str(value)


def sdk_tracestate(*lines: str) -> str | None:
    context = _TRACE.extract({"traceparent": [TRACEPARENT], "tracestate": list(lines)})
    return get_current_span(context).get_span_context().trace_state.get(NAME)


def outcome(reading: KeyReading) -> str | None:
    """Our key; "" where a value was found that is none."""
    if reading.key is not None:
        return reading.key.decode()
    return "" if reading.invalid else None


def our_baggage(*lines: str) -> str | None:
    return outcome(READER.read([line.encode() for line in lines], []))


def our_tracestate(*lines: str) -> str | None:
    return outcome(READER.read([], [line.encode() for line in lines]))


def understood(value: str | None, *, is_baggage: bool = True) -> str | None:
    """The SDK's value as SPEC 3 takes it: without the properties that the SDK folds in; "" where it is no key."""
    if value is None:
        return None
    if is_baggage:
        value = value.partition(";")[0].strip(" \t+")
    return value if is_routing_key(value.encode("utf-8", "replace")) else ""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One difference, with lines that show it: what we read, and what the SDK does."""

    why: str
    lines: tuple[str, ...]
    ours: str | None
    theirs: str | None
    concerns: Callable[[tuple[str, ...]], bool] | None = None  # None: `understood` undoes it


def _members(lines: tuple[str, ...]) -> list[str]:
    return [member for line in lines for member in line.split(",")]


def _means_the_name(lines: tuple[str, ...]) -> bool:
    names = (member.partition("=")[0].strip(" \t") for member in _members(lines))
    return any(name != NAME and unquote_plus(name).strip() == NAME for name in names)


_PROPERTY = re.compile(r"[ \t]*[!#$%&'*+\-.^_`|~\w]+[ \t]*(=[ \t]*[!#-+\--:<-\[\]-~]*[ \t]*)?", re.ASCII)


def _has_a_broken_property(lines: tuple[str, ...]) -> bool:
    return not all(_PROPERTY.fullmatch(part) for member in _members(lines) for part in member.split(";")[1:])


def _has_other_blanks(lines: tuple[str, ...]) -> bool:
    return any(re.search(r"[^\S \t]", unquote_plus(line)) for line in lines)


BAGGAGE_DEVIATIONS: list[Deviation] = [
    Deviation("properties are not the value; the SDK folds them in", ("sd-routing-key=abc;p=1",), "abc", "abc;p=1"),
    Deviation("so they are cut even where they come encoded", ("sd-routing-key=abc%3Bp%3D1",), "abc", "abc;p=1"),
    Deviation("whitespace before properties, likewise", ("sd-routing-key=abc ;p=1",), "abc", "abc ;p=1"),
    Deviation("a plus at the end is the SDK's own space", ("sd-routing-key=abc+%3Bp%3D1",), "abc", "abc ;p=1"),
    Deviation("a value that is no key is found; the SDK takes it", ("sd-routing-key=%zz",), "", "%zz"),
    Deviation("a plus inside is no space", ("sd-routing-key=a+c",), "", "a c"),
    Deviation(
        "a broken property breaks no member; the SDK drops it",
        ("sd-routing-key=abc;p p",),
        "abc",
        None,
        _has_a_broken_property,
    ),
    Deviation("names are not decoded (SPEC 3: match exactly)", ("sd%2Drouting-key=abc",), None, "abc", _means_the_name),
    Deviation(
        "several lines are one list; the SDK reads the first",
        ("user=alice", "sd-routing-key=abc"),
        "abc",
        None,
        lambda lines: len(lines) > 1,
    ),
    Deviation("only space and tab are trimmed", ("sd-routing-key=abc%0B",), "", "abc", _has_other_blanks),
    Deviation(
        "no limit but the head's; the SDK: 8192 bytes",
        ("sd-routing-key=abc," + "x" * 8192,),
        "abc",
        None,
        lambda lines: sum(map(len, lines)) > 8192,
    ),
    Deviation(
        "no limit of members; the SDK: 180",
        ("a=1," * 180 + "sd-routing-key=abc",),
        "abc",
        None,
        lambda lines: len(_members(lines)) > 180,
    ),
    Deviation(
        "no limit of a member; the SDK: 4096 bytes",
        ("sd-routing-key=abc;" + "p" * 4096,),
        "abc",
        None,
        lambda lines: max(map(len, _members(lines))) > 4096,
    ),
]

# On `tracestate` the SDK drops all or nothing: what is compared is a value that it gives.
TRACESTATE_DEVIATIONS: list[Deviation] = [
    Deviation(
        "of two members the first counts; the SDK drops all", ("sd-routing-key=abc,sd-routing-key=abd",), "abc", None
    ),
    Deviation("a broken member breaks itself only; the SDK drops all", ("sd-routing-key=abc,BROKEN",), "abc", None),
    Deviation("a value with whitespace before it is found and no key", ("sd-routing-key= abc",), "", " abc"),
    Deviation("a value that is no key is found", ("sd-routing-key=a;b",), "", "a;b"),
    Deviation(
        "no limit of members; the SDK: 32",
        ("sd-routing-key=abc" + "".join(f",k{n}=1" for n in range(32)),),
        "abc",
        None,
    ),
]


def check_baggage(*lines: str) -> None:
    """Both read the same, or a deviation says why not."""
    if not any(deviation.concerns is not None and deviation.concerns(lines) for deviation in BAGGAGE_DEVIATIONS):
        ours, theirs = our_baggage(*lines), understood(sdk_baggage(*lines))
        assert ours == theirs, (lines, ours, theirs)


def check_tracestate(*lines: str) -> None:
    """Where the SDK gives a value, so do we, and the same."""
    theirs = understood(sdk_tracestate(*lines), is_baggage=False)
    if theirs is not None:
        assert our_tracestate(*lines) == theirs, lines
