"""Routing rules and their changes."""

from __future__ import annotations

import json
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.allow import AllowList
from controller.compile import Compiler, Settings
from controller.rest.rules import ADD, REMOVE, REPLACE, RuleChange, RuleFilter, Rules, rule_document
from proxy.routing.names import Workload
from proxy.routing.table import Route
from tests.support.folder import ref
from tests.support.objects import NOON, local, sandbox

LOOPBACK = Settings(AllowList(["127.0.0.0/8"]))


def test_a_change_as_a_line() -> None:
    compiler, rules = Compiler(LOOPBACK), Rules()
    compiler.put(sandbox("one"))
    (change,) = rules.apply(compiler.compile(NOON))
    assert json.loads(change.line()) == {
        "type": "ADD",
        "routingRule": {
            "routingKey": "one",
            "baseline": {"kind": "Deployment", "namespace": "hotrod", "name": "location"},
            "destinationSandbox": {"name": "one"},
            "mappings": [{"workloadPort": 8081, "destinations": [{"host": "127.0.0.1", "port": 9081}]}],
        },
    }
    assert change.line().count(b"\n") == 1


def test_what_is_told_of_changes() -> None:
    compiler, rules = Compiler(LOOPBACK), Rules()

    def told() -> list[tuple[str, str]]:
        return [(change.type, change.route.baseline.name) for change in rules.apply(compiler.compile(NOON))]

    compiler.put(sandbox("one", local("a"), local("b"), local("c")))
    assert told() == [(ADD, "a"), (ADD, "b"), (ADD, "c")]
    compiler.put(sandbox("one", local("a"), local("b", target_port=1), local("d")))
    assert told() == [(REPLACE, "b"), (ADD, "d"), (REMOVE, "c")]
    compiler.put(sandbox("one", local("a"), local("b", target_port=1), local("d"), labels={"x": "y"}))
    assert told() == []
    compiler.delete(ref("one"))
    assert told() == [(REMOVE, "a"), (REMOVE, "b"), (REMOVE, "d")]
    assert list(rules.matching(RuleFilter())) == []


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["one", "two", "three"]),
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 2)), max_size=3, unique_by=lambda pair: pair[0]),
    ),
    max_size=12,
)


@given(_STEPS)
def test_whoever_follows_knows_what_there_is(steps: list[tuple[str, list[tuple[str, int]]]]) -> None:
    compiler, rules = Compiler(LOOPBACK), Rules()
    known: dict[tuple[str, Workload], Route] = {}
    for number, (name, changes) in enumerate(steps):
        if changes:
            compiler.put(sandbox(name, *(local(workload, target_port=port) for workload, port in changes)))
        else:
            compiler.delete(ref(name))
        found = compiler.compile(NOON + timedelta(minutes=7 * number))
        for change in rules.apply(found):
            place = change.route.routing_key, change.route.baseline
            assert (change.type == ADD) == (place not in known)
            if change.type == REMOVE:
                assert known.pop(place) == change.route
            else:
                assert known.get(place) != change.route
                known[place] = change.route
        assert set(known.values()) == set(found.table.routes) == set(rules.matching(RuleFilter()))


def test_filters() -> None:
    route = Route("k", "s", Workload("ns", "Kind", "n"), ())
    right = {"kind": "Kind", "namespace": "ns", "name": "n", "routing_key": "k", "sandbox": "s"}
    assert RuleFilter(**right).takes(route)
    for name in right:
        assert RuleFilter(**{name: right[name]}).takes(route)
        assert not RuleFilter(**{**right, name: "other"}).takes(route)
    assert rule_document(route)["mappings"] == []
    assert RuleChange(ADD, route).line().endswith(b"\n")
