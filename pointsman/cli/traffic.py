"""`traffic`, `verify` and `proxies`: what proxies say they did, and which there are.

`verify` is the guard against a false green: a test whose requests went to the baseline has tested nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from controller.times import timestamp
from pointsman.cli.exits import FINE, NOT_SO, OTHER, UNKNOWN, Failure
from pointsman.cli.flags import SINCE, SINCE_START
from pointsman.cli.objects import entries, number_at, object_path, part, text_at
from pointsman.cli.run import Call
from pointsman.cli.tables import ago, columns, workload_name
from proxy.feed.messages import ROUTER

_VERDICTS: Final = {"passed": FINE, "failed": NOT_SO, "unknown": UNKNOWN}


def traffic(call: Call) -> int:
    document = _counts(call, call.values.one(SINCE))
    call.console.document(document)
    call.console.result(_table(document))
    for text in _gaps(document):
        call.console.say(f"  {text}")
    return FINE


def verify(call: Call) -> int:
    since = call.values.one(SINCE_START)
    document = _counts(call, since)
    verdict = text_at(document, "verdict")
    code = _VERDICTS.get(verdict)
    if code is None:
        raise Failure(OTHER, f"the controller's verdict is none that is known here: {verdict}")
    call.console.document(document)
    call.console.result(f"{call.namespace}/{call.line.argument} since {since}: {verdict}")
    call.console.result(_table(document))
    for reason in entries(document, "reasons"):
        call.console.say(f"  {reason}")
    return code


def _counts(call: Call, since: str) -> object:
    path = object_path(call.kind, call.namespace, call.line.argument, "traffic")
    return call.client.call("GET", path, query={"since": since, "now": timestamp(datetime.now(UTC))}).document


def _table(document: object) -> str:
    rows = [
        (
            workload_name(part(entry, "baseline")),
            str(number_at(entry, "fromSandbox")),
            str(number_at(entry, "fromBaseline")),
            str(number_at(entry, "proxies")),
        )
        for entry in entries(document, "workloads")
    ]
    return columns(("WORKLOAD", "FROM SANDBOX", "FROM BASELINE", "PROXIES"), rows, "  ")


def _gaps(document: object) -> list[str]:
    return [
        f"{workload_name(part(entry, 'baseline'))}: counts of proxy {text_at(gap, 'proxy')} may be missing:"
        f" {text_at(gap, 'reason')}"
        for entry in entries(document, "workloads")
        for gap in entries(entry, "gaps")
    ]


def proxies(call: Call) -> int:
    document = call.client.call("GET", "/api/v1/proxies").document
    call.console.document(document)
    found = entries(document, "items")
    if not found:
        call.console.say("no proxy is attached")
        return FINE
    now = datetime.now(UTC)
    rows = [
        (
            text_at(proxy, "id"),
            text_at(proxy, "workload") if text_at(proxy, "mode") != ROUTER else "(router)",
            _state(proxy),
            ago(part(proxy, "since"), now),
            text_at(proxy, "release"),
            text_at(proxy, "tableVersion"),
        )
        for proxy in found
    ]
    call.console.result(columns(("PROXY", "WORKLOAD", "STATE", "SINCE", "RELEASE", "TABLE"), rows))
    for proxy in found:
        for fault in entries(proxy, "faults"):
            call.console.say(f"  {text_at(proxy, 'id')}: {fault}")
    return FINE


def _state(proxy: object) -> str:
    if part(proxy, "isConnected") is not True:
        return "disconnected"
    return "current" if part(proxy, "isCurrent") is True else "behind"
