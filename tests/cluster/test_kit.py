"""The kit itself: the server answers as a real one, and the definitions are the real ones."""

from __future__ import annotations

import pytest

from tests.support.cluster import Cluster, missing
from tests.support.kube import Client, Object
from tests.support.waiting import until


def config_map(namespace: str, name: str = "one", **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": dict(data),
    }


def test_it_is_the_server_that_was_built(kube: Client) -> None:
    assert kube.ask("GET", "/version").object["gitVersion"].startswith("v1.")


def test_objects_come_and_go(kube: Client, namespace: str) -> None:
    document = config_map(namespace, a="1")
    assert kube.get(document).status == 404
    assert kube.create(document).status == 201
    assert kube.create(document).reason == "AlreadyExists"
    assert kube.current(document)["data"] == {"a": "1"}
    assert [each["metadata"]["name"] for each in kube.list("v1", "ConfigMap", namespace)] == ["one"]
    assert kube.delete(document).is_ok
    kube.until_gone(document)


def test_dry_run_changes_nothing(kube: Client, namespace: str) -> None:
    document = config_map(namespace)
    assert kube.create(document, dry_run=True).status == 201
    assert kube.get(document).status == 404


def test_two_managers_of_one_field_conflict(kube: Client, namespace: str) -> None:
    """Server-side apply: who owns a field is asked, unless `force`."""
    assert kube.apply(config_map(namespace, a="1"), manager="owner").status == 201
    assert kube.apply(config_map(namespace, b="2"), manager="other").is_ok
    refused = kube.apply(config_map(namespace, a="2"), manager="other")
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert kube.apply(config_map(namespace, a="2"), manager="other", force=True).is_ok
    # `other` no longer says b, which it alone owned
    assert kube.current(config_map(namespace))["data"] == {"a": "2"}


def test_a_json_patch_can_test_the_version(kube: Client, namespace: str) -> None:
    document = config_map(namespace, a="1")
    version = kube.must(kube.create(document))["metadata"]["resourceVersion"]
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    change = {"op": "replace", "path": "/data/a", "value": "2"}
    assert kube.patch(document, [test, change]).is_ok
    assert kube.patch(document, [test, change]).status in {409, 422}
    assert kube.patch(document, {"data": {"a": "3"}}).is_ok
    assert kube.current(document)["data"] == {"a": "3"}


def test_a_wrong_token_is_refused(cluster: Cluster) -> None:
    with_wrong = cluster.client(token="wrong")
    try:
        assert with_wrong.ask("GET", "/api/v1/namespaces").status == 401
    finally:
        with_wrong.close()


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("networking.istio.io/v1", "VirtualService"),
        ("networking.istio.io/v1", "DestinationRule"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ],
)
def test_the_definitions_are_served(kube: Client, namespace: str, api_version: str, kind: str) -> None:
    assert kube.list(api_version, kind, namespace) == []


def test_the_controller_manager_makes_pods_and_takes_orphans_away(cluster: Cluster, namespace: str) -> None:
    if reason := missing("kube-controller-manager"):
        pytest.skip(reason)
    kube = cluster.admin
    labels = {"app": "one"}
    deployment: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "one", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "registry.example/one"}]},
            },
        },
    }
    with cluster.controller_manager():
        kube.must(kube.create(deployment))
        until(lambda: len(kube.list("v1", "Pod", namespace)) == 2, "two pods", within_s=60)
        kube.must(kube.delete(deployment, propagationPolicy="Background"))
        until(lambda: not kube.list("apps/v1", "ReplicaSet", namespace), "no replica set", within_s=60)
