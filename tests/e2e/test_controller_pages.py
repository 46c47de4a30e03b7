"""A real controller: routing rules and their stream, explain, metrics, health, the OpenAPI document."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.controller import NAMESPACE, Controller, path_of, run_controller, sandbox
from tests.support.waiting import until

RULES = "/api/v1/workloads/routing-rules"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with run_controller(tmp_path_factory.mktemp("shared") / "objects") as controller:
        yield controller


def local(name: str, port: int = 9081) -> list[dict[str, object]]:
    workload = {"kind": "Deployment", "namespace": NAMESPACE, "name": name}
    return [{"from": workload, "mappings": [{"port": 8081, "toLocal": f"127.0.0.1:{port}"}]}]


class Watch:
    """A stream of rules."""

    def __init__(self, controller: Controller, query: str = "", token: str | None = None) -> None:
        self.connection = controller.connect()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection.request("GET", f"{RULES}/watch{query}", headers=headers)
        self.response = self.connection.getresponse()
        assert self.response.status == 200
        assert self.response.headers["Content-Type"] == "application/x-ndjson"

    def next(self) -> tuple[str, str, str]:
        """Type, key and workload."""
        while not (line := self.response.readline().strip()):
            assert not self.response.closed
        event = json.loads(line)
        rule = event.get("routingRule", {"routingKey": "", "baseline": {"name": ""}})
        return event["type"], rule["routingKey"], rule["baseline"]["name"]

    def first(self) -> list[tuple[str, str]]:
        """All until it is synced."""
        found = []
        while (event := self.next())[0] != "SYNCED":
            assert event[0] == "ADD"
            found.append(event[1:])
        return found

    def close(self) -> None:
        self.response.close()
        self.connection.close()


def _leads_to(controller: Controller, key: str, port: int) -> bool:
    return f'"port": {port}' in controller.ask("GET", f"{RULES}?routingKey={key}").body.decode()


class TestRules:
    def test_the_public_shape(self, shared: Controller) -> None:
        shared.put(sandbox("ruled", local=local("ruled-service")))
        found = shared.ask("GET", f"{RULES}?baselineName=ruled-service").json
        assert found == {
            "routingRules": [
                {
                    "routingKey": "ruled",
                    "baseline": {"kind": "Deployment", "namespace": "hotrod", "name": "ruled-service"},
                    "destinationSandbox": {"name": "ruled"},
                    "mappings": [{"workloadPort": 8081, "destinations": [{"host": "127.0.0.1", "port": 9081}]}],
                }
            ]
        }

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ("baselineName=many&routingKey=filter-1", 1),
            ("baselineName=many&destinationSandboxName=filter-2", 1),
            ("baselineName=many", 2),
            ("baselineName=many&baselineKind=Deployment", 2),
            ("baselineName=many&baselineKind=StatefulSet", 0),
            ("baselineName=many&baselineNamespace=other", 0),
            ("routingKey=nobody-has-it", 0),
        ],
    )
    def test_filters(self, shared: Controller, query: str, count: int) -> None:
        for number in (1, 2):
            shared.put(sandbox(f"filter-{number}", local=local("many")))
        assert len(shared.ask("GET", f"{RULES}?{query}").json["routingRules"]) == count  # type: ignore[arg-type]

    def test_a_misspelt_filter_is_not_everything(self, shared: Controller) -> None:
        assert shared.ask("GET", f"{RULES}?baselinename=x").problem == "malformed"

    def test_the_stream(self, shared: Controller) -> None:
        shared.put(sandbox("before", local=local("streamed")))
        watch = Watch(shared, "?baselineName=streamed")
        try:
            assert watch.first() == [("before", "streamed")]
            shared.put(sandbox("after", local=local("streamed")))
            assert watch.next() == ("ADD", "after", "streamed")
            shared.put(sandbox("after", local=local("streamed", 9099)))
            assert watch.next() == ("REPLACE", "after", "streamed")
            shared.put(sandbox("another", local=local("not-streamed")))
            shared.put(sandbox("after", local=local("not-streamed")))
            assert watch.next() == ("REMOVE", "after", "streamed")
            shared.ask("DELETE", path_of("before"))
            assert watch.next() == ("REMOVE", "before", "streamed")
        finally:
            watch.close()

    def test_a_reader_that_left_is_forgotten(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            watch = Watch(controller)
            watch.first()
            assert metric(controller, "pointsman_controller_rule_watchers") == 1
            watch.close()
            controller.put(sandbox("one"))
            controller.ask("DELETE", path_of("one"))
            until(lambda: metric(controller, "pointsman_controller_rule_watchers") == 0, "the end of the stream")

    def test_streams_end_with_the_controller(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            watch = Watch(controller)
            watch.first()
            assert controller.stop() == 0
            assert watch.response.read().strip() == b""  # a whole end of the body
            watch.close()

    def test_a_slow_reader_is_cut_off(self, tmp_path: Path) -> None:
        """It takes no more memory than its share, and what it reads at last has an end that is none."""
        folder = tmp_path / "objects"
        folder.mkdir()
        with run_controller(folder) as controller:
            connection = controller.connect()
            connection.connect()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
            connection.request("GET", f"{RULES}/watch")
            response = connection.getresponse()
            for round_ in range(60):
                documents = (sandbox(f"pr-{n}", local=local("x", 9000 + round_)) for n in range(2000))
                fresh = folder / ".fresh"
                fresh.write_text("---\n".join(json.dumps(document) + "\n" for document in documents))
                fresh.rename(folder / "many.json")
                until(partial(_leads_to, controller, "pr-1999", 9000 + round_), "the file", within_s=20)
                if metric(controller, "pointsman_controller_rule_watchers_dropped_total"):
                    break
            assert metric(controller, "pointsman_controller_rule_watchers_dropped_total") == 1
            assert metric(controller, "pointsman_controller_rule_watchers") == 0
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                response.read()
            connection.close()


class TestExplain:
    def test_a_sandbox_and_the_baseline(self, shared: Controller) -> None:
        shared.put(sandbox("explained", local=local("explained-service")))
        workload = "hotrod/Deployment/explained-service"
        head = "GET / HTTP/1.1\r\nbaggage: sd-routing-key=explained\r\n\r\n"
        found = shared.ask("POST", "/api/v1/explain", {"workload": workload, "port": 8081, "head": head}).json
        assert (found["goes_to"], found["sandbox"], found["reason"]) == ("sandbox", "explained", "route")
        found = shared.ask("POST", "/api/v1/explain", {"workload": workload, "head": "baggage: a=b"}).json
        assert (found["goes_to"], found["reason"], found["port"]) == ("baseline", "no_key", 8081)

    def test_what_it_cannot_read(self, shared: Controller) -> None:
        refused = shared.ask("POST", "/api/v1/explain", {"workload": "x", "port": 0, "head": "a: b\nc", "more": 1})
        assert refused.problem == "malformed"
        assert {fault.partition(":")[0] for fault in refused.faults} == {"workload", "port", "head", "more"}


class TestHealth:
    def test_metrics(self, shared: Controller) -> None:
        shared.put(sandbox("counted"))
        assert metric(shared, 'pointsman_controller_objects{kind="Sandbox"}') >= 1
        assert metric(shared, 'pointsman_controller_changes_total{result="done",verb="create"}') >= 1
        assert metric(shared, "pointsman_controller_synced") == 1
        assert metric(shared, "process_resident_memory_bytes") > 1e6
        for accept in ("application/openmetrics-text; version=1.0.0", "text/plain; version=nonsense", "*/*"):
            assert shared.ask("GET", "/metrics", Accept=accept).status == 200

    def test_faults(self, shared: Controller) -> None:
        (shared.folder / "faulty.yaml").write_text("kind: Nothing\n")
        until(lambda: shared.ask("GET", "/api/v1/faults").json["items"], "the fault")
        (item,) = shared.ask("GET", "/api/v1/faults").json["items"]  # type: ignore[misc]
        assert item["place"] == "faulty.yaml"  # type: ignore[index]
        assert metric(shared, "pointsman_controller_store_faults") == 1
        (shared.folder / "faulty.yaml").unlink()
        until(lambda: not shared.ask("GET", "/api/v1/faults").json["items"], "its end")

    def test_not_synced_until_the_store_is_read(self, tmp_path: Path) -> None:
        folder = tmp_path / "objects"
        folder.mkdir()
        documents = "---\n".join(json.dumps(sandbox(f"pr-{n}")) + "\n" for n in range(5000))
        (folder / "many.json").write_text(documents)
        with run_controller(folder, wait=False) as controller:
            assert controller.ask("GET", "/livez").status == 200
            assert controller.ask("GET", "/readyz").status == 503
            for method, path, body in (
                ("GET", path_of(), None),
                ("PUT", path_of("x"), sandbox("x")),
                ("DELETE", path_of("x"), None),
                ("GET", RULES, None),
            ):
                assert controller.ask(method, path, body).problem == "not-synced"
            until(lambda: controller.ask("GET", "/readyz").status == 200, "readiness", within_s=30)
            assert len(controller.ask("GET", path_of()).json["items"]) == 5000  # type: ignore[arg-type]


class TestOpenApi:
    def test_it_is_about_what_is_served(self, shared: Controller) -> None:
        document = shared.ask("GET", "/openapi.json").json
        paths = document["paths"]
        assert isinstance(paths, dict)
        for path, operations in paths.items():
            for method in operations:
                url = path.format(namespace="hotrod", name="unheard-of", file="unheard-of.js")
                if path.endswith(("/watch", "/live")):
                    continue  # they answer for ever
                assert shared.ask(method.upper(), url).status not in (405, 500), path


def metric(controller: Controller, sample: str) -> float:
    for line in controller.ask("GET", "/metrics").body.decode().splitlines():
        if line.startswith(f"{sample} "):
            return float(line.rpartition(" ")[2])
    return 0.0
