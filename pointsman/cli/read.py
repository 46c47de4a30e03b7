"""`list`, `get`, `delete` and `wait`, of sandboxes and route groups."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from controller.objects import Ref
from pointsman.cli.exits import FINE, NOT_SO, Failure
from pointsman.cli.flags import ALL_NAMESPACES, DRY_RUN, SELECTOR, TIMEOUT, WAIT_GONE
from pointsman.cli.objects import (
    Document,
    complaints,
    entries,
    full_name,
    list_path,
    object_path,
    part,
    readiness,
    routing_key,
    text_at,
)
from pointsman.cli.receipts import await_receipt, report
from pointsman.cli.run import Call
from pointsman.cli.tables import ago, columns, workload_name
from pointsman.client import ApiError, Unreachable

_LOOK_S: Final = (0.05, 0.1, 0.25, 0.5)
_QUIET_S: Final = 0.5  # nobody wants to read that it was not there at once


def list_objects(call: Call) -> int:
    everywhere = call.values.one(ALL_NAMESPACES)
    answer = call.client.call("GET", list_path(call.kind, None if everywhere else call.namespace))
    found = entries(answer.document, "items")
    for selector in call.values.present(SELECTOR):
        found = [document for document in found if selector.matches(part(document, "metadata", "labels"))]
    document = dict(answer.document) if isinstance(answer.document, dict) else {}
    call.console.document({**document, "items": found})
    if not found:
        call.console.say(f"no {call.kind} " + ("anywhere" if everywhere else f"in namespace {call.namespace}"))
        return FINE
    now = datetime.now(UTC)
    head = ("NAMESPACE", "NAME", "ROUTING KEY", "READY", "CHANGES", "AGE", "EXPIRES IN")
    rows = [_row(document, now) for document in found]
    first = 0 if everywhere else 1
    call.console.result(columns(head[first:], [row[first:] for row in rows]))
    return FINE


def _row(document: object, now: datetime) -> tuple[str, ...]:
    return (
        text_at(document, "metadata", "namespace"),
        text_at(document, "metadata", "name"),
        routing_key(document) or "-",
        readiness(document),
        _changes(document),
        ago(part(document, "metadata", "creationTimestamp"), now),
        ago(part(document, "status", "expiresAt"), now),
    )


def _changes(document: object) -> str:
    """What a sandbox changes, or which sandboxes a group has."""
    names = [str(name) for name in entries(document, "status", "sandboxes")] or _workloads(document)
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more or "-"


def _workloads(document: object) -> list[str]:
    changed = [part(fork, "forkOf") for fork in entries(document, "spec", "forks")]
    changed += [part(local, "from") for local in entries(document, "spec", "local")]
    return [workload_name(baseline) for baseline in changed]


def get(call: Call) -> int:
    document = call.client.call("GET", object_path(call.kind, call.namespace, call.line.argument)).document
    call.console.document(document)
    now = datetime.now(UTC)
    call.console.result(full_name(document))
    call.console.result(f"  routing key: {routing_key(document) or '-'}")
    call.console.result(f"  age: {ago(part(document, 'metadata', 'creationTimestamp'), now)}")
    if part(document, "status", "expiresAt") is not None:
        call.console.result(f"  expires: {text_at(document, 'status', 'expiresAt')}")
    for name in _workloads(document):
        call.console.result(f"  changes: {name}")
    for member in entries(document, "status", "sandboxes"):
        call.console.result(f"  sandbox: {member}")
    for endpoint in entries(document, "status", "endpoints"):
        call.console.result(f"  endpoint {text_at(endpoint, 'name')}: {text_at(endpoint, 'url')}")
    call.console.result(f"  ready: {readiness(document)}")
    for text in complaints(document):
        call.console.result(f"    {text}")
    return FINE


def delete(call: Call) -> int:
    path = object_path(call.kind, call.namespace, call.line.argument)
    is_trial = call.values.one(DRY_RUN)
    start_s = time.monotonic()
    document = call.client.call("DELETE", path, query={"dryRun": "All"} if is_trial else None).document
    if is_trial:
        call.console.result(f"{full_name(document)} can be deleted (dry run: nothing was done)")
    elif call.values.one(WAIT_GONE):
        _until_gone(call, path, document, start_s)
        waited_s = time.monotonic() - start_s
        call.console.result(f"{full_name(document)} deleted: proxies are told and it is gone after {waited_s:.2f} s")
    else:
        call.console.result(f"{full_name(document)} is being deleted: its key gets 424 as soon as proxies are told")
    call.console.document({"object": document})
    return FINE


def _until_gone(call: Call, path: str, document: object, start_s: float) -> None:
    """Returns once this object is gone; another one of its name does not count."""
    end_s = start_s + call.values.one(TIMEOUT)
    name = full_name(document)
    looks = 0
    while True:
        try:
            found: object = call.client.call("GET", path).document
            if part(found, "metadata", "uid") != part(document, "metadata", "uid"):
                return
            text = f"{name}: waiting until proxies are told"
        except ApiError as error:
            if error.status == 404:
                return
            raise
        except Unreachable as error:  # it may be restarting
            text = f"{name}: {error}"
        if time.monotonic() >= end_s:
            waited_s = time.monotonic() - start_s
            raise Failure(NOT_SO, f"{name} is not gone after {waited_s:.1f} s: not every proxy said that it knows")
        if time.monotonic() - start_s > _QUIET_S:
            call.console.progress(text, time.monotonic() - start_s)
        time.sleep(_LOOK_S[min(looks, len(_LOOK_S) - 1)])
        looks += 1


def wait(call: Call) -> int:
    ref = Ref(call.kind, call.namespace, call.line.argument)
    start_s = time.monotonic()
    receipt = await_receipt(call.client, ref, None, start_s, start_s + call.values.one(TIMEOUT), call.console)
    document: Document = receipt.document if isinstance(receipt.document, dict) else {}
    call.console.result(f"{call.kind.lower()} {ref.namespace}/{ref.name}:")
    report(receipt, call.console)
    if not receipt.is_complete:
        for text in complaints(document.get("object")):
            call.console.say(f"  {text}")
    call.console.document({"routingKey": document.get("routingKey"), "receipt": document})
    return FINE if receipt.is_complete else NOT_SO
