from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from controller.objects import (
    Condition,
    Fork,
    Metadata,
    Ref,
    Sandbox,
    SandboxSpec,
    Status,
    Ttl,
    expiry,
    generate_key,
    target_endpoint,
)
from proxy.routing.names import Endpoint, Workload

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def sandbox(**parts: object) -> Sandbox:
    spec = SandboxSpec(forks=(Fork(Workload("hotrod", "Deployment", "location")),), **parts)  # type: ignore[arg-type]
    return Sandbox(Metadata("pr-1", "hotrod", creation_timestamp=NOON), spec)


def test_generated_keys() -> None:
    keys = {generate_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(re.fullmatch("[a-z0-9]{13}", key) for key in keys)
    assert {character for key in keys for character in key} == set("abcdefghijklmnopqrstuvwxyz0123456789")


def test_refs() -> None:
    assert sandbox().ref == Ref("Sandbox", "hotrod", "pr-1")
    assert str(sandbox().ref) == "Sandbox hotrod/pr-1"


def test_what_is_empty_stays_out() -> None:
    assert sandbox().document() == {
        "apiVersion": "pointsman.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": {"name": "pr-1", "namespace": "hotrod", "creationTimestamp": "2026-11-25T12:00:00Z"},
        "spec": {"forks": [{"forkOf": {"kind": "Deployment", "namespace": "hotrod", "name": "location"}}]},
    }


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        ("frontend", Endpoint("frontend", 80)),
        ("frontend:8080", Endpoint("frontend", 8080)),
        ("http://frontend.svc:8080", Endpoint("frontend.svc", 8080)),
        ("grpc://frontend", Endpoint("frontend", 80)),
        ("[::1]", Endpoint("::1", 80)),
        ("http://[::1]:81", Endpoint("::1", 81)),
    ],
)
def test_targets(target: str, endpoint: Endpoint) -> None:
    assert target_endpoint(target) == endpoint


def test_expiry() -> None:
    later = NOON + timedelta(days=1)
    assert expiry(sandbox(), later) is None
    assert expiry(sandbox(ttl=Ttl("4h", "created")), later) == NOON + timedelta(hours=4)
    assert expiry(sandbox(ttl=Ttl("4h")), later) == later + timedelta(hours=4)
    assert expiry(sandbox(ttl=Ttl("4h")), None) is None
    assert expiry(sandbox(ttl=Ttl("4h")), datetime.max.replace(tzinfo=UTC)) is None


def test_conditions_by_type() -> None:
    ready = Condition("Ready", "True", "Ready", "", NOON)
    status = Status(conditions=(ready,))
    assert status.condition("Ready") is ready
    assert status.condition("Accepted") is None
