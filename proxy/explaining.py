"""What a router says of a request beside what a sidecar does: whose it is, and whether its caller may call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from proxy.errors import CALLER_NOT_ALLOWED
from proxy.places import NO_PREVIEW_DECISION, PREVIEWS, Place, PreviewPlaces
from proxy.preview.head import with_member
from proxy.routing.callers import IDENTITY_FIELD, Callers, identity_of
from proxy.routing.decision import CALLER_DECISION, Decision
from proxy.routing.explain import Arrival, Explanation, RoutingInputs, explain, routing_inputs
from proxy.routing.key import KeyReader
from proxy.routing.previews import PreviewHost
from proxy.routing.view import WorkloadView

Fields = Sequence[tuple[bytes, bytes]]


def explain_at(
    place: Place | Decision,
    fields: Fields,
    reader: KeyReader,
    host: bytes | None,
    previews: PreviewPlaces | None = None,
    version: str | None = None,
) -> Explanation:
    """The explanation of a request that arrives at the place, or nowhere. `host`: by which a router found it.

    `version`: of the table in force. A view that the last changes did not touch has the version of before them.
    """
    inputs = routing_inputs(fields, reader.settings)
    if isinstance(place, Decision):
        preview = previews.hosts.find(host) if previews is not None and host is not None else None
        if previews is not None and preview is not None and host is not None:
            return _explain_preview(previews, preview, fields, reader, host, version)
        steps = (f"{_named(host or b'')}: {place.reason.text}",)
        return explain(inputs, reader, None, None, 0, arrival=Arrival(host or b"", steps, place))
    arrival = None if host is None else _arrival(place, fields, host)
    return explain(inputs, reader, place.decider, None, place.number, _view(place, version), arrival)


def _view(place: Place, version: str | None) -> WorkloadView | None:
    view = place.view
    return view if view is None or version is None or view.version == version else replace(view, version=version)


def _explain_preview(
    previews: PreviewPlaces, preview: PreviewHost, fields: Fields, reader: KeyReader, host: bytes, version: str | None
) -> Explanation:
    """Of a preview's request, once its sender is let in."""
    inputs = routing_inputs(fields, reader.settings)
    place = previews.find(preview.upstream) if preview.upstream is not None else None
    refusal = previews.why_dead(preview.key) if preview.key else NO_PREVIEW_DECISION
    if place is None or refusal is not None:
        decision = refusal if refusal is not None else NO_PREVIEW_DECISION
        return explain(
            inputs, reader, None, None, 0, arrival=Arrival(host, (f"{_named(host)}: {decision.reason.text}",), decision)
        )
    names = reader.settings.names
    member = names[0] + b"=" + preview.key
    baggage = with_member(inputs.baggage, names, member, is_first=False)
    tracestate = with_member(inputs.tracestate, names, member, is_first=True)
    inputs = RoutingInputs(tuple(filter(None, baggage)), tuple(filter(None, tracestate)), (), inputs.hops)
    named = f"{_named(host)} is a preview of {preview.upstream} under key {preview.key.decode()}, for who is let in"
    if place.decider.workload == PREVIEWS:
        steps: tuple[str, ...] = (
            named,
            "no service lists that host: on to it, for the sidecars or the mesh there to route",
        )
        return explain(inputs, reader, place.decider, None, place.number, _view(place, version), Arrival(host, steps))
    arrival = _arrival(place, fields, host)
    arrival = Arrival(host, (named, *arrival.steps), arrival.refusal)
    return explain(inputs, reader, place.decider, None, place.number, _view(place, version), arrival)


def _arrival(place: Place, fields: Fields, host: bytes) -> Arrival:
    baseline = ", ".join(map(str, place.baseline))
    found = f"{_named(host)} is {place.decider.workload} port {place.number}, its baseline at {baseline}"
    if place.callers is None:
        return Arrival(host, (found,))
    values = [value for name, value in fields if name.lower() == IDENTITY_FIELD]
    identity = identity_of(values)
    refusal = None if place.callers.include(identity) else CALLER_DECISION
    step = _caller_step(place.callers, values, identity, is_refused=refusal is not None)
    return Arrival(host, (found, step), refusal)


def _caller_step(callers: Callers, values: Iterable[bytes], identity: str | None, *, is_refused: bool) -> str:
    who = identity or ("nobody who can be told" if any(values) else "absent")
    result = f"not one of them: {CALLER_NOT_ALLOWED}" if is_refused else "one of them, if it comes by --identity-from"
    return f"callers {', '.join(callers.texts) or 'none'}; x-forwarded-client-cert is {who}, {result}"


def _named(host: bytes) -> str:
    return f"host {ascii(host[:200])[2:-1]}" if host else "no host"
