from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from controller.allow import AllowList
from controller.compile import Compilation, Compiler, Settings, compile_objects
from controller.objects import Object, PreviewEndpoint, Ref, Status, Ttl
from controller.routers import ForRouters
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import GoneRoute, Preview, RoutingTable, Service
from proxy.routing.wire import read_document
from tests.support.objects import HOUR, NOON, fork, group, local, sandbox, workload

LOOPBACK = AllowList(["127.0.0.0/8"])
SETTINGS = Settings(LOOPBACK)
SECOND = timedelta(seconds=1)


def compiled(*objects: Object, **settings: object) -> Compilation:
    return compile_objects(objects, None, NOON, Settings(LOOPBACK, **settings))  # type: ignore[arg-type]


def routes(table: RoutingTable) -> dict[str, dict[str, list[str]]]:
    """key -> workload's name -> `port sandbox -> destinations`"""
    found: dict[str, dict[str, list[str]]] = {}
    for route in table.routes:
        found.setdefault(route.routing_key, {})[route.baseline.name] = [
            f"{mapping.port} {route.sandbox} -> {' '.join(map(str, mapping.destinations))}".strip()
            for mapping in route.mappings
        ]
    return found


def reason(compilation: Compilation, object_: Object, type_: str) -> str | None:
    condition = compilation.statuses[object_.ref].condition(type_)
    return f"{condition.status} {condition.reason}" if condition is not None else None


# --- one sandbox ---


def test_a_sandbox_is_routes_and_a_live_key() -> None:
    one = sandbox("pr-1", local("b", 81, "127.0.0.2", 9081), local("a"))
    found = compiled(one)
    assert routes(found.table) == {"pr-1": {"a": ["8081 pr-1 -> 127.0.0.1:9081"], "b": ["81 pr-1 -> 127.0.0.2:9081"]}}
    assert found.table.live == {b"pr-1"}
    assert read_document(found.table.document()).document() == found.table.document()
    status = found.statuses[one.ref]
    assert status.routing_key == "pr-1"
    assert (status.observed_generation, status.updated_at, status.expires_at) == (1, NOON, None)
    assert [(each.type, each.status) for each in status.conditions] == [
        ("Accepted", "True"),
        ("TargetsAllowed", "True"),
        ("Ready", "True"),
    ]


def test_a_fork_on_files_has_a_route_without_destination() -> None:
    one = sandbox("pr-1", fork("a"), local("b"))
    found = compiled(one)
    assert routes(found.table) == {"pr-1": {"a": [], "b": ["8081 pr-1 -> 127.0.0.1:9081"]}}
    assert reason(found, one, "ForksReady") == "False NeedsCluster"
    assert reason(found, one, "Ready") == "False NoDestination"
    ready = found.statuses[one.ref].condition("Ready")
    assert ready is not None
    assert ready.message == "no destination for hotrod/Deployment/a"


def test_a_target_outside_the_networks_has_no_destination() -> None:
    one = sandbox("pr-1", local("a", target="10.0.0.1"), local("b"))
    found = compiled(one)
    assert routes(found.table)["pr-1"] == {"a": ["8081 pr-1 ->"], "b": ["8081 pr-1 -> 127.0.0.1:9081"]}
    condition = found.statuses[one.ref].condition("TargetsAllowed")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "TargetNotAllowed")
    assert condition.message == "spec.local[0].mappings[0].toLocal: 10.0.0.1:9081 is outside the allowed networks"
    assert reason(found, one, "Ready") == "False NoDestination"


def test_nothing_is_allowed_by_default() -> None:
    found = compile_objects([sandbox()], None, NOON)
    assert routes(found.table) == {"pr-1": {"location": ["8081 pr-1 ->"]}}


def test_known_workloads_and_ports() -> None:
    known = {workload("a"): frozenset({8081, 8082}), workload("b"): frozenset({1})}
    fine, fork_of_a = sandbox("fine", local("a")), sandbox("fork", fork("a"))
    no_port, no_workload = sandbox("no-port", local("b")), sandbox("no-workload", local("c"), fork("d"))
    found = compile_objects([fine, fork_of_a, no_port, no_workload], None, NOON, SETTINGS, known)
    assert reason(found, fine, "WorkloadsKnown") == "True Known"
    assert reason(found, no_port, "WorkloadsKnown") == "False UnknownPort"
    assert reason(found, no_workload, "WorkloadsKnown") == "False UnknownWorkload"
    condition = found.statuses[no_workload.ref].condition("WorkloadsKnown")
    assert condition is not None
    assert condition.message == (
        "spec.forks[0].forkOf: there is no hotrod/Deployment/d; spec.local[0].from: there is no hotrod/Deployment/c"
    )
    # The routes stand in any case: a proxy of that workload would be asked by them.
    assert routes(found.table)["no-workload"] == {"c": ["8081 no-workload -> 127.0.0.1:9081"], "d": []}
    assert routes(found.table)["fork"] == {"a": ["8081 fork ->", "8082 fork ->"]}


def test_workloads_become_known() -> None:
    compiler = Compiler(SETTINGS)
    one, other = sandbox("one", local("a"), fork("b")), sandbox("other", local("c"))
    compiler.put(one)
    compiler.put(other)
    assert reason(compiler.compile(NOON), one, "WorkloadsKnown") is None
    compiler.set_workloads({workload("b"): frozenset({7})})
    found = compiler.compile(NOON)
    assert reason(found, one, "WorkloadsKnown") == "False UnknownWorkload"
    assert routes(found.table)["one"]["b"] == ["7 one ->"]
    compiler.set_workloads({workload("b"): frozenset({7}), workload("a"): frozenset({8081})})
    found = compiler.compile(NOON)
    assert reason(found, one, "WorkloadsKnown") == "True Known"
    assert other.ref not in found.statuses


def test_an_object_without_a_key_yet() -> None:
    one = sandbox(key=None)
    found = compiled(one)
    assert found.table.live == frozenset()
    assert reason(found, one, "Accepted") == "False NoKey"


def test_time_to_live() -> None:
    one = sandbox(ttl=Ttl("4h"))
    compiler = Compiler(SETTINGS)
    compiler.put(one)
    assert compiler.compile(NOON + HOUR).statuses[one.ref].expires_at == NOON + 4 * HOUR
    changed = replace(one, metadata=replace(one.metadata, generation=2))
    compiler.put(changed)
    status = compiler.compile(NOON + 2 * HOUR).statuses[one.ref]
    assert (status.updated_at, status.expires_at) == (NOON + 2 * HOUR, NOON + 6 * HOUR)
    # Another controller, later: the time of the change was kept in the status.
    again = compile_objects([replace(changed, status=status)], None, NOON + 3 * HOUR, SETTINGS)
    assert again.statuses == {}


def test_previews() -> None:
    one = sandbox(endpoints=(PreviewEndpoint("web", "http://frontend.svc:8080"), PreviewEndpoint("api", "api")))
    found = compiled(one, preview_domain="p.example")
    assert [preview.document() for preview in found.table.previews] == [
        {"domain": "p.example", "endpoint": "api", "upstream": {"host": "api", "port": 80}, "routingKey": "pr-1"},
        {
            "domain": "p.example",
            "endpoint": "web",
            "upstream": {"host": "frontend.svc", "port": 8080},
            "routingKey": "pr-1",
        },
    ]
    assert [each.url for each in found.statuses[one.ref].endpoints] == [
        "https://web--pr-1.p.example",
        "https://api--pr-1.p.example",
    ]
    read_document(found.table.document())
    without = compiled(one)
    assert without.table.previews == ()
    assert [each.document() for each in without.statuses[one.ref].endpoints] == [
        {"name": "web", "target": "http://frontend.svc:8080"},
        {"name": "api", "target": "api"},
    ]


def test_services_are_passed_on() -> None:
    service = Service(("location",), 8081, workload(), Endpoint("location.svc", 80))
    with_services = compiled(sandbox(), for_routers=ForRouters((service,)))
    assert with_services.table.services == (service,)
    assert with_services.version != compiled(sandbox()).version


def test_what_routers_get_is_news_of_its_own() -> None:
    service = Service(("location",), 8081, workload(), Endpoint("location.svc", 80))
    compiler = Compiler(SETTINGS)
    compiler.put(sandbox())
    first = compiler.compile(NOON)
    assert not compiler.has_news
    assert not compiler.compile(NOON).is_news
    for_routers = ForRouters((service,), (Preview("p.example", "web", Endpoint("web", 80)),))
    compiler.set_for_routers(for_routers)
    assert compiler.has_news
    found = compiler.compile(NOON)
    assert (found.is_news, found.keys, found.for_routers) == (True, (), for_routers)
    assert (found.table.services, found.table.previews) == (for_routers.services, for_routers.previews)
    assert found.version != first.version
    compiler.set_for_routers(replace(for_routers))  # the same, read again
    assert not compiler.has_news
    compiler.set_for_routers(ForRouters())
    assert compiler.compile(NOON).version == first.version


# --- one key, claimed twice (CHECKLIST M7) ---


def test_the_older_wins() -> None:
    younger = sandbox("a", local("a"), key="k", created=NOON)
    older = sandbox("b", local("b"), key="k", created=NOON - SECOND, namespace="other")
    found = compiled(younger, older)
    assert routes(found.table) == {"k": {"b": ["8081 b -> 127.0.0.1:9081"]}}
    assert reason(found, older, "Accepted") == "True Accepted"
    assert reason(found, younger, "Accepted") == "False KeyClaimed"
    status = found.statuses[younger.ref]
    assert status.routing_key is None
    condition = status.condition("Accepted")
    assert condition is not None
    assert condition.message == "an object of another namespace has the key k"  # not which


def test_of_equal_age_the_first_by_name_wins() -> None:
    objects: list[Object] = [
        sandbox("b", key="k", namespace="ns"),
        sandbox("a", key="k", namespace="ns"),
        sandbox("a", key="k", namespace="nt"),
        group("a", key="k", namespace="ns"),
        sandbox("0", key="k", namespace="ns", created=None),
    ]
    found = compiled(*objects)
    winners = [ref for ref, status in found.statuses.items() if status.routing_key == "k"]
    assert winners == [Ref("RouteGroup", "ns", "a")]
    condition = found.statuses[objects[1].ref].condition("Accepted")
    assert condition is not None
    assert condition.message == "RouteGroup ns/a, which is older, has the key k"


def test_the_next_takes_over_at_once_in_its_own_namespace() -> None:
    older, younger = sandbox("a", local("a"), key="k"), sandbox("b", local("b"), key="k", created=NOON + SECOND)
    compiler = Compiler(SETTINGS)
    compiler.put(younger)
    compiler.put(older)
    compiler.compile(NOON)
    compiler.delete(older.ref)
    found = compiler.compile(NOON + SECOND)
    assert found.table.live == {b"k"}
    assert found.table.gone == frozenset()
    assert found.table.gone_routes == (GoneRoute("k", workload("a")),)
    assert reason(found, younger, "Accepted") == "True Accepted"
    assert list(found.statuses) == [younger.ref]


@pytest.mark.parametrize("age", [-10 * SECOND, 10 * SECOND], ids=["older", "younger"])
def test_a_live_key_is_never_taken_by_another_namespace(age: timedelta) -> None:
    owner, thief = sandbox("a", key="k"), sandbox("b", key="k", namespace="other", created=NOON + age)
    compiler = Compiler(SETTINGS)
    compiler.put(owner)
    compiler.compile(NOON)
    compiler.put(thief)
    found = compiler.compile(NOON + SECOND)
    assert found.keys == ()
    assert reason(found, thief, "Accepted") == "False KeyClaimed"
    # Nor after a restart, whoever is seen first.
    again = compile_objects([thief, owner], compiler.memory(), NOON + 2 * SECOND, SETTINGS)
    assert again.statuses[owner.ref].routing_key == "k"


def test_a_gone_key_is_its_namespaces_for_an_hour() -> None:
    owner, thief = sandbox("a", key="k"), sandbox("b", key="k", namespace="other", created=NOON - HOUR)
    compiler = Compiler(SETTINGS)
    compiler.put(owner)
    compiler.compile(NOON)
    compiler.put(thief)
    compiler.delete(owner.ref)
    found = compiler.compile(NOON)
    assert found.table.live == frozenset()
    assert found.table.gone == {b"k"}
    assert reason(found, thief, "Accepted") == "False KeyReserved"
    condition = found.statuses[thief.ref].condition("Accepted")
    assert condition is not None
    assert condition.message == "another namespace had the key k: it is free from 2026-11-25T13:00:00Z"
    heir = sandbox("c", local("c"), key="k", created=NOON + SECOND)
    back = Compiler(SETTINGS, compiler.memory())
    back.put(thief)
    back.put(heir)
    found = back.compile(NOON + HOUR / 2)
    assert routes(found.table) == {"k": {"c": ["8081 c -> 127.0.0.1:9081"]}}
    assert found.table.gone_routes == (GoneRoute("k", workload()),)
    # Without an heir, the other has it when the hour is over, and is told so although there was no news.
    assert compiler.next_expiry == NOON + HOUR
    assert compiler.compile(NOON + HOUR - SECOND).keys == ()
    found = compiler.compile(NOON + HOUR)
    assert routes(found.table) == {"k": {"location": ["8081 b -> 127.0.0.1:9081"]}}
    assert found.table.gone_routes == ()
    assert reason(found, thief, "Accepted") == "True Accepted"


# --- gone keys and routes (SPEC 4) ---


def test_deleted_keys_and_routes_are_gone_for_an_hour() -> None:
    one, two = sandbox("pr-1", local("a"), local("b")), sandbox("pr-2")
    compiler = Compiler(SETTINGS)
    compiler.put(one)
    compiler.put(two)
    compiler.compile(NOON)
    compiler.delete(two.ref)
    compiler.put(sandbox("pr-1", local("b")))
    found = compiler.compile(NOON + SECOND)
    assert found.table.gone == {b"pr-2"}
    assert found.table.gone_routes == (GoneRoute("pr-1", workload("a")),)
    assert [state.key for state in found.keys] == ["pr-1", "pr-2"]
    assert set(found.memory) == {"pr-1", "pr-2"}
    nearly = compiler.compile(NOON + HOUR)
    assert (nearly.keys, nearly.memory, nearly.statuses) == ((), {}, {})
    after = compiler.compile(NOON + HOUR + SECOND)
    assert after.table.gone == frozenset()
    assert after.table.gone_routes == ()
    assert [(state.key, state.is_known) for state in after.keys] == [("pr-1", True), ("pr-2", False)]
    assert after.memory["pr-2"] is None
    assert compiler.next_expiry is None
    assert after.version == compiled(sandbox("pr-1", local("b"))).version


def test_what_went_while_the_controller_was_away_is_gone() -> None:
    before = compiled(sandbox("pr-1", local("a"), local("b")), sandbox("pr-2"))
    memory = {key: record for key, record in before.memory.items() if record is not None}
    after = compile_objects([sandbox("pr-1", local("b"))], memory, NOON + HOUR, SETTINGS)
    assert after.table.gone == {b"pr-2"}
    assert after.table.gone_routes == (GoneRoute("pr-1", workload("a")),)
    assert after.memory.keys() == {"pr-1", "pr-2"}


def test_a_key_that_comes_back_is_live_at_once() -> None:
    one = sandbox()
    compiler = Compiler(SETTINGS)
    compiler.put(one)
    version = compiler.compile(NOON).version
    compiler.delete(one.ref)
    assert compiler.compile(NOON).version != version
    compiler.put(one)
    assert compiler.compile(NOON + SECOND).version == version


def test_an_object_that_is_being_deleted_has_no_routes() -> None:
    one, two = sandbox("a", key="k", deleted=NOON, labels={"pr": "1"}), group()
    compiler = Compiler(SETTINGS)
    compiler.put(sandbox("a", key="k", labels={"pr": "1"}))
    compiler.put(two)
    assert routes(compiler.compile(NOON).table).keys() == {"k", "epic"}
    compiler.put(one)
    found = compiler.compile(NOON)
    assert found.table.routes == ()
    assert found.table.gone == {b"k"}
    assert reason(found, one, "Accepted") == "False Deleting"
    assert reason(found, two, "Matched") == "False NoSandbox"
    compiler.delete(one.ref)
    assert compiler.compile(NOON).keys == ()


# --- route groups ---


def test_a_group_has_its_members_routes() -> None:
    one, two = sandbox("a", local("a"), labels={"pr": "1"}), sandbox("b", local("b"), labels={"pr": "2"})
    epic = group()
    found = compiled(one, two, sandbox("c"), epic)
    assert routes(found.table)["epic"] == {"a": ["8081 a -> 127.0.0.1:9081"], "b": ["8081 b -> 127.0.0.1:9081"]}
    assert found.statuses[epic.ref].sandboxes == ("hotrod/a", "hotrod/b")
    assert [(each.type, each.status) for each in found.statuses[epic.ref].conditions] == [
        ("Accepted", "True"),
        ("Matched", "True"),
        ("Unambiguous", "True"),
        ("Ready", "True"),
    ]


def test_a_group_of_none_has_a_live_key() -> None:
    epic = group()
    found = compiled(epic)
    assert found.table.live == {b"epic"}
    assert found.table.document()["liveKeys"] == ["epic"]
    assert reason(found, epic, "Matched") == "False NoSandbox"
    assert reason(found, epic, "Ready") == "False NoRoute"


def test_one_workload_twice_in_a_group_leads_nowhere() -> None:
    one = sandbox("a", local("a"), local("x", 1), labels={"pr": "1"})
    two = sandbox("b", local("b"), local("x", 2), labels={"pr": "2"})
    epic = group()
    found = compiled(one, two, epic)
    assert routes(found.table)["epic"] == {
        "a": ["8081 a -> 127.0.0.1:9081"],
        "b": ["8081 b -> 127.0.0.1:9081"],
        "x": ["1 epic ->", "2 epic ->"],
    }
    condition = found.statuses[epic.ref].condition("Unambiguous")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "WorkloadTwice")
    assert condition.message == "hotrod/Deployment/x is changed by hotrod/a, hotrod/b"
    assert reason(found, epic, "Ready") == "False NoDestination"
    for each in (one, two):  # reported on the group only
        assert reason(found, each, "Ready") == "True Ready"


def test_a_sandbox_without_its_own_key_is_still_a_member() -> None:
    older, younger = sandbox("a", key="k"), sandbox("b", local("b"), key="k", created=NOON + SECOND, labels={"pr": "1"})
    found = compiled(older, younger, group())
    assert routes(found.table)["epic"] == {"b": ["8081 b -> 127.0.0.1:9081"]}


def test_other_namespaces_by_grant_only() -> None:
    epic = group(namespace="epics", namespaces=("hotrod",))
    found = compiled(epic, sandbox("a", labels={"pr": "1"}), sandbox("b", labels={"pr": "1"}, grants=("epics",)))
    assert found.statuses[epic.ref].sandboxes == ("hotrod/b",)


def test_grants_come_and_go() -> None:
    compiler = Compiler(SETTINGS)
    epic = group(namespace="epics", namespaces=("hotrod",))
    compiler.put(epic)
    compiler.put(sandbox("a", labels={"pr": "1"}))
    assert compiler.compile(NOON).statuses[epic.ref].sandboxes == ()
    compiler.put(sandbox("a", labels={"pr": "1"}, grants=("epics",)))
    assert compiler.compile(NOON).statuses[epic.ref].sandboxes == ("hotrod/a",)
    compiler.put(sandbox("a", labels={"pr": "1"}))
    assert compiler.compile(NOON).statuses[epic.ref].sandboxes == ()


def test_members_come_and_go() -> None:
    compiler = Compiler(SETTINGS)
    epic = group()

    def members() -> tuple[str, ...]:
        found = compiler.compile(NOON)
        assert routes(found.table).get("epic", {}).keys() == {
            name for each in found.statuses.get(epic.ref, Status()).sandboxes for name in [each.partition("/")[2]]
        }
        return found.statuses[epic.ref].sandboxes

    compiler.put(sandbox("a", local("a"), labels={"pr": "1"}))
    compiler.put(epic)
    assert members() == ("hotrod/a",)
    compiler.put(sandbox("b", local("b"), labels={"pr": "2"}))
    assert members() == ("hotrod/a", "hotrod/b")
    compiler.put(sandbox("a", local("a"), labels={"other": "1"}))
    assert members() == ("hotrod/b",)
    compiler.put(sandbox("a", local("a"), labels={"pr": "1"}))
    compiler.delete(sandbox("b").ref)
    assert members() == ("hotrod/a",)
    compiler.delete(epic.ref)
    assert compiler.compile(NOON).table.gone == {b"epic", b"b"}
    compiler.put(epic)
    assert members() == ("hotrod/a",)


def test_a_members_change_is_the_groups() -> None:
    compiler = Compiler(SETTINGS)
    compiler.put(sandbox("a", labels={"pr": "1"}))
    compiler.put(group())
    compiler.compile(NOON)
    compiler.put(sandbox("a", local(target_port=7), labels={"pr": "1"}))
    assert routes(compiler.compile(NOON).table)["epic"] == {"location": ["8081 a -> 127.0.0.1:7"]}


def test_a_long_list_of_members_is_cut() -> None:
    epic = group()
    found = compiled(epic, *(sandbox(f"s{number}", labels={"pr": "1"}) for number in range(120)))
    assert len(found.statuses[epic.ref].sandboxes) == 100
    condition = found.statuses[epic.ref].condition("Matched")
    assert condition is not None
    assert condition.message == "120 sandboxes"
    unambiguous = found.statuses[epic.ref].condition("Unambiguous")
    assert unambiguous is not None
    assert unambiguous.message.endswith("hotrod/s0, hotrod/s1, hotrod/s10, hotrod/s100, hotrod/s101 and 115 more")


# --- what a compilation says ---


def test_no_news_is_no_change() -> None:
    compiler = Compiler(SETTINGS)
    one = sandbox()
    compiler.put(one)
    first = compiler.compile(NOON)
    compiler.put(one)
    compiler.delete(Ref("Sandbox", "hotrod", "unheard-of"))
    compiler.put(replace(one, status=first.statuses[one.ref]))  # as the store gives it back
    second = compiler.compile(NOON + HOUR)
    assert (second.keys, second.statuses, second.memory) == ((), {}, {})
    assert second.version == first.version
    assert second.table.document() == first.table.document()


def test_a_status_that_is_as_it_should_be_is_not_told() -> None:
    one = sandbox()
    status = compiled(one).statuses[one.ref]
    assert compiled(replace(one, status=status)).statuses == {}


def test_nothing_at_all() -> None:
    found = compiled()
    assert found.table.routes == ()
    assert found.table.version == found.version
    assert found.version != compiled(sandbox()).version


def test_workloads_of_another_namespace() -> None:
    there = Workload("elsewhere", "Deployment", "x")
    one = sandbox("a", replace(local(), from_=there))
    assert [route.baseline for route in compiled(one).table.routes] == [there]


def in_order(objects: Iterable[Object]) -> str:
    return compiled(*objects).version


def test_the_version_is_of_the_content() -> None:
    one, two = sandbox("a"), sandbox("b")
    assert in_order([one, two]) == in_order([two, one])
    assert in_order([one]) != in_order([two])
    assert in_order([one]) == in_order([sandbox("a", ttl=Ttl("1h"))])  # no proxy needs to know
