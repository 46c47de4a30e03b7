"""A real controller over its REST API: objects, conflicts, refusals."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.schema import read_object
from proxy.routing.text import parse_text
from tests.support.controller import Controller, path_of, run_controller, sandbox
from tests.support.waiting import until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """One controller for the tests that only use names of their own."""
    with run_controller(tmp_path_factory.mktemp("shared") / "objects") as controller:
        yield controller


class TestObjects:
    def test_made_read_replaced_deleted(self, shared: Controller) -> None:
        made = shared.ask("POST", path_of(), sandbox("crud", None))
        assert made.status == 201
        assert made.headers["Location"] == path_of("crud")
        document = made.json
        read_object(document)
        key = document["spec"]["routingKey"]  # type: ignore[index]
        assert len(key) == 13
        assert document["status"]["routingKey"] == key  # type: ignore[index]
        version = document["metadata"]["resourceVersion"]  # type: ignore[index]
        assert made.headers["ETag"] == f'"{version}"'

        got = shared.get("crud")
        assert (got.status, got.json) == (200, document)
        assert document in shared.ask("GET", path_of()).json["items"]  # type: ignore[operator]
        everything = shared.ask("GET", "/api/v1/sandboxes").json
        assert everything["kind"] == "SandboxList"
        assert document in everything["items"]  # type: ignore[operator]
        assert shared.ask("GET", path_of(namespace="elsewhere")).json["items"] == []

        changed = shared.put(sandbox("crud", None, labels={"pr": "7"}))
        assert changed.status == 200
        assert changed.json["spec"]["routingKey"] == key  # type: ignore[index]
        assert changed.headers["ETag"] != made.headers["ETag"]

        gone = shared.ask("DELETE", path_of("crud"))
        assert gone.status == 202
        assert "deletionTimestamp" in gone.json["metadata"]  # type: ignore[operator]
        shared.until_gone("crud")
        assert shared.ask("DELETE", path_of("crud")).problem == "not-found"

    def test_a_sandbox_stands_in_a_file_that_people_can_read(self, shared: Controller) -> None:
        shared.put(sandbox("filed"))
        path = shared.folder / "hotrod.sandbox.filed.yaml"
        assert path.stat().st_mode & 0o777 == 0o600
        found = read_object(parse_text(path.read_bytes()))
        assert found.spec.routing_key == "filed"

    def test_a_status_is_nobodys_to_set(self, shared: Controller) -> None:
        made = shared.put({**sandbox("status"), "status": {"routingKey": "another", "sparkles": 1}})
        assert made.status == 201
        assert made.json["status"]["routingKey"] == "status"  # type: ignore[index]

    def test_route_groups_too(self, shared: Controller) -> None:
        document = {
            "apiVersion": "pointsman.dev/v1alpha1",
            "kind": "RouteGroup",
            "metadata": {"name": "epic"},
            "spec": {"routingKey": "epic7", "match": {"label": {"key": "epic", "value": "7*"}}},
        }
        shared.put(sandbox("epic-1", labels={"epic": "71"}))
        made = shared.ask("PUT", path_of("epic", "routegroups"), document)
        assert made.status == 201
        assert made.json["status"]["sandboxes"] == ["hotrod/epic-1"]  # type: ignore[index]
        assert shared.ask("GET", "/api/v1/routegroups").json["kind"] == "RouteGroupList"

    def test_yaml(self, shared: Controller) -> None:
        text = b"# mine\n---\napiVersion: pointsman.dev/v1alpha1\nkind: Sandbox\nmetadata: {name: from-yaml}\nspec:\n"
        text += b"  routingKey: yaml-key\n  local:\n  - from: {kind: Deployment, namespace: hotrod, name: driver}\n"
        text += b"    mappings: [{port: 8082, toLocal: '127.0.0.1:9082'}]\n"
        made = shared.ask("PUT", path_of("from-yaml"), text, Content_Type="application/yaml")
        assert made.status == 201
        assert made.json["metadata"]["namespace"] == "hotrod"  # type: ignore[index]
        two = text + b"---\n" + text
        assert shared.ask("PUT", path_of("from-yaml"), two, Content_Type="application/yaml").problem == "malformed"

    def test_a_broken_file_beside_good_ones(self, shared: Controller) -> None:
        (shared.folder / "broken.yaml").write_text("kind: Sandbox\nmetadata: {name: [}\n")
        until(lambda: any("broken.yaml" in line for line in shared.lines), "the report of the broken file")
        assert shared.put(sandbox("beside")).status == 201
        assert shared.get("beside").status == 200
        (shared.folder / "broken.yaml").unlink()

    def test_a_file_that_people_change_is_seen(self, shared: Controller) -> None:
        shared.put(sandbox("by-hand"))
        path = shared.folder / "hotrod.sandbox.by-hand.yaml"
        path.unlink()
        shared.until_gone("by-hand")


class TestConflicts:
    def test_the_second_of_two_writers(self, shared: Controller) -> None:
        read = shared.put(sandbox("two-writers")).json
        assert shared.put({**read, "metadata": {**read["metadata"], "labels": {"by": "first"}}}).status == 200  # type: ignore[dict-item]
        second = shared.put({**read, "metadata": {**read["metadata"], "labels": {"by": "second"}}})  # type: ignore[dict-item]
        assert (second.status, second.problem) == (409, "conflict")
        assert shared.get("two-writers").json["metadata"]["labels"] == {"by": "first"}  # type: ignore[index]

    def test_headers_say_the_same(self, shared: Controller) -> None:
        etag = shared.put(sandbox("etags")).headers["ETag"]
        assert shared.put(sandbox("etags"), If_None_Match="*").problem == "exists"
        assert shared.put(sandbox("etags"), If_Match='"other"').problem == "conflict"
        assert shared.put(sandbox("etags"), If_Match="other").problem == "malformed"
        assert shared.ask("DELETE", path_of("etags"), If_Match='"other"').problem == "conflict"
        assert shared.put(sandbox("etags", labels={"a": "b"}), If_Match=etag).status == 200
        assert shared.put(sandbox("not-there"), If_Match=etag).problem == "conflict"

    def test_made_twice(self, shared: Controller) -> None:
        assert shared.ask("POST", path_of(), sandbox("twice")).status == 201
        assert shared.ask("POST", path_of(), sandbox("twice")).problem == "exists"

    def test_many_writers_lose_no_update(self, shared: Controller) -> None:
        """Each adds a label of its own, again and again until nobody was faster."""
        shared.put(sandbox("many-writers"))
        conflicts = []

        def add(number: int) -> None:
            for step in range(5):
                while True:
                    found = shared.get("many-writers").json
                    metadata = found["metadata"]
                    assert isinstance(metadata, dict)
                    labels = {**metadata.get("labels", {}), f"w{number}-{step}": "x"}
                    status = shared.put({**found, "metadata": {**metadata, "labels": labels}}).status
                    if status == 200:
                        break
                    assert status == 409
                    conflicts.append(number)

        threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(shared.get("many-writers").json["metadata"]["labels"]) == 20  # type: ignore[index]
        assert conflicts

    def test_a_key_stays(self, shared: Controller) -> None:
        shared.put(sandbox("key-stays"))
        refused = shared.put(sandbox("key-stays", "another"))
        assert refused.problem == "invalid"
        assert refused.faults[0].startswith("spec.routingKey: must stay")

    def test_a_key_that_somebody_else_has_is_said_at_once(self, shared: Controller) -> None:
        shared.put(sandbox("claims-first", "wanted"))
        second = shared.put(sandbox("claims-second", "wanted"))
        assert second.status == 201
        conditions = second.json["status"]["conditions"]  # type: ignore[index]
        assert {c["type"]: c["reason"] for c in conditions}["Accepted"] == "KeyClaimed"


class TestDryRun:
    def test_nothing_is_stored(self, shared: Controller) -> None:
        made = shared.put(sandbox("dry", None), "?dryRun=All")
        assert made.status == 201
        assert "routingKey" not in made.json["spec"]  # type: ignore[operator]
        assert shared.get("dry").status == 404
        assert shared.put(sandbox("dry", spare=1), "?dryRun=All").problem == "invalid"

        version = shared.put(sandbox("dry")).headers["ETag"]
        changed = shared.put(sandbox("dry", labels={"a": "b"}), "?dryRun=All")
        assert changed.json["metadata"]["labels"] == {"a": "b"}  # type: ignore[index]
        assert changed.headers["ETag"] != version
        assert shared.ask("POST", path_of() + "?dryRun=All", sandbox("dry")).problem == "exists"
        assert shared.ask("DELETE", path_of("dry") + "?dryRun=All").status == 202
        assert shared.get("dry").headers["ETag"] == version

    @pytest.mark.parametrize("query", ["?dryRun=true", "?dryrun=All", "?dryRun=All&dryRun=All"])
    def test_a_misspelt_one_changes_nothing(self, shared: Controller, query: str) -> None:
        assert shared.put(sandbox("misspelt"), query).problem == "malformed"
        assert shared.get("misspelt").status == 404


class TestRefusals:
    def test_every_fault_by_its_path(self, shared: Controller) -> None:
        document = sandbox("faulty", "no key!", spare=True, ttl={"duration": "soon"})
        refused = shared.put(document)
        assert (refused.status, refused.problem) == (422, "invalid")
        assert {fault.partition(":")[0] for fault in refused.faults} == {
            "spec.spare",
            "spec.routingKey",
            "spec.ttl.duration",
        }

    def test_the_path_counts(self, shared: Controller) -> None:
        refused = shared.ask("PUT", path_of("one-name", namespace="elsewhere"), sandbox("another"))
        assert [fault.partition(":")[0] for fault in refused.faults] == ["metadata.namespace", "metadata.name"]
        assert shared.ask("PUT", path_of("kind", "routegroups"), sandbox("kind")).faults[-1].startswith("kind: ")

    @pytest.mark.parametrize(
        ("body", "media_type", "problem"),
        [
            (b"{", "application/json", "malformed"),
            (b"[]", "application/json", "malformed"),
            (b"kind: Sandbox", "application/json", "malformed"),
            (b'{"kind": 1, "kind": 2}', "application/json", "malformed"),
            (b"", "application/json", "malformed"),
            (b"a: &x 1\nb: *x", "application/yaml", "malformed"),
            (b"- a", "application/yaml", "malformed"),
            (b"{}", "text/plain", "media-type"),
            (b"{}", "application/x-www-form-urlencoded", "media-type"),
            (b"{}", "", "media-type"),
            (b'{"a": "' + b"x" * (1 << 20) + b'"}', "application/json", "too-large"),
        ],
    )
    def test_bodies(self, shared: Controller, body: bytes, media_type: str, problem: str) -> None:
        headers = {"Content_Type": media_type} if media_type else {}
        assert shared.ask("PUT", path_of("body"), body, **headers).problem == problem

    def test_pages(self, shared: Controller) -> None:
        assert shared.ask("GET", "/api/v1/nothing").problem == "not-found"
        refused = shared.ask("PATCH", path_of("x"), b"{}")
        assert refused.problem == "method"
        assert set(refused.headers["Allow"].split(",")) == {"DELETE", "GET", "HEAD", "PUT"}
        assert shared.ask("GET", path_of("%0a")).problem == "not-found"

    def test_head(self, shared: Controller) -> None:
        shared.put(sandbox("head"))
        head = shared.ask("HEAD", path_of("head"))
        assert (head.status, head.body) == (200, b"")
        assert shared.ask("HEAD", path_of()).body == b""

    def test_what_we_are_made_of_is_not_said(self, shared: Controller) -> None:
        assert shared.ask("GET", "/livez").headers["Server"] == "pointsman"


class TestWebPages:
    """Without tokens, on loopback: what a browser would send for another site."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Host": "evil.example"},
            {"Host": "127.0.0.1.evil.example:16030"},
            {"Host": ""},
        ],
    )
    def test_refused(self, shared: Controller, headers: dict[str, str]) -> None:
        assert shared.put(sandbox("by-a-page"), **headers).problem == "foreign"
        assert shared.get("by-a-page").status == 404

    @pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:16030"])
    def test_own(self, shared: Controller, host: str) -> None:
        assert shared.ask("GET", "/livez", Host=host).status == 200


def test_it_ends_when_asked_to(tmp_path: Path) -> None:
    with run_controller(tmp_path / "objects") as controller:
        connection = controller.connect()
        controller.ask("GET", "/livez", connection=connection)  # and stays open
        assert controller.stop() == 0
        connection.close()
    with run_controller(tmp_path / "objects") as controller:
        assert controller.stop(signal.SIGINT) == 0
    assert [line for line in controller.lines if "listening" not in line] == []


def test_json_of_a_long_list(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    folder.mkdir()
    (folder / "many.json").write_text("---\n".join(json.dumps(sandbox(f"pr-{number}")) + "\n" for number in range(250)))
    with run_controller(folder) as controller:
        items = controller.ask("GET", path_of()).json["items"]
        assert isinstance(items, list)
        assert len({item["metadata"]["name"] for item in items}) == 250
