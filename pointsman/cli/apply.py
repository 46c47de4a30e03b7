"""`sandbox apply` and `routegroup apply`: objects from files to the controller, and the wait until they are live.

All objects are sent before the first is waited for, since a route group is only whole with its sandboxes. An object
without a routing key keeps the one that was generated for it at first: the controller keeps it. One that is still being
deleted is made anew once it is gone, if there is time to wait. One whose key is another's is not waited for: it may
have to wait for ever, and whoever tags requests with that key tests something else.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Final

from pointsman.cli.changed import difference
from pointsman.cli.exits import CONFLICT, FINE, NOT_SO, code_of
from pointsman.cli.flags import DIFF, DRY_RUN, FILE, TIMEOUT, WAIT
from pointsman.cli.manifests import STDIN, Manifest, Namespaces, read_manifests
from pointsman.cli.objects import complaints, full_name, is_refused, object_path, part, routing_key
from pointsman.cli.receipts import Receipt, await_receipt, report
from pointsman.cli.run import Call, error_document, tell_error
from pointsman.client import ApiError, ClientError

KEY_NAME: Final = "sd-routing-key"
_AGAIN_S: Final = 0.1


@dataclass(slots=True)
class Applied:
    """One object, and what came of it."""

    manifest: Manifest
    document: object
    change: str
    diff: str | None
    sent_s: float  # when, of the monotonic clock
    receipt: Receipt | None = None

    def as_document(self) -> dict[str, object]:
        key = routing_key(self.document)
        found: dict[str, object] = {
            "object": self.document,
            "routingKey": key,
            "baggage": baggage(key) if key is not None else None,
            "change": self.change,
            "receipt": self.receipt.document if self.receipt is not None else None,
        }
        if self.diff is not None:
            found["diff"] = self.diff
        return found


def baggage(key: str) -> str:
    """What a request must carry in its `baggage` header."""
    return f"{KEY_NAME}={key}"


def apply(call: Call) -> int:
    manifests = read_manifests(call.values.present(FILE), _content, Namespaces(call.namespace, call.is_namespace_said))
    end_s = time.monotonic() + call.values.one(TIMEOUT)
    done: list[Applied] = []
    error: ClientError | None = None
    for manifest in manifests:
        try:
            done.append(_put(call, manifest, end_s))
        except ClientError as fault:
            error = fault
            tell_error(call.console, call.line.command, fault)
            call.console.say(f"  {manifest.ref} is not applied" + _and_the_others(manifests, len(done)))
            break
        _tell(call, done[-1])
    code = code_of(error) if error is not None else FINE
    if error is None and any(is_refused(applied.document) for applied in done):
        code = CONFLICT
    elif error is None and call.values.one(WAIT) and not call.values.one(DRY_RUN):
        try:
            code = _wait(call, done, end_s)
        except ClientError as fault:
            error, code = fault, code_of(fault)
            tell_error(call.console, call.line.command, fault)
    call.console.document(_document(manifests, done, error, code))
    return code


def _document(
    manifests: list[Manifest], done: list[Applied], error: ClientError | None, code: int
) -> dict[str, object]:
    """One object's result is the document itself; that of several is a list."""
    document: dict[str, object] = {"items": [applied.as_document() for applied in done]}
    if len(manifests) == 1:
        document = done[0].as_document() if done else {}
    if error is not None:
        document |= {"error": error_document(error), "exitCode": code}
    return document


def _content(name: str) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read()
    with open(name, "rb") as file:
        return file.read()


def _put(call: Call, manifest: Manifest, end_s: float) -> Applied:
    start_s = time.monotonic()
    is_trial, wants_diff = call.values.one(DRY_RUN), call.values.one(DIFF)
    path = object_path(*manifest.ref)
    try:
        before = call.client.call("GET", path).document
    except ApiError as error:
        if error.status != 404:
            raise
        before = None
    query = {"dryRun": "All"} if is_trial else None
    while True:
        sent_s = time.monotonic()
        try:
            after = call.client.call("PUT", path, manifest.document, query=query).document
            break
        except ApiError as error:
            if error.type != "deleting" or not call.values.one(WAIT) or time.monotonic() >= end_s:
                raise
        call.console.progress(f"{manifest.ref}: waiting until the one before is gone", time.monotonic() - start_s)
        time.sleep(_AGAIN_S)
        before = None
    diff = difference(before, after, str(manifest.ref)) if wants_diff else None
    if before is None:
        return Applied(manifest, after, "created", diff, sent_s)
    is_same = all(part(before, *place) == part(after, *place) for place in (("spec",), ("metadata", "labels")))
    is_same = is_same and part(before, "metadata", "annotations") == part(after, "metadata", "annotations")
    return Applied(manifest, after, "unchanged" if is_same else "changed", diff, sent_s)


def _tell(call: Call, applied: Applied) -> None:
    console, is_trial = call.console, call.values.one(DRY_RUN)
    console.result(
        f"{full_name(applied.document)} {applied.change}" + (" (dry run: nothing was done)" if is_trial else "")
    )
    if applied.diff:
        console.result(applied.diff)
    key = routing_key(applied.document)
    if is_trial and applied.change == "created" and routing_key(applied.manifest.document) is None:
        console.result("  routing key: one is generated when it is applied")
    elif key is not None:
        console.result(f"  routing key: {key}\n  tag requests: -H 'baggage: {baggage(key)}'")
    if not call.values.one(WAIT) or is_refused(applied.document):
        for text in complaints(applied.document):
            console.say(f"  {text}")


def _wait(call: Call, done: list[Applied], end_s: float) -> int:
    code = FINE
    for applied in done:
        version = part(applied.document, "metadata", "resourceVersion")
        if len(done) > 1:
            call.console.result(f"{full_name(applied.document)}:")
        receipt = await_receipt(
            call.client,
            applied.manifest.ref,
            version if isinstance(version, str) else None,
            applied.sent_s,
            end_s,
            call.console,
        )
        applied.receipt = receipt
        report(receipt, call.console)
        if not receipt.is_complete:
            code = NOT_SO
            seen = part(receipt.document, "object") or applied.document
            for text in complaints(seen):
                call.console.say(f"  {text}")
    return code


def _and_the_others(manifests: list[Manifest], done: int) -> str:
    left = len(manifests) - done - 1
    after = f", nor the {left} after it" if left else ""
    return after + (f"; the {done} before it {'is' if done == 1 else 'are'}" if done else "")
