"""Services and workloads -> SPEC 5's `services`, and how manifests are read."""

from __future__ import annotations

from typing import Any

import pytest

from controller.errors import ObjectError
from controller.istio.manifests import Reading
from controller.istio.services import (
    KubernetesService,
    Pods,
    ServicePort,
    for_router,
    joined,
    read_pods,
    read_service,
)
from proxy.routing.names import Workload
from proxy.routing.table import RoutingTable
from proxy.routing.wire import read_document
from tests.support.mesh import entry, workload


def service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "location", "namespace": "hotrod"},
        "spec": {"selector": {"app": "location"}, "ports": list(ports) or [{"port": 80, "targetPort": 8081}], **spec},
    }


def deployment(
    name: str = "location", kind: str = "Deployment", labels: dict[str, str] | None = None, **ports: int
) -> dict[str, Any]:
    containers = [{"ports": [{"name": each, "containerPort": number} for each, number in ports.items()]}]
    template = {"metadata": {"labels": labels or {"app": "location"}}, "spec": {"containers": containers}}
    version = "argoproj.io/v1alpha1" if kind == "Rollout" else "apps/v1"
    metadata = {"name": name, "namespace": "hotrod"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {"template": template}}


def ports_of(*ports: dict[str, Any], **spec: Any) -> list[tuple[int, int | str]]:
    found = read_service(service(*ports, **spec))
    assert found is not None
    return [(port.number, port.target) for port in found.ports]


class TestService:
    @pytest.mark.parametrize(
        ("port", "target"),
        [
            ({"port": 80}, 80),
            ({"port": 80, "targetPort": 8081}, 8081),
            ({"port": 80, "targetPort": "web"}, "web"),
            ({"port": 80, "targetPort": "8081"}, 8081),
        ],
    )
    def test_targets(self, port: dict[str, Any], target: int | str) -> None:
        assert ports_of(port) == [(80, target)]

    @pytest.mark.parametrize(
        ("fields", "is_http"),
        [
            ({}, True),
            ({"name": "http-web"}, True),
            ({"name": "grpc"}, True),
            ({"name": "web"}, True),  # sniffed
            ({"name": "tcp-web"}, False),
            ({"name": "redis"}, False),
            ({"name": "https"}, False),
            ({"name": "tcpish"}, True),
            ({"name": "http", "appProtocol": "tcp"}, False),
            ({"name": "tcp", "appProtocol": "http"}, True),
            ({"appProtocol": "kubernetes.io/h2c"}, True),
            ({"appProtocol": "GRPC"}, True),
            ({"protocol": "UDP"}, False),
            ({"protocol": "TCP"}, True),
        ],
    )
    def test_protocols(self, fields: dict[str, Any], is_http: bool) -> None:
        assert bool(ports_of({"port": 80, **fields})) is is_http

    @pytest.mark.parametrize("spec", [{"selector": {}}, {"selector": None}, {"type": "ExternalName"}])
    def test_what_no_rule_can_be_for(self, spec: dict[str, Any]) -> None:
        assert read_service(service(**spec)) is None

    @pytest.mark.parametrize(
        ("document", "faults"),
        [
            (service({"port": 0}), ["spec.ports[0].port: must be an integer in 1-65535, is 0"]),
            (
                service({"port": 80, "targetPort": 70000}),
                ["spec.ports[0].targetPort: must be an integer in 1-65535, is 70000"],
            ),
            (service({"name": "x"}), ["spec.ports[0].port: missing"]),
            (service(selector={"a": None}), ["spec.selector.a: must be a string, is null"]),
            ({"metadata": []}, ["metadata: must be an object, is a list", "metadata.name: must be a string, is null"]),
        ],
    )
    def test_faults(self, document: dict[str, Any], faults: list[str]) -> None:
        with pytest.raises(ObjectError) as refused:
            read_service(document)
        assert refused.value.faults == faults


class TestJoined:
    def join(self, *documents: dict[str, Any], routed: tuple[Workload, ...] = ()) -> Any:
        services = [read_service(each) for each in documents if each["kind"] == "Service"]
        pods = [read_pods(each) for each in documents if each["kind"] != "Service"]
        return joined([each for each in services if each is not None], pods, routed)

    def test_an_entry_as_spec_5_has_it(self) -> None:
        found = self.join(service(), deployment())
        assert [each.document() for each in found.entries] == [
            {
                "hosts": [
                    "location",
                    "location.hotrod",
                    "location.hotrod.svc",
                    "location.hotrod.svc.cluster.local",
                ],
                "port": 8081,
                "baseline": {"kind": "Deployment", "namespace": "hotrod", "name": "location"},
                "upstream": {"host": "location.hotrod.svc.cluster.local", "port": 80},
            }
        ]
        assert found.notes == ()
        assert read_document(RoutingTable("1", services=found.entries).document()).services == found.entries

    @pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Rollout"])
    def test_kinds(self, kind: str) -> None:
        assert [each.baseline.kind for each in self.join(service(), deployment(kind=kind)).entries] == [kind]

    def test_a_named_port_is_each_workloads_own(self) -> None:
        found = self.join(
            service({"port": 80, "targetPort": "web"}),
            deployment("v1", web=1),
            deployment("v2", web=2),
            deployment("v3"),
        )
        assert [(each.baseline.name, each.port) for each in found.entries] == [("v1", 1), ("v2", 2)]
        assert found.notes == ("Service hotrod/location: hotrod/Deployment/v3 has no port named web",)

    def test_only_what_the_selector_selects_in_its_namespace(self) -> None:
        other = deployment()
        other["metadata"]["namespace"] = "other"
        found = self.join(
            service(), deployment("no", labels={"app": "no"}), other, deployment(labels={"app": "location", "b": "c"})
        )
        assert [str(each.baseline) for each in found.entries] == ["hotrod/Deployment/location"]

    def test_without_a_workload_its_own_name_is_assumed(self) -> None:
        stateful = Workload("hotrod", "StatefulSet", "location")
        found = self.join(service(), routed=(stateful,))
        assert [each.baseline for each in found.entries] == [stateful]
        assert "is assumed by name" in found.notes[0]
        assert self.join(service()).entries == ()

    def test_a_bare_name_is_a_host_where_it_means_one(self) -> None:
        pods = [Pods(Workload(namespace, "Deployment", "a"), {"a": "b"}, {}) for namespace in ("x", "y")]
        services = [KubernetesService(each, "a", {"a": "b"}, (ServicePort(80, 80),)) for each in ("x", "y")]
        assert ["a" in each.hosts for each in joined(services, pods).entries] == [False, False]
        assert ["a" in each.hosts for each in joined(services[:1], pods).entries] == [True]

    def test_no_http_is_said(self) -> None:
        found = self.join(service({"port": 1, "name": "tcp"}), deployment())
        assert (found.entries, found.notes) == ((), ("Service hotrod/location: has no HTTP port",))


class TestForRouter:
    def test_one_workload_for_each_place(self) -> None:
        entries = [entry(behind="a"), entry(), entry(service_port=90, behind="b"), entry("driver", behind="z")]
        found = for_router(entries)
        assert {(each.upstream.port, each.baseline.name) for each in found.entries} == {
            (80, "location"),
            (90, "b"),
            (80, "z"),
        }
        assert len(found.notes) == 1
        assert read_document(RoutingTable("1", services=found.entries).document()).services == found.entries


class TestReading:
    def test_kinds_of_others_are_counted(self) -> None:
        reading = Reading()
        for document in (
            {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "a"}},
            {"apiVersion": "v1", "kind": "Secret"},
            {"apiVersion": "v1", "kind": "Secret"},
        ):
            reading.add(document, "here")
        assert (reading.faults, dict(reading.ignored)) == ([], {"Service": 1, "Secret": 2})

    def test_a_deployments_replica_sets_are_no_workloads_of_their_own(self) -> None:
        """As `kubectl get deployments,replicasets` prints them; a router has one workload for each Service."""
        reading = Reading("hotrod")
        reading.add(service(), "service")
        reading.add(deployment(), "deployment")
        for number, kind in enumerate(["Deployment", "Operator"]):
            one = {**deployment(), "kind": "ReplicaSet"}
            owners = [{"apiVersion": "a/v1", "kind": kind, "name": "location", "controller": True}]
            one["metadata"] = {"name": f"location-{number}", "namespace": "hotrod", "ownerReferences": owners}
            reading.add(one, f"set {number}")
        mesh, _ = reading.mesh()
        assert reading.faults == []
        assert [each.baseline for each in mesh.entries] == [workload(), workload("location-1", "ReplicaSet")]

    def test_another_name_for_a_service_is_a_host_too(self) -> None:
        """A mesh applies the Service's rules to it, so a router is asked by it."""
        reading = Reading("hotrod")
        reading.add(service(), "service")
        reading.add(deployment(), "deployment")
        for namespace, host in (("other", "location.hotrod.svc.cluster.local"), ("third", "example.com")):
            spec = {"type": "ExternalName", "externalName": host}
            metadata = {"name": "places", "namespace": namespace}
            reading.add({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}, namespace)
        mesh, _ = reading.mesh()
        (found,) = mesh.entries
        assert found.hosts[0] == "location"
        assert found.hosts[4:] == ("places.other", "places.other.svc", "places.other.svc.cluster.local")

    def test_all_kinds_make_a_mesh(self) -> None:
        reading = Reading("hotrod")
        rule = {"host": "location", "subsets": [{"name": "v1", "labels": {"version": "1"}}, {"name": "v2"}]}
        for kind, version, spec in (
            ("DestinationRule", "networking.istio.io/v1beta1", rule),
            ("ServiceEntry", "networking.istio.io/v1", {"hosts": ["Api.example.com"]}),
            ("Namespace", "v1", None),
        ):
            metadata = {"name": "hotrod", "labels": {"istio.io/dataplane-mode": "ambient"}}
            reading.add({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}, kind)
        reading.add(service(), "service")
        reading.add(deployment(), "deployment")
        mesh, notes = reading.mesh(entries=[entry("driver")])
        assert reading.faults == []
        assert notes == ()
        assert mesh.subsets == {
            ("location.hotrod.svc.cluster.local", "v1"): {"version": "1"},
            ("location.hotrod.svc.cluster.local", "v2"): {},
        }
        assert mesh.outside == {"api.example.com"}
        assert mesh.lacks_waypoint("location.hotrod.svc.cluster.local")
        assert [each.baseline for each in mesh.entries] == [workload(), workload("driver")]
        assert mesh.pod_labels == {workload(): {"app": "location"}}

    @pytest.mark.parametrize(
        ("document", "fault"),
        [
            ([], "here: must be an object"),
            ({"kind": "Service"}, "here: must have apiVersion and kind"),
            ({"apiVersion": "v1", "kind": "Service", "metadata": {}}, "here: metadata.name: must be a string, is null"),
            (
                {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "a"},
                 "spec": {"hosts": "x"}},
                "here: spec.hosts: must be a list, is 'x'",
            ),
        ],
    )  # fmt: skip
    def test_faults(self, document: object, fault: str) -> None:
        reading = Reading()
        reading.add(document, "here")
        assert reading.faults == [fault]
