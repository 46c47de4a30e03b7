from __future__ import annotations

import re

import pytest

from controller.istio.names import (
    covers,
    destination_host,
    full_host,
    is_our_route,
    object_name,
    route_name,
    service_of,
)


@pytest.mark.parametrize(
    ("host", "full"),
    [
        ("location", "location.hotrod.svc.cluster.local"),
        ("Location", "location.hotrod.svc.cluster.local"),
        ("location.other", "location.other"),  # istiod completes only what has no dot
        ("location.other.svc.cluster.local", "location.other.svc.cluster.local"),
        ("*", "*"),
        ("*.example", "*.example"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
    ],
)
def test_hosts_of_manifests(host: str, full: str) -> None:
    assert full_host(host, "hotrod") == full


@pytest.mark.parametrize(
    ("host", "full"),
    [
        ("location", "location.hotrod.svc.cluster.local"),
        ("location.other.svc", "location.other.svc.cluster.local"),
        ("location.other.svc.cluster.local.", "location.other.svc.cluster.local"),
        ("laptop.example.", "laptop.example"),
    ],
)
def test_hosts_of_tables(host: str, full: str) -> None:
    assert destination_host(host, "hotrod") == full


def test_services() -> None:
    assert service_of("a.b.svc.cluster.local") == ("a", "b")
    for host in ("a.b", "a.svc.cluster.local", "x.a.b.svc.cluster.local", "*.b.svc.cluster.example"):
        assert service_of(host) is None


@pytest.mark.parametrize(
    ("pattern", "does"),
    [("a.b.c", True), ("*.b.c", True), ("*.c", True), ("*", True), ("b.c", False), ("*.a.b.c", False)],
)
def test_covers(pattern: str, does: bool) -> None:
    assert covers(pattern, "a.b.c") is does


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("location.hotrod.svc.cluster.local", "pointsman-location"),
        ("location.other.svc.cluster.local", "pointsman-location.other.svc.cluster.local"),
        ("api.example.com", "pointsman-api.example.com"),
        ("*.example.com", "pointsman-any.example.com"),
        ("*", "pointsman-any"),
    ],
)
def test_objects(host: str, name: str) -> None:
    assert object_name(host, "hotrod") == name


def test_names_are_names_for_kubernetes_and_within_limits() -> None:
    grammar = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
    found = {object_name(f"{'a' * 50}.{tail}.example", "x") for tail in ("b" * 60, "c" * 60)}
    assert len(found) == 2
    for name in found | {object_name("_x_.", "x")}:
        assert grammar.fullmatch(name), name
        assert len(name) <= 63


def test_routes() -> None:
    names = {
        route_name("pr/1", "k"),
        route_name("pr/1", "l"),
        route_name("pr/1", "k", ""),
        route_name("", "k"),
        route_name("#" * 99),
        route_name("x" * 253, "k"),
    }
    assert len(names) == 6
    assert all(re.fullmatch(r"pointsman-[A-Za-z0-9._-]{1,53}", name) for name in names)


def test_which_routes_are_ours() -> None:
    ours = route_name("x", 1)
    assert is_our_route({"name": ours})
    assert is_our_route({"name": route_name("", 1)})
    for owners in ("pointsman-ui", "pointsman-", f"x{ours}", f"{ours}-2"):
        assert not is_our_route({"name": owners})
    assert not is_our_route({"name": "pointsman"})
    assert not is_our_route({})
    # An owner may call the route that includes ours like ours.
    assert not is_our_route({"name": ours, "delegate": {"name": "pointsman-x"}})
