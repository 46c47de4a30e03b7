"""Why a request goes where it goes, in steps that a person can follow.

Nothing is decided here: the key comes from the very `KeyReader` and the decision from the very `Decider` that serve
requests, members are listed by the parsers that they use. This only puts words to their results. Header values come
from anyone, so they are shown escaped and cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from proxy.errors import AMBIGUOUS_KEY, LOOP
from proxy.routing import baggage, tracestate
from proxy.routing.decision import Decider, Decision, decision_text
from proxy.routing.key import STRICT_NAME, KeyReader, KeyReading, KeySettings
from proxy.routing.names import Workload, is_routing_key
from proxy.routing.table import RoutingTable
from proxy.routing.view import WorkloadView

HOP_FIELD: Final = b"pointsman-hop"
_MAX_SHOWN: Final = 200
_MAX_MEMBERS: Final = 256


class RoutingInputs(NamedTuple):
    """The fields of a request that routing looks at, line by line, in order of arrival."""

    baggage: tuple[bytes, ...]
    tracestate: tuple[bytes, ...]
    key_fields: tuple[tuple[bytes, bytes], ...]
    hops: tuple[bytes, ...]


def head_fields(head: bytes) -> list[tuple[bytes, bytes]] | int:
    """The field lines of a head as (name, value), or the number of the first one that has no colon: with or without its
    request line, or with HTTP/2's pseudo-headers; any line ends."""
    lines = head.replace(b"\r\n", b"\n").lstrip(b"\n").split(b"\n")  # as in requests, empty lines first are nothing
    name, colon, _ = lines[0].partition(b":")
    if not colon or b" " in name:  # the request line: no field's name has a blank
        lines = lines[1:]
    while lines and lines[0].startswith(b":"):  # HTTP/2's pseudo-headers, which are first
        lines = lines[1:]
    fields: list[tuple[bytes, bytes]] = []
    for number, line in enumerate(lines, 1):
        if not line:
            break
        name, colon, value = line.partition(b":")
        if not colon:
            return number
        fields.append((name, value.strip(b" \t")))
    return fields


def head_authority(head: bytes) -> bytes:
    """The Host or `:authority` of a head; empty if it names none."""
    lines = head.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")[0].split(b"\n")
    for name in (b":authority:", b"host:"):
        for line in lines:
            if line[: len(name)].lower() == name:
                return line[len(name) :].strip(b" \t")
    return b""


def routing_inputs(fields: Iterable[tuple[bytes, bytes]], settings: KeySettings) -> RoutingInputs:
    """The routing fields among a head's (name, value) pairs; names in any case."""
    lines: dict[bytes, list[bytes]] = {b"baggage": [], b"tracestate": [], HOP_FIELD: []}
    key_fields = []
    for name, value in fields:
        lower = name.lower()
        if lower in lines:
            lines[lower].append(value)
        elif lower in settings.headers:
            key_fields.append((lower, value))
    return RoutingInputs(
        tuple(lines[b"baggage"]), tuple(lines[b"tracestate"]), tuple(key_fields), tuple(lines[HOP_FIELD])
    )


@dataclass(frozen=True, slots=True)
class MemberLine:
    """One member of a list header, or one plain header. `state`: decides, counts, ignored or broken."""

    header: str
    occurrence: int  # of this name in this header, from 1
    text: str
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision, and all that led to it. Texts are printable ASCII."""

    workload: str
    port: int
    table_version: str | None
    members: tuple[MemberLine, ...]
    header: str | None
    name: str | None
    value: str | None
    key: str | None
    strict: bool
    ambiguous: bool
    known: str  # what the table knows of the key
    destinations: tuple[str, ...]
    app_protocol: str | None
    authority: str | None
    decision: str  # what the decision header says
    goes_to: str  # sandbox, baseline, none
    sandbox: str | None
    reason: str
    reason_text: str
    note: str | None
    status: int
    grpc_status: int | None  # in place of `status`, if the request is a gRPC call
    steps: tuple[str, ...]
    host: str | None = None  # by which a router chose the workload; None: a sidecar, which has one

    def to_dict(self) -> dict[str, object]:
        """As JSON-ready values."""
        return asdict(self)

    def to_text(self) -> str:
        """For a terminal: the outcome first, then the steps, then the members."""
        if self.status:
            outcome = f"answered with {self.status}"
        else:
            outcome = f"forwarded to {self.goes_to}" + (f" {self.sandbox}" if self.sandbox else "")
        where = f"{self.workload} port {self.port}" if self.workload else f"host {self.host or 'none'}"
        lines = [f"{where}: {outcome} ({self.reason}: {self.reason_text})"]
        lines += [f"  {number}. {step}" for number, step in enumerate(self.steps, 1)]
        if self.members:
            lines.append("members:")
            lines += [
                f"  {member.header}: {member.text}  [{member.state}{': ' + member.why if member.why else ''}]"
                for member in self.members
            ]
        return "\n".join(lines) + "\n"


class Arrival(NamedTuple):
    """How a router came to the workload: by which host, in which steps; and if it did not get that far, the refusal."""

    host: bytes
    steps: tuple[str, ...]
    refusal: Decision | None = None


def explain(
    inputs: RoutingInputs,
    reader: KeyReader,
    decider: Decider | None,
    table: RoutingTable | None,
    port: int,
    view: WorkloadView | None = None,
    arrival: Arrival | None = None,
) -> Explanation:
    """The explanation of a request with these inputs at the workload's `port`.

    `view` is the one that requests are decided with; left out, it is the table's, without the proxy's own memory.
    Without a `decider` nobody's request is explained, by the `arrival`'s refusal.
    """
    if view is None and table is not None and decider is not None:
        view = table.view(decider.workload)
    reading = reader.read(inputs.baggage, inputs.tracestate, inputs.key_fields)
    known = _known(reading, view, port)
    if arrival is not None and arrival.refusal is not None:
        decision = arrival.refusal
        steps = [*arrival.steps, f"decision: {_outcome(decision)}"]
    else:
        assert decider is not None
        decision = decider.decide(reading, view, port, inputs.hops)
        steps = [*(arrival.steps if arrival is not None else ())]
        steps += _steps(inputs, reading, decider.workload, view, known, decision)
    mapping = decision.mapping
    return Explanation(
        workload=str(decider.workload) if decider is not None else "",
        port=port,
        table_version=view.version if view is not None else None,
        members=tuple(_member_lines(inputs, reading, reader.settings)),
        header=reading.header,
        name=None if reading.name is None else _shown(reading.name),
        value=None if reading.value is None else _shown(reading.value),
        key=None if reading.key is None else _shown(reading.key),
        strict=reading.strict,
        ambiguous=reading.ambiguous,
        known=known,
        destinations=() if mapping is None else tuple(str(endpoint) for endpoint in mapping.destinations),
        app_protocol=None if mapping is None else mapping.app_protocol,
        authority=None if mapping is None else mapping.authority,
        decision=decision_text(decision.kind, decision.sandbox, decision.reason, decision.note),
        goes_to=decision.kind,
        sandbox=decision.sandbox,
        reason=decision.reason.name,
        reason_text=decision.reason.text,
        note=None if decision.note is None else decision.note.name,
        status=decision.status,
        grpc_status=decision.reason.grpc_status if decision.status else None,
        steps=tuple(steps),
        host=None if arrival is None else _shown(arrival.host),
    )


def _steps(
    inputs: RoutingInputs,
    reading: KeyReading,
    workload: Workload,
    view: WorkloadView | None,
    known: str,
    decision: Decision,
) -> Iterator[str]:
    plain = f", {len(inputs.key_fields)} configured key header(s)" if inputs.key_fields else ""
    yield f"read {len(inputs.baggage)} baggage line(s), {len(inputs.tracestate)} tracestate line(s){plain}"
    if inputs.hops:
        hops = _shown(b", ".join(inputs.hops))
        met = "met" if decision.reason is LOOP else "did not meet"
        yield f"pointsman-hop {hops}: the request {met} the proxy of {workload} before"
    yield f"key: {_key_step(reading)}"
    if reading.ambiguous:
        yield "the deciding name stands with two different values: ambiguous"
    if reading.strict:
        yield "strict: no silent baseline is accepted (sd-strict)"
    yield "table: none received yet" if view is None else f"table {view.version!a}: {known}"
    yield f"decision: {_outcome(decision)}"


def _key_step(reading: KeyReading) -> str:
    if reading.value is None:
        return "none: no header that is read names one"
    what = _shown(reading.value)
    source = reading.header if reading.name is None else f"{reading.header} member {_shown(reading.name)}"
    if reading.key is not None:
        found = _shown(reading.key)
    elif reading.name is None and is_routing_key(reading.value):
        found = "another line of it has another value, so this is no routing key"
    else:
        found = "the value is no routing key"
    return f"{source} decides, its value {what!r}: {found}"


def _known(reading: KeyReading, view: WorkloadView | None, port: int) -> str:
    """What the view holds on the key, in words."""
    key = reading.key
    if key is None or view is None:
        return "no key to look up" if view is not None else "no table"
    known = view.routes.get(key)
    if known is not None:
        ports = ", ".join(str(mapping.port) for mapping in known.route.mappings) or "no port"
        return f"live key, sandbox {known.route.sandbox} forks this workload, mapped: {ports} (asked: {port})"
    name = view.name_of(key)
    digest = f" (known by its digest {name.decode()})" if name != key else ""
    if name in view.live:
        taken = view.has_lost_route(key)
        what = "its route was taken away within the hour" if taken else "no route for this workload"
        return f"live key, {what}{digest}"
    if name in view.gone:
        return f"gone key (by the table){digest}"
    return f"gone key (it left this proxy's table){digest}" if name in view.remembered else "unknown key"


def _outcome(decision: Decision) -> str:
    reason = decision.reason.name
    note = f", note {AMBIGUOUS_KEY.name}" if decision.note is not None else ""
    if decision.status:
        return f"answer {decision.status}, {reason}{note}: {decision.reason.text}"
    if decision.kind == "baseline":
        return f"baseline, {reason}{note}: {decision.reason.text}"
    mapping = decision.mapping
    where = ", ".join(str(endpoint) for endpoint in mapping.destinations) if mapping is not None else "nowhere"
    return f"sandbox {decision.sandbox} at {where}, {reason}{note}"


def _member_lines(inputs: RoutingInputs, reading: KeyReading, settings: KeySettings) -> Iterator[MemberLine]:
    shown = 0
    for header, parsed in (
        ("baggage", list(baggage.members(inputs.baggage))),
        ("tracestate", list(tracestate.members(inputs.tracestate))),
    ):
        decides = _deciding_place(header, parsed, reading)
        seen: dict[bytes, int] = {}
        for place, member in enumerate(parsed):
            shown += 1
            if shown > _MAX_MEMBERS:
                return
            seen[member.name] = occurrence = seen.get(member.name, 0) + 1
            state, why = _member_state(header, place, member, decides, reading, settings)
            yield MemberLine(header, occurrence, _shown(member.raw), state, why)
    for header_name, value in inputs.key_fields:
        name = header_name.decode("ascii", "replace")
        decides_here = reading.header == name
        yield MemberLine(name, 1, _shown(value), "decides" if decides_here else "ignored", "a configured key header")


def _deciding_place(header: str, parsed: Sequence[baggage.Member], reading: KeyReading) -> int | None:
    """Where in the list the member stands that decided: the last in baggage, the first in tracestate."""
    if reading.header != header:
        return None
    places = [place for place, member in enumerate(parsed) if member.fault is None and member.name == reading.name]
    if not places:
        return None
    return places[-1] if header == "baggage" else places[0]


def _member_state(
    header: str,
    place: int,
    member: baggage.Member,
    decides: int | None,
    reading: KeyReading,
    settings: KeySettings,
) -> tuple[str, str]:
    if member.fault is not None:
        return "broken", member.fault
    if member.name == STRICT_NAME:
        return "counts", "asks for strict routing unless empty or 0"
    if member.name not in settings.names:
        return "ignored", "not a key name"
    if place == decides:
        which = "last" if header == "baggage" else "first"
        return "decides", f"the {which} member of the first name found"
    if member.name == reading.name and header == reading.header:
        return "ignored", f"another member of this name counts: {'the last' if header == 'baggage' else 'the first'}"
    return "ignored", f"{reading.header} {_shown(reading.name or b'')} has precedence".rstrip()


def _shown(value: bytes) -> str:
    """Printable ASCII, escaped, cut: it goes to terminals and logs."""
    text = ascii(value[: _MAX_SHOWN + 1])[2:-1]
    return text if len(value) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
