"""The status of one object: whose its key is, what is wrong with what it asks for, when its time is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from controller.changes import Changes
from controller.conditions import Finding, findings_to_conditions, listed
from controller.memory import KeyMemory
from controller.objects import EndpointStatus, Object, Sandbox, Status, expiry
from controller.times import timestamp

_MAX_SANDBOXES: Final = 100


class Claim(NamedTuple):
    """Who has the key that an object asks for, and what is remembered of it."""

    key: str | None
    owner: Object | None
    known: KeyMemory | None


def status_of(
    object_: Object,
    changes: Changes,
    claim: Claim,
    before: Status,
    now: datetime,
    *,
    workloads_known: bool,
    preview_domain: str | None,
) -> Status:
    """What to say of the object, given what was said before."""
    generation = object_.metadata.generation
    updated_at = before.updated_at
    if updated_at is None or before.observed_generation != generation:
        created = object_.metadata.creation_timestamp
        updated_at = created if before.updated_at is None and generation == 1 and created is not None else now
    findings = [_accepted(object_, claim)]
    is_accepted = findings[0].is_true
    findings.extend(
        _of_sandbox(object_, changes, workloads_known) if isinstance(object_, Sandbox) else _of_group(changes)
    )
    findings.append(_ready(findings[0], changes))
    return Status(
        claim.key if is_accepted else None,
        generation,
        updated_at,
        expiry(object_, updated_at),
        tuple(
            EndpointStatus(
                endpoint.name,
                endpoint.target,
                f"https://{endpoint.name}--{claim.key}.{preview_domain}" if is_accepted and preview_domain else None,
            )
            for endpoint in object_.spec.endpoints
        ),
        changes.members[:_MAX_SANDBOXES],
        findings_to_conditions(findings, before, generation, now),
    )


def _accepted(object_: Object, claim: Claim) -> Finding:
    namespace = object_.metadata.namespace
    if object_.metadata.deletion_timestamp is not None:
        return Finding("Accepted", False, "Deleting", "it is being deleted: its routes are taken away")
    if claim.key is None:
        return Finding("Accepted", False, "NoKey", "it has no routing key yet")
    if claim.owner is not None and claim.owner.ref == object_.ref:
        return Finding("Accepted", True, "Accepted")
    if claim.known is not None and claim.known.gone_until is not None:
        text = f"another namespace had the key {claim.key}: it is free from {timestamp(claim.known.gone_until)}"
        return Finding("Accepted", False, "KeyReserved", text)
    if claim.owner is not None and claim.owner.metadata.namespace == namespace:
        return Finding("Accepted", False, "KeyClaimed", f"{claim.owner.ref}, which is older, has the key {claim.key}")
    # Which object, is not this namespace's business.
    return Finding("Accepted", False, "KeyClaimed", f"an object of another namespace has the key {claim.key}")


def _of_sandbox(sandbox: Sandbox, changes: Changes, workloads_known: bool) -> Iterator[Finding]:
    if sandbox.spec.local:
        refused = changes.faults.get("TargetsAllowed", ())
        yield Finding("TargetsAllowed", not refused, "TargetNotAllowed" if refused else "Allowed", listed(refused))
    if workloads_known:
        unknown = changes.faults.get("WorkloadsKnown", ())
        reason = "Known"
        if unknown:
            reason = "UnknownWorkload" if any("there is no " in fault for fault in unknown) else "UnknownPort"
        yield Finding("WorkloadsKnown", not unknown, reason, listed(unknown))
    if sandbox.spec.forks:
        text = "forks are made in a cluster, and this controller runs on files: their routes answer 503"
        yield Finding("ForksReady", False, "NeedsCluster", text)


def _of_group(changes: Changes) -> Iterator[Finding]:
    count = len(changes.members)
    text = f"{count} sandboxes" if count != 1 else "1 sandbox"
    yield Finding("Matched", count > 0, "Matched" if count else "NoSandbox", text)
    conflicts = changes.faults.get("Unambiguous", ())
    yield Finding("Unambiguous", not conflicts, "WorkloadTwice" if conflicts else "Unambiguous", listed(conflicts))


def _ready(accepted: Finding, changes: Changes) -> Finding:
    if not accepted.is_true:
        return Finding("Ready", False, "NotAccepted", accepted.message)
    if not changes.routes:
        return Finding("Ready", False, "NoRoute", "it changes no workload")
    if nowhere := changes.nowhere():
        return Finding("Ready", False, "NoDestination", f"no destination for {listed(map(str, nowhere))}")
    return Finding("Ready", True, "Ready")
