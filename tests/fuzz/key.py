"""The routing key in `baggage`, `tracestate` and a plain header: lines `name: value`, ended by LF.

The reader with its shortcuts must come to what a slow, plain reading comes to, and to what OpenTelemetry's propagator
hands to the service behind us, save for the reviewed deviations.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from proxy.routing import baggage, tracestate
from proxy.routing.baggage import joined_lines, processed
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import is_routing_key
from tests.fuzz.cost import cpu_limit, pumped
from tests.support.keys import PIECES, parts, plain_reading
from tests.support.otel import BAGGAGE_DEVIATIONS, TRACESTATE_DEVIATIONS, check_baggage, check_tracestate

logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it warns of every fault that it is given

_HEADER = b"x-key"
SCRAPS = [*PIECES, b"\nbaggage:", b"\ntracestate:", b"\nx-key:", b"sd-strict=1,", b"sd-sandbox=", b" ;p=1", b"%2B"]
READERS = [
    KeyReader(KeySettings()),
    KeyReader(KeySettings(names=(b"k", b"key", b"a.key"), headers=(_HEADER,))),
    KeyReader(KeySettings(names=(b"abc",), headers=(b"x-other", _HEADER))),
]


def seeds() -> Iterable[bytes]:
    for deviation in BAGGAGE_DEVIATIONS:
        if sum(map(len, deviation.lines)) < 1000:
            yield "".join(f"baggage: {line}\n" for line in deviation.lines).encode()
    for deviation in TRACESTATE_DEVIATIONS:
        yield "".join(f"tracestate: {line}\n" for line in deviation.lines).encode()
    yield b"baggage: user=ann,sd-routing-key=old,sd-routing-key=qwblp48fpmb30\n"
    yield b"baggage: a=b ,\tsd-sandbox = %61bc;p=1\nbaggage: sd-strict=1\ntracestate: sd-routing-key=abd\n"
    yield b"x-key: abc \nx-key:\tabd\nx-key: abc\n"
    yield b"baggage: sd-routing-key=abc%3bp%3d1,a=%2B\n"
    yield b"x-key: abc\nbaggage: k=a,key=b\ntracestate: a.key=c, k=1\n"


def check(data: bytes) -> None:
    lines, states, fields = parted(data)
    for reader in READERS:
        names, headers = reader.settings.names, reader.settings.headers
        with cpu_limit():
            reading = reader.read(lines, states, fields)
        plain = plain_reading(lines, states, names, fields, headers)
        assert (reading.key, reading.invalid, reading.ambiguous, reading.strict) == plain
        assert reading.key is None or is_routing_key(reading.key)
        assert (reading.value is None) == (reading.header is None) == (reading.key is None and not reading.invalid)
        joined, joined_states = joined_lines(lines), joined_lines(states)
        if joined is not None and joined_states is not None:
            assert parts(reader.read([joined], [joined_states], fields)) == parts(reading), "joining keeps the reading"
            for one, several in ((joined, lines), (joined_states, states)):
                assert members(one) == [member for line in several for member in members(line)]
    check_baggage(b",".join(lines).decode("latin-1"))
    check_tracestate(*(line.decode("latin-1") for line in states))
    if (long := pumped(data)) is not None:
        lines, states, fields = parted(long)
        with cpu_limit():
            for reader in READERS:
                reader.read(lines, states, fields)
            joined_lines(lines)
            for line in (*lines, *states):
                processed(line)
            assert all(member.raw for member in (*baggage.members(lines), *tracestate.members(states)))


def parted(data: bytes) -> tuple[list[bytes], list[bytes], list[tuple[bytes, bytes]]]:
    """The values of `baggage` and of `tracestate`, and plain headers, as the codec hands them on."""
    found: dict[bytes, list[bytes]] = {b"baggage": [], b"tracestate": [], _HEADER: []}
    for line in data.split(b"\n"):
        name, _, value = line.partition(b":")
        if name in found:
            found[name].append(value.strip(b" \t"))
    return found[b"baggage"], found[b"tracestate"], [(_HEADER, value) for value in found[_HEADER]]


def members(line: bytes) -> list[bytes]:
    """By the list's own rule: what stands between commas, trimmed, if anything does."""
    return [part for part in (part.strip(b" \t") for part in line.split(b",")) if part]
