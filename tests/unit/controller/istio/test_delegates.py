"""Owners' delegates merged as istiod does (pilot/pkg/model/virtualservice.go)."""

from __future__ import annotations

from typing import Any

import pytest

from controller.istio.delegates import expanded
from tests.support.mesh import http, to, virtual_service

ROOT: dict[str, Any] = {"delegate": {"name": "inner"}}


def merged(root: dict[str, Any], *leaves: dict[str, Any], **fields: Any) -> list[Any]:
    inner = virtual_service(*leaves, hosts=None, name="inner", **fields)
    found = expanded([{**ROOT, **root}], "hotrod", {(inner.namespace, inner.name): inner})
    assert found.missing is None
    return found.routes


def test_what_the_leaf_does_not_say_is_the_roots() -> None:
    root = {"timeout": "1s", "headers": {"request": {}}, "retries": {"attempts": 1}, "name": "root"}
    leaf = http(timeout="2s", name="leaf")
    assert merged(root, leaf) == [
        {**leaf, "name": "root-leaf", "headers": {"request": {}}, "retries": {"attempts": 1}},
    ]


@pytest.mark.parametrize(
    ("root", "leaf", "both"),
    [
        ({}, {}, {}),
        ({"uri": {"prefix": "/a"}}, {}, {"uri": {"prefix": "/a"}}),
        ({"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/a/b"}}, {"uri": {"prefix": "/a/b"}}),
        ({"uri": {"prefix": "/a"}}, {"uri": {"exact": "/a/b"}}, {"uri": {"exact": "/a/b"}}),
        ({"uri": {"prefix": "/a/b"}}, {"uri": {"prefix": "/a"}}, None),
        ({"uri": {"exact": "/a"}}, {"uri": {"exact": "/a"}}, {"uri": {"exact": "/a"}}),
        ({"uri": {"exact": "/a"}}, {"uri": {"prefix": "/a"}}, None),
        ({"uri": {"regex": "/a"}}, {"uri": {"regex": "/a"}}, None),
        ({"headers": {"a": {}}}, {"headers": {"b": {}}}, {"headers": {"a": {}, "b": {}}}),
        ({"headers": {"a": {"exact": "1"}}}, {"headers": {"a": {"exact": "2"}}}, None),
        ({"port": 80}, {"port": 81}, None),
        ({"port": 80}, {"method": {"exact": "GET"}}, {"port": 80, "method": {"exact": "GET"}}),
        ({"sourceNamespace": "a"}, {"port": 1}, None),
        ({"sourceNamespace": "a"}, {"sourceNamespace": "a"}, {"sourceNamespace": "a"}),
        ({"sourceLabels": {"a": "b"}}, {"sourceLabels": {"a": "c"}}, None),
        ({"sourceLabels": {"a": "b"}}, {"sourceLabels": {"c": "d"}}, {"sourceLabels": {"a": "b", "c": "d"}}),
        ({"gateways": ["a"]}, {"gateways": ["b"]}, None),
        ({"gateways": ["a", "b"]}, {"gateways": ["b"]}, {"gateways": ["b"]}),
        ({"gateways": ["a"]}, {"port": 1}, {"gateways": ["a"], "port": 1}),
        ({"ignoreUriCase": True}, {"uri": {"exact": "/"}}, None),
        ({"name": "r", "port": 1}, {"name": "l"}, {"name": "r-l", "port": 1}),
    ],
)  # fmt: skip
def test_matches(root: dict[str, Any], leaf: dict[str, Any], both: dict[str, Any] | None) -> None:
    found = merged({"match": [root]} if root else {}, http(match=[leaf]) if leaf else http())
    assert found == ([] if both is None else [http(match=[both]) if both else http()])


def test_each_block_with_each() -> None:
    root = {"match": [{"port": 1}, {"port": 2}]}
    (found,) = merged(root, http(match=[{"method": {"exact": "A"}}, {"port": 2}]))
    assert [(block.get("port"), "method" in block) for block in found["match"]] == [(1, True), (2, True), (2, False)]


def test_what_is_not_exported_is_passed_over() -> None:
    inner = virtual_service(http(), hosts=None, name="inner", namespace="other", exportTo=["."])
    root = {"delegate": {"name": "inner", "namespace": "other"}}
    assert expanded([root, http()], "hotrod", {("other", "inner"): inner}) == ([http()], None)
    for export in (["hotrod"], ["*"], []):
        inner = virtual_service(http(to("x")), hosts=None, name="inner", namespace="other", exportTo=export)
        assert len(expanded([root, http()], "hotrod", {("other", "inner"): inner}).routes) == 2


def test_what_is_not_given_ends_the_list() -> None:
    assert expanded([http(), ROOT, http()], "hotrod", {}) == ([http()], "hotrod/inner")
