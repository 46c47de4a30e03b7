"""`pointsman istio render` as a command: files in, manifests, findings and exit codes out."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pointsman.__main__ import main
from pointsman.cli.flags import release, router_address
from proxy.routing.wire import read_document

SANDBOX = """\
apiVersion: pointsman.dev/v1alpha1
kind: Sandbox
metadata: {name: pr-1, labels: {pr: "1"}}
spec:
  routingKey: k3y
  local:
  - from: {kind: Deployment, namespace: hotrod, name: location}
    mappings: [{port: 8081, toLocal: "fork.hotrod.svc.cluster.local:8081"}]
"""
GROUP = """\
apiVersion: pointsman.dev/v1alpha1
kind: RouteGroup
metadata: {name: epic}
spec: {routingKey: epic, match: {label: {key: pr, value: "*"}}}
"""
TABLE = """\
apiVersion: pointsman.dev/v1alpha1
kind: RoutingTable
version: "1"
routes:
- routingKey: k3y
  sandbox: pr-1
  baseline: {kind: Deployment, namespace: hotrod, name: location}
  mappings: [{port: 8081, destinations: [{host: fork.hotrod.svc.cluster.local, port: 8081}]}]
"""
OWNER = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: location, namespace: hotrod, resourceVersion: "7"}
spec: {hosts: [location], http: [{route: [{destination: {host: location}}]}]}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: location, namespace: hotrod}
spec: {selector: {app: location}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: location, namespace: hotrod}
spec:
  template:
    metadata: {labels: {app: location}}
    spec: {containers: [{ports: [{name: http, containerPort: 8081}]}]}
"""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "NAMESPACE",
        "OUTPUT",
        "API",
        "ISTIO_MODE",
        "ROUTER",
        "REGEX",
        "OWN",
        "KEY_NAME",
        "FILE",
        "REMOVE",
        "DIFF",
    ):
        monkeypatch.delenv(f"POINTSMAN_{name}", raising=False)


def run(*words: str, **files: str) -> int:
    """Runs the command on these files, written as `name_yaml`."""
    for name, text in files.items():
        Path(f"{name}.yaml").write_text(text)
    return main(["istio", "render", *(word for name in files for word in ("-f", f"{name}.yaml")), *words])


class TestOutput:
    def test_yaml_for_kubectl(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("--own", "patch", sandbox=SANDBOX, owner=OWNER) == 0
        out, err = capsys.readouterr()
        (found,) = yaml.safe_load_all(out)
        assert len(found["spec"]["http"]) == 2
        assert err == (
            "pointsman istio render: location.hotrod.svc.cluster.local: no Service of that name is given, "
            "hotrod/Deployment/location is assumed by name\n"
        )

    def test_json_for_programs(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("--own", "patch", "-o", "json", sandbox=SANDBOX, owner=OWNER) == 0
        document: Any = json.loads(capsys.readouterr().out)
        assert set(document) == {"items", "deleted", "patches", "services", "findings", "notes", "exitCode"}
        assert [each["op"] for each in document["patches"][0]["patch"]] == ["test", "replace"]
        assert document["patches"][0]["patch"][0]["value"] == "7"

    def test_the_routers_services_are_in_the_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        router = ("--istio-mode", "router", "--router", "router.pointsman:80")
        assert run(*router, "--output", "json", service=SERVICE) == 0
        (service,) = json.loads(capsys.readouterr().out)["services"]
        table = read_document({**yaml.safe_load(TABLE), "services": [service]})
        assert table.services[0].port == 8081

    def test_findings_have_an_exit_code(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(sandbox=SANDBOX, owner=OWNER) == 3
        out, err = capsys.readouterr()
        assert out == ""
        assert "sandbox pr-1 (key k3y): DelegateMissing: VirtualService hotrod/location: " in err
        assert run("--output=json", sandbox=SANDBOX, owner=OWNER) == 3
        document: Any = json.loads(capsys.readouterr().out)
        assert document["exitCode"] == 3
        assert document["findings"][0]["reason"] == "DelegateMissing"

    def test_diff(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("--own", "patch", "--diff", sandbox=SANDBOX, owner=OWNER) == 0
        out = capsys.readouterr().out
        assert out.startswith("--- VirtualService hotrod/location (before)\n")
        assert "\n+  - name: pointsman-pr-1-" in out
        assert "\n-" not in out
        assert run("--diff", "--output", "json", sandbox=SANDBOX) == 0
        assert "+++ VirtualService hotrod/pointsman-location" in json.loads(capsys.readouterr().out)["diff"]

    def test_what_is_there_already_is_no_difference(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("--own", "patch", sandbox=SANDBOX, service=SERVICE, owner=OWNER)
        once = capsys.readouterr().out
        assert run("--own", "patch", "--diff", sandbox=SANDBOX, service=SERVICE, owner=once) == 0
        assert capsys.readouterr().out == ""

    def test_what_is_ours_no_more_is_deleted(self, capsys: pytest.CaptureFixture[str]) -> None:
        run(sandbox=SANDBOX, service=SERVICE)
        ours = capsys.readouterr().out
        Path("sandbox.yaml").unlink()
        assert run("--output", "json", ours=ours, service=SERVICE) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["deleted"] == [
            {"kind": "VirtualService", "namespace": "hotrod", "name": "pointsman-location"}
        ]
        assert "to be deleted: VirtualService hotrod/pointsman-location" in err

    def test_the_variable_of_other_commands_is_no_fault(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("POINTSMAN_OUTPUT", "table")
        assert run(sandbox=SANDBOX, service=SERVICE) == 0
        assert yaml.safe_load(capsys.readouterr().out)["kind"] == "VirtualService"


class TestInput:
    def test_folders_lists_and_standard_input(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = Path("folder")
        folder.mkdir()
        (folder / "sandbox.yml").write_text(SANDBOX)
        (folder / ".hidden.yaml").write_text("{")
        (folder / "notes.txt").write_text("{")
        items = [*yaml.safe_load_all(SERVICE), yaml.safe_load(OWNER), {"apiVersion": "v1", "kind": "Secret"}]
        cluster = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(cluster.encode())))
        assert run("-f", "folder", "-f", "-", "--own", "patch") == 0
        out, err = capsys.readouterr()
        assert yaml.safe_load(out)["metadata"]["name"] == "location"
        assert err == "pointsman istio render: 1 of kind Secret ignored\n"

    def test_a_table_is_the_same_as_sandboxes(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(sandbox=SANDBOX, service=SERVICE) == 0
        expected = capsys.readouterr().out
        Path("sandbox.yaml").unlink()
        assert run(table=TABLE, service=SERVICE) == 0
        assert capsys.readouterr().out == expected

    def test_a_group_has_routes_of_its_own(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(both=f"{SANDBOX}---\n{GROUP}", service=SERVICE) == 0
        found = yaml.safe_load(capsys.readouterr().out)
        assert len(found["spec"]["http"]) == 3

    def test_ports_by_name(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(sandbox=SANDBOX.replace("port: 8081", "port: 9999"), service=SERVICE) == 0
        assert "port_not_mapped" in capsys.readouterr().out

    def test_forks_are_not_made_here(self, capsys: pytest.CaptureFixture[str]) -> None:
        head = SANDBOX.partition("  local:")[0]
        fork = f"{head}  forks: [{{forkOf: {{kind: Deployment, namespace: hotrod, name: location}}}}]\n"
        assert run(sandbox=fork, service=SERVICE) == 0
        out, err = capsys.readouterr()
        assert "no_destination" in out
        assert "forks are made in a cluster" in err

    def test_two_that_claim_one_key(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(sandbox=SANDBOX, other=SANDBOX.replace("name: pr-1", "name: pr-2"), service=SERVICE) == 3
        out, err = capsys.readouterr()
        assert "sandbox pr-2 (key k3y): KeyClaimed" in err
        assert "pointsman-pr-1" in out

    @pytest.mark.parametrize(
        ("files", "words", "faults"),
        [
            ({}, [], ["--file (or POINTSMAN_FILE) is required: "]),
            ({}, ["-f", "nowhere.yaml"], ["nowhere.yaml: can't be read: No such file or directory"]),
            ({"sandbox": SANDBOX.replace("  routingKey: k3y\n", "")}, [], ["sandbox.yaml: spec.routingKey: missing: "]),
            (
                {"bad": f"{OWNER}---\n{OWNER.replace('[location]', 'location')}---\nkind: [\n"},
                [],
                [
                    "bad.yaml: line 12 ",
                    "bad.yaml: document 2 (line 5): VirtualService hotrod/location stands in bad.yaml: document 1",
                ],
            ),
            (
                {"bad": OWNER.replace("[{destination: {host: location}}]", "[{destination: {}}, 7]")},
                [],
                [
                    "bad.yaml: spec.http[0].route[1]: must be an object, is 7",
                    "bad.yaml: spec.http[0].route[0].destination.host: must be a string, is null",
                ],
            ),
            ({"bad": SERVICE.replace("port: 80,", "port: x,")}, [], ["bad.yaml: document 1 (line 1): spec.ports[0]"]),
            ({"bad": "a: 1"}, [], ["bad.yaml: must have apiVersion and kind"]),
            ({"bad": TABLE.replace('version: "1"', "version: 1")}, [], ["bad.yaml: version: "]),
            ({"table": TABLE, "sandbox": SANDBOX}, [], ["sandbox pr-1: a RoutingTable has a route for "]),
            ({"a": SANDBOX, "b": SANDBOX}, [], ["b.yaml: Sandbox default/pr-1 stands in a.yaml already"]),
            ({"a": SANDBOX}, ["--istio-mode", "router"], ["--router is required with --istio-mode router"]),
            ({"a": SANDBOX}, ["--istio-version", "1.21.9"], ["--istio-version: what is rendered needs 1.22.0"]),
            ({"a": SANDBOX}, ["--istio-version", "new"], ["--istio-version: must be a release like 1.30.3"]),
            ({"a": SANDBOX}, ["--router", "10.0.0.1:80"], ["--router: must be NAME.NAMESPACE:PORT"]),
        ],
    )  # fmt: skip
    def test_faults(
        self, files: dict[str, str], words: list[str], faults: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(*words, **files) == 2
        out, err = capsys.readouterr()
        assert out == ""
        lines = err.splitlines()
        assert len(lines) == len(faults)
        for line, fault in zip(lines, faults, strict=True):
            assert line.startswith(f"pointsman istio render: {fault}")

    def test_an_empty_folder(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("empty").mkdir()
        assert run("-f", "empty") == 2
        assert "empty: holds no .yaml, .yml, .json file" in capsys.readouterr().err

    def test_an_old_release_with_the_loose_form(self) -> None:
        assert run("--istio-version", "1.20", "--regex", "signadot", sandbox=SANDBOX, service=SERVICE) == 0


class TestWords:
    @pytest.mark.parametrize(
        ("text", "host"),
        [
            ("router.pointsman:80", "router.pointsman.svc.cluster.local"),
            ("Router.pointsman.svc:80", "router.pointsman.svc.cluster.local"),
            ("router.pointsman.svc.cluster.local.:80", "router.pointsman.svc.cluster.local"),
            ("router.mesh.example:80", "router.mesh.example"),
        ],
    )
    def test_routers(self, text: str, host: str) -> None:
        assert router_address(text) == (host, 80)

    @pytest.mark.parametrize(
        "text", ["router:80", "router.pointsman", "router.pointsman:0", "1.2.3.4:80", "[::1]:80", ""]
    )
    def test_no_routers(self, text: str) -> None:
        with pytest.raises(ValueError, match="must be NAME"):
            router_address(text)

    def test_releases(self) -> None:
        assert [release(text) for text in ("1.22", "v1.30.3", "1.9.0-rc.1")] == [(1, 22), (1, 30), (1, 9)]
        assert release("1.9") < release("1.22")


class TestGatewayApi:
    ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: location, namespace: hotrod}
spec:
  parentRefs: [{group: "", kind: Service, name: location, port: 80}]
  rules: [{backendRefs: [{name: location, port: 80}]}]
"""

    def test_routes_for_kubectl(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("--api", "gateway", sandbox=SANDBOX, service=SERVICE, owner=OWNER, route=self.ROUTE) == 0
        out, err = capsys.readouterr()
        (found,) = yaml.safe_load_all(out)
        assert found["kind"] == "HTTPRoute"
        assert found["spec"]["rules"][0]["backendRefs"][0]["name"] == "fork"
        assert "1 of kind VirtualService ignored\n" in err
        assert "HTTPRoute ignored" not in err

    def test_they_say_nothing_to_virtual_services(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(sandbox=SANDBOX, service=SERVICE, route=self.ROUTE) == 0
        assert capsys.readouterr().err == "pointsman istio render: 1 of kind HTTPRoute ignored\n"

    def test_findings_have_an_exit_code(self, capsys: pytest.CaptureFixture[str]) -> None:
        other = self.ROUTE.replace("HTTPRoute", "GRPCRoute")
        assert run("--api=gateway", "-o", "json", sandbox=SANDBOX, service=SERVICE, route=self.ROUTE, other=other) == 3
        document: Any = json.loads(capsys.readouterr().out)
        assert (document["items"], document["findings"][0]["reason"]) == ([], "KindConflict")

    def test_diff(self, capsys: pytest.CaptureFixture[str]) -> None:
        files = {"sandbox": SANDBOX, "service": SERVICE, "route": self.ROUTE}
        assert run("--api", "gateway", **files) == 0
        ours = capsys.readouterr().out
        assert run("--api", "gateway", "--diff", **files) == 0
        assert capsys.readouterr().out.startswith("--- HTTPRoute hotrod/pointsman-location-pr-1-")
        assert run("--api", "gateway", "--diff", **files, ours=ours) == 0
        assert capsys.readouterr().out == ""
        assert run("--api", "gateway", "--diff", "--remove", ours=ours) == 0
        out, err = capsys.readouterr()
        assert "\n-kind: HTTPRoute\n" in out
        assert "to be deleted: HTTPRoute hotrod/pointsman-location-pr-1-" in err

    @pytest.mark.parametrize(
        ("words", "files", "fault"),
        [
            (["--router", "router.mesh.example:80"], {}, "--router: with --api gateway it must be a Service, "),
            ([], {"bad": ROUTE.replace("rules: [", "rules: [1, ")}, "HTTPRoute location: rules must be a list of "),
            ([], {"a": ROUTE, "b": ROUTE}, "b.yaml: HTTPRoute hotrod/location stands in a.yaml already"),
        ],
    )
    def test_faults(
        self, words: list[str], files: dict[str, str], fault: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("--api", "gateway", *words, sandbox=SANDBOX, service=SERVICE, **files) == 2
        assert fault in capsys.readouterr().err

    def test_an_old_release_says_the_same(self) -> None:
        assert run("--api", "gateway", "--istio-version", "1.20", sandbox=SANDBOX, service=SERVICE) == 0
