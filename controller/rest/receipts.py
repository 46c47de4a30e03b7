"""Whether it is live everywhere, and who answered: receipts, traffic, proxies.

A receipt waits for what proxies say, without polling. Before it says that all is live it has the counts reported that
belong to the time before, so that `verify` since now is not troubled by them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from aiohttp import web

from controller.engine import Engine
from controller.errors import NotFound
from controller.feed.hub import Hub, Lost, Name, name_of
from controller.feed.progress import Progress
from controller.feed.subscription import Subscription
from controller.feed.traffic import KEPT, Answered, Gap
from controller.objects import PLURALS, Ref
from controller.rest.bodies import known_query
from controller.rest.objects import document, found_object, ref_of
from controller.rest.operations import Answer, Operation, Parameter
from controller.rest.problems import Problem
from controller.rest.services import sees, sees_all, services, synced_engine
from controller.times import DURATION_RULE, TIMESTAMP_RULE, parse_duration, parse_timestamp, timestamp
from proxy.feed.messages import ROUTER, SIDECAR
from proxy.routing.names import Workload

_LONGEST_S: Final = 300.0
_FLUSH_S: Final = 3.0
_GATHER_S: Final = 0.01
_DEFAULT_SINCE: Final = "1h"


# --- receipts --------------------------------------------------------------------------------------------------------


async def _receipt(kind: str, request: web.Request) -> web.StreamResponse:
    query = known_query(request, "timeoutSeconds", "resourceVersion")
    engine, hub = synced_engine(request), services(request).hub
    ref = ref_of(kind, request)
    object_ = await found_object(ref, request)
    version = query.get("resourceVersion")
    began_s = asyncio.get_running_loop().time()
    look = _Look(engine, hub, ref)
    with suppress(TimeoutError):
        async with asyncio.timeout(_timeout_s(query.get("timeoutSeconds", "0"))):
            await engine.compiled(ref, version)
            while await look.until_live():
                await hub.flush(engine.workloads_of(ref), _FLUSH_S)
                await engine.compiled(ref)
                if look.is_live():
                    break  # nobody came while the counts did, and nothing has changed
    try:
        object_ = await services(request).store.get(ref)
    except NotFound:
        raise Problem("not-found", f"{ref} was deleted meanwhile") from None
    is_in_force = await engine.has_in_force(ref, object_.metadata.resource_version)
    progress, key, faults = look.now()
    if not is_in_force:  # then what proxies have is the state before it, however many they are
        faults.insert(0, f"{ref} is not in force in the state that was asked for: {engine.fault or 'it takes longer'}")
    return web.json_response(
        {
            "object": document(request, object_),
            "routingKey": key,
            "isComplete": not faults,
            "version": hub.version,
            "position": look.position,
            "waitedSeconds": round(asyncio.get_running_loop().time() - began_s, 3),
            "proxies": {"attached": progress.attached, "knowing": progress.knowing},
            "workloads": [each.document() for each in progress.workloads],
            "faults": faults,
        }
    )


def _timeout_s(text: str) -> float:
    with suppress(ValueError):
        seconds = float(text)
        if 0 <= seconds <= _LONGEST_S:
            return seconds
    raise Problem("malformed", "the query can't be read", [f"timeoutSeconds: must be in 0-{_LONGEST_S:g}, is {text!a}"])


class _Look:
    """How far an object has got, from one moment to the next. What was published last of it counts: `position`."""

    def __init__(self, engine: Engine, hub: Hub, ref: Ref) -> None:
        self._engine: Final = engine
        self._hub: Final = hub
        self._ref: Final = ref
        self._told = engine.told(ref)
        self.position = hub.position

    async def until_live(self) -> bool:
        """Returns when nothing is missing; False if there is no such object any more.

        Many may wait at once, and each of a thousand proxies is news: one look takes in the answers of a few
        milliseconds, and looks at each proxy only once all have answered.
        """
        while not self.is_live():
            if self._told is None:
                return False
            await self._hub.until_changed()
            await asyncio.sleep(_GATHER_S)
        return True

    def is_live(self) -> bool:
        self._take()
        return self._hub.have(self.position) and not self.now()[2]

    def _take(self) -> None:
        told = self._engine.told(self._ref)
        if told is not self._told:
            self._told, self.position = told, self._hub.position

    def now(self) -> tuple[Progress, str | None, list[str]]:
        """How far the object's key has got; its key; and what is missing."""
        self._take()
        engine, hub, ref, told = self._engine, self._hub, self._ref, self._told
        key = told.status.routing_key if told is not None else None
        workloads = engine.workloads_of(ref) if key is not None else {}
        progress = hub.progress(key or "", workloads, self.position)
        faults = list(progress.faults())
        if told is None:
            faults.insert(0, f"{ref} is not in force")
        elif key is None:
            faults.insert(0, f"{ref} has no routing key: another object has the one that it asks for")
        elif not workloads:
            faults.insert(0, f"{ref} changes no workload")
        return progress, key, faults


# --- traffic ---------------------------------------------------------------------------------------------------------


async def _traffic(kind: str, request: web.Request) -> web.StreamResponse:
    query = known_query(request, "since", "now")
    engine, hub = synced_engine(request), services(request).hub
    ref = ref_of(kind, request)
    made = (await found_object(ref, request)).metadata.creation_timestamp
    now = services(request).clock()
    since = _since(query.get("since", _DEFAULT_SINCE), now, _asker_is_ahead(query.get("now"), now))
    status = engine.status(ref)
    key = status.routing_key if status is not None else None
    workloads = engine.workloads_of(ref) if key is not None else {}
    silent = await hub.flush(workloads, _FLUSH_S)
    times = since.timestamp(), made.timestamp() if made is not None else None
    counted = {workload: hub.traffic.answered(key or "", workload, *times) for workload in sorted(workloads)}
    gaps = {workload: list(_gaps(hub, workload, counted[workload], silent)) for workload in counted}
    verdict, reasons = _verdict(ref, counted, gaps, list(_unknowable(hub, since, made, now)))
    return web.json_response(
        {
            "routingKey": key,
            "since": timestamp(since),
            "workloads": [
                {
                    "baseline": workload.document(),
                    "fromSandbox": found.from_sandbox,
                    "fromBaseline": found.from_baseline,
                    "proxies": sum(hub.is_of(each, workload) for each in hub.attached()),
                    "gaps": [{"proxy": gap.proxy, "reason": gap.reason} for gap in gaps[workload]],
                }
                for workload, found in counted.items()
            ],
            "verdict": verdict,
            "reasons": reasons,
        }
    )


def _asker_is_ahead(text: str | None, now: datetime) -> timedelta:
    """How far the clock of whoever asks is ahead of ours, at least: what the request took on its way is not in it."""
    theirs = parse_timestamp(text) if text is not None else now
    if theirs is None:
        raise Problem("malformed", "the query can't be read", [f"now: must be {TIMESTAMP_RULE}, is {text!a}"])
    return max(theirs - now, timedelta())


def _since(text: str, now: datetime, ahead: timedelta) -> datetime:
    """By our clock. A time by a clock that is ahead would hide the first answers of a test."""
    duration, time = parse_duration(text), parse_timestamp(text)
    found = now - duration if duration is not None else time - ahead if time is not None else None
    if found is None:
        raise Problem(
            "malformed",
            "the query can't be read",
            [f"since: must be {DURATION_RULE}, or {TIMESTAMP_RULE}, is {text!a}"],
        )
    return found


def _unknowable(hub: Hub, since: datetime, made: datetime | None, now: datetime) -> Iterator[str]:
    began = datetime.fromtimestamp(hub.traffic.began_s, since.tzinfo)
    if (since if made is None else max(since, made)) < began:  # before it was made, there was nothing to be tested
        yield f"this controller counts since {timestamp(began)} only"
    if since > now:
        yield f"{timestamp(since)} has not come yet: the clock of this controller says {timestamp(now)}"
    if since < now - KEPT:
        yield f"counts are kept for {KEPT.total_seconds() / 3600:g} hours only"


def _gaps(hub: Hub, workload: Workload, found: Answered, silent: set[Name]) -> Iterator[Gap]:
    yield from found.gaps
    for each in hub.attached():
        if name_of(each) in silent and hub.is_of(each, workload):
            yield Gap(each.id, f"it did not report within {_FLUSH_S:g} s", 0.0, None)


def _verdict(
    ref: Ref,
    counted: dict[Workload, Answered],
    gaps: dict[Workload, list[Gap]],
    unknowable: list[str],
) -> tuple[str, list[str]]:
    """Failed whatever may be missing, if the baseline has answered; else unknown, if anything may be missing."""
    wrong = [
        f"the baseline of {workload} answered {found.from_baseline} requests with this key"
        for workload, found in counted.items()
        if found.from_baseline
    ]
    idle = [
        f"the sandbox at {workload} answered no request"
        for workload, found in counted.items()
        if not found.from_sandbox
    ]
    if not counted:
        idle.append(f"{ref} changes no workload")
    doubts = [
        f"{workload}: what {gap.proxy} counted may be lost: {gap.reason}" for workload in gaps for gap in gaps[workload]
    ]
    doubts += unknowable
    if wrong or (idle and not doubts):
        return "failed", wrong + idle + doubts
    if doubts:
        return "unknown", idle + doubts
    return "passed", []


# --- proxies ---------------------------------------------------------------------------------------------------------


async def _proxies(request: web.Request) -> web.StreamResponse:
    known_query(request)
    hub = services(request).hub
    items = [
        _proxy(each, each.since, is_current=each.knows(hub.position), faults=each.faults)
        for each in hub.attached()
        if _sees(request, hub, each)
    ]
    items += [_proxy(each, each.at) for each in hub.lost() if _sees(request, hub, each)]
    items.sort(key=lambda item: (str(item["mode"]), str(item.get("workload")), str(item["id"])))
    return web.json_response({"version": hub.version, "position": hub.position, "items": items})


def _sees(request: web.Request, hub: Hub, each: Subscription | Lost) -> bool:
    """Whoever may know of a workload may know of its proxies, routers among them."""
    workloads = hub.routed if each.workload is None else (each.workload,)
    return sees_all(request) or any(sees(request, workload.namespace) for workload in workloads)


def _proxy(
    each: Subscription | Lost, since: datetime, *, is_current: bool = False, faults: Sequence[str] = ()
) -> dict[str, object]:
    return {
        "id": each.id,
        **({"mode": ROUTER} if each.workload is None else {"mode": SIDECAR, "workload": str(each.workload)}),
        "isConnected": isinstance(each, Subscription),
        "since": timestamp(since),
        "release": each.release,
        "tableVersion": each.version,
        "position": each.position,
        "isCurrent": is_current,
        "faults": list(faults),
    }


# --- the operations --------------------------------------------------------------------------------------------------

_OBJECT: Final = {"type": "object"}


def _operations(kind: str) -> Iterator[Operation]:
    path = f"/api/v1/namespaces/{{namespace}}/{PLURALS[kind]}/{{name}}"
    yield Operation(
        "GET",
        f"{path}/receipt",
        partial(_receipt, kind),
        f"Waits until every proxy routes by the {kind}, and says which do not",
        {200: Answer("Complete, or what is missing when the time is over", _OBJECT)},
        parameters=(
            Parameter("timeoutSeconds", "How long to wait, 0 (the default) to 300", {"type": "number"}),
            Parameter("resourceVersion", "The state that must be in force; the present one if left out"),
        ),
        problems=(400, 404),
        tag="receipts",
    )
    yield Operation(
        "GET",
        f"{path}/traffic",
        partial(_traffic, kind),
        f"Who answered requests with the key of the {kind}, and whether that is as it should be",
        {200: Answer("Counts for each workload, and a verdict", _OBJECT)},
        parameters=(
            Parameter("since", f"{TIMESTAMP_RULE}, or {DURATION_RULE}; {_DEFAULT_SINCE} if left out"),
            Parameter("now", "What your clock says: `since` is moved by as much as it is ahead of the controller's"),
        ),
        problems=(400, 404),
        tag="receipts",
    )


OPERATIONS: Final = (
    *(operation for kind in PLURALS for operation in _operations(kind)),
    Operation(
        "GET",
        "/api/v1/proxies",
        _proxies,
        "The proxies: those that are attached, and those whose connection broke of late",
        {200: Answer("The proxies, by workload", _OBJECT)},
        tag="receipts",
    ),
)
