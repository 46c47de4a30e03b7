"""Waiting until an object is live: every attached proxy knows its key, and all proxies of every workload that it
changes have acknowledged the route, which has a destination. The controller decides; this asks, and puts it into words.

A controller that goes away meanwhile is asked again until the time is up: it may be restarting.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from controller.objects import Ref
from pointsman.cli.console import Console
from pointsman.cli.objects import entries, number_at, object_path, part, text_at
from pointsman.cli.tables import columns, workload_name
from pointsman.client import ApiError, Client, ClientError, Unreachable

_ASK_S: Final = 1.0  # how often progress is told; news of completion come at once
_AGAIN_S: Final = 0.2
_GRACE_S: Final = 10.0


class Receipt:
    """What the controller said last, and how long it took until then."""

    def __init__(self, document: object, waited_s: float) -> None:
        self.document: Final = document
        self.waited_s: Final = waited_s
        self.is_complete: Final = part(document, "isComplete") is True

    def summary(self) -> str:
        """`hotrod/Deployment/location 1 of 2; 3 of 5 proxies know the key`."""
        parts = [
            f"{workload_name(part(entry, 'baseline'))} {number_at(entry, 'acknowledged')} of"
            f" {number_at(entry, 'proxies')}"
            for entry in entries(self.document, "workloads")
        ]
        knowing, attached = (
            number_at(self.document, "proxies", "knowing"),
            number_at(self.document, "proxies", "attached"),
        )
        parts.append(f"{knowing} of {attached} proxies know the key")
        return "; ".join(parts)

    def table(self) -> str:
        rows = [
            (
                workload_name(part(entry, "baseline")),
                str(number_at(entry, "proxies")),
                str(number_at(entry, "acknowledged")),
                "yes" if part(entry, "hasDestination") is True else "no",
            )
            for entry in entries(self.document, "workloads")
        ]
        return columns(("WORKLOAD", "PROXIES", "ACKNOWLEDGED", "DESTINATION"), rows, "  ")

    def faults(self) -> Iterator[str]:
        """What is missing, each proxy by its name."""
        for entry in entries(self.document, "workloads"):
            name = workload_name(part(entry, "baseline"))
            for proxy in entries(entry, "missing"):
                detail = text_at(proxy, "detail")
                yield f"{name}: proxy {text_at(proxy, 'id')} {_STATES.get(text_at(proxy, 'state'), '?')}" + (
                    f": {detail}" if detail != "-" else ""
                )
        yield from (str(fault) for fault in entries(self.document, "faults"))


_STATES: Final = {
    "pending": "has not acknowledged it",
    "disconnected": "is disconnected",
    "refused": "refuses it",
}


def await_receipt(
    client: Client, ref: Ref, resource_version: str | None, start_s: float, end_s: float, console: Console
) -> Receipt:
    """The receipt, once it is complete, or as it is when time is up (`end_s` of the monotonic clock).

    `start_s`, of the same clock: when the change was sent, from which it says how long everything took.

    Raises: ApiError; Unreachable if the controller was away when the time was up.
    """
    while True:
        left_s = max(0.0, end_s - time.monotonic())
        ask_s = min(_ASK_S, left_s)
        query = {"timeoutSeconds": f"{ask_s:.3f}"}
        if resource_version is not None:
            query["resourceVersion"] = resource_version
        try:
            path = object_path(ref.kind, ref.namespace, ref.name, "receipt")
            answer = client.call("GET", path, query=query, timeout_s=ask_s + _GRACE_S)
        except ClientError as error:
            is_away = isinstance(error, Unreachable) or (isinstance(error, ApiError) and error.status == 503)
            if not is_away or time.monotonic() + _AGAIN_S >= end_s:
                raise
            console.progress(f"{ref.namespace}/{ref.name}: {error}", time.monotonic() - start_s)
            time.sleep(_AGAIN_S)
            continue
        receipt = Receipt(answer.document, time.monotonic() - start_s)
        if receipt.is_complete or time.monotonic() >= end_s:
            return receipt
        console.progress(f"{ref.namespace}/{ref.name}: {receipt.summary()}", receipt.waited_s)


def report(receipt: Receipt, console: Console) -> None:
    """The receipt in words: on how many of how many, and how long it took; what is missing, by name."""
    if receipt.is_complete:
        console.result(f"  live after {receipt.waited_s:.2f} s: {receipt.summary()}")
        console.result(receipt.table())
        return
    console.say(f"not live everywhere after {receipt.waited_s:.1f} s: {receipt.summary()}")
    for fault in receipt.faults():
        console.say(f"  {fault}")
