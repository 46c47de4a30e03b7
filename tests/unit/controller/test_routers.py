"""What routers get beside keys and routes."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.routers import NOTHING, ForRouters, read_for_routers
from controller.routersfile import RoutersFile
from proxy.reloading import ReloadError
from proxy.routing.faults import TableError
from proxy.routing.names import Endpoint
from proxy.routing.table import Mapping, Preview, Route, Service
from tests.support.objects import workload

SERVICES = """\
services:
- hosts: [location, location.hotrod.svc.cluster.local]
  port: 8081
  baseline: {kind: Deployment, namespace: hotrod, name: location}
  upstream: {host: location.hotrod.svc.cluster.local, port: 80}
"""
PREVIEWS = """\
previews:
- {domain: p.example, endpoint: web, upstream: {host: frontend, port: 8080}}
- {domain: q.example, endpoint: web, routingKey: k, upstream: {host: frontend, port: 8080}}
"""
LOCATION = Service(
    ("location", "location.hotrod.svc.cluster.local"),
    8081,
    workload(),
    Endpoint("location.hotrod.svc.cluster.local", 80),
)


def faults(text: str, preview_domain: str | None = None) -> list[str]:
    with pytest.raises(TableError) as caught:
        read_for_routers(text.encode(), preview_domain)
    return caught.value.faults


def test_a_file_is_read() -> None:
    services, previews = read_for_routers((SERVICES + PREVIEWS).encode(), "p.example")
    assert services == (LOCATION,)
    assert previews == (
        Preview("p.example", "web", Endpoint("frontend", 8080)),
        Preview("q.example", "web", Endpoint("frontend", 8080), "k"),
    )
    assert read_for_routers(SERVICES.encode()) == (services, ())
    assert read_for_routers(b"services: []") == ((), ())


_NAME_RULE = "1-60 of a-z 0-9 -, first and last alphanumeric, without '--', not 'xn'"


def test_each_fault_by_its_path() -> None:
    assert faults(SERVICES.replace("8081", "0") + PREVIEWS.replace("web", "w--b")) == [
        "services[0].port: must be an integer in 1-65535, is 0",
        *(f"previews[{index}].endpoint: must be {_NAME_RULE}, is 'w--b'" for index in (0, 1)),
    ]
    assert faults("services: []\nroutes: []\nversion: v") == ["'routes': unknown field", "'version': unknown field"]
    assert faults("- a") == ["must be an object with services and previews, is a list"]
    assert "is listed already" in faults(SERVICES + SERVICES.removeprefix("services:\n"))[0]
    assert len(faults("services: [")) == 1


def test_a_sandboxs_own_previews_are_its_own_matter() -> None:
    assert faults(PREVIEWS, "q.example") == [
        "previews[1]: of one key under q.example: its sandbox's endpoints say that"
    ]


def test_forks_are_called_by_their_own_hosts_where_a_mesh_is_between() -> None:
    there = (Endpoint("fork", 80),)
    route = Route("k", "s", workload(), (Mapping(1, None, "preserve", there), Mapping(2, "grpc", "preserve", ())))
    assert ForRouters().route(route) == route
    changed = ForRouters(calls_by_destination=True).route(route)
    assert [mapping.authority for mapping in changed.mappings] == ["destination"] * 2
    assert changed.mappings[0].destinations == there


def test_another_content_is_another_text() -> None:
    contents = [
        NOTHING,
        ForRouters((LOCATION,)),
        ForRouters((), (Preview("d", "e", Endpoint("h", 1)),)),
        ForRouters(calls_by_destination=True),
    ]
    assert len({each.text for each in contents}) == len(contents)
    assert ForRouters((LOCATION,)).workloads == {workload()}


def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "services.yaml"
    path.write_text(SERVICES)
    file = RoutersFile(str(path), "p.example", calls_by_destination=True)
    taken: list[ForRouters] = []
    file.load()
    assert file.content == ForRouters((LOCATION,), (), calls_by_destination=True)
    file.on_change = taken.append
    for break_it in (lambda: path.write_text("services: 5"), path.unlink):
        break_it()
        with pytest.raises(ReloadError, match="services"):
            file.load()
    assert (taken, file.content.services) == ([], (LOCATION,))
    path.write_text(PREVIEWS)
    file.load()
    assert [(each.services, len(each.previews), each.calls_by_destination) for each in taken] == [((), 2, True)]
