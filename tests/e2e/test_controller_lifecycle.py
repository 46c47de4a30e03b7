"""A real controller: TTL, drain, restarts in between, kill -9 while it writes, a full disk."""

from __future__ import annotations

import contextlib
import http.client
import random
import resource
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from controller.documents import rendered
from controller.schema import read_object
from controller.times import timestamp
from proxy.routing.text import parse_text
from tests.support.controller import Controller, path_of, run_controller, sandbox
from tests.support.origin import Origin
from tests.support.proxy import run_proxy
from tests.support.waiting import until


def reason(controller: Controller, key: str) -> object:
    """What becomes of a request with this key."""
    question = {"workload": "hotrod/Deployment/location", "port": 8081, "head": f"baggage: sd-routing-key={key}"}
    return controller.ask("POST", "/api/v1/explain", question).json["reason"]


def is_going(controller: Controller, name: str) -> bool:
    reply = controller.get(name)
    return reply.status == 200 and "deletionTimestamp" in str(reply.json["metadata"])


class TestTtl:
    def test_it_ends_by_itself(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            made = controller.put(sandbox("short", ttl={"duration": "1s", "from": "created"}))
            assert "expiresAt" in made.json["status"]  # type: ignore[operator]
            controller.put(sandbox("long", ttl={"duration": "1h"}))
            controller.until_gone("short")
            assert reason(controller, "short") == "gone_key"
            assert controller.get("long").status == 200
            assert not (controller.folder / "hotrod.sandbox.short.yaml").exists()
            assert any('"verb": "expire"' in line for line in controller.lines)

    def test_a_change_gives_it_more_time(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            controller.put(sandbox("kept", ttl={"duration": "2s", "from": "updated"}))
            changed = controller.put(sandbox("kept", ttl={"duration": "1h", "from": "updated"})).json
            controller.put(sandbox("first", ttl={"duration": "2s"}))
            controller.until_gone("first")
            assert controller.get("kept").json["status"] == changed["status"]

    def test_time_passes_while_nobody_is_there(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            controller.put(sandbox("short", ttl={"duration": "1s"}))
            controller.process.kill()
        with run_controller(tmp_path / "objects") as controller:
            controller.until_gone("short")
            assert reason(controller, "short") == "gone_key"

    def test_a_file_by_hand_has_one_too(self, tmp_path: Path) -> None:
        document = sandbox("by-hand", ttl={"duration": "1s", "from": "created"})
        (tmp_path / "objects").mkdir()
        (tmp_path / "objects" / "mine.yaml").write_bytes(b"# mine\n" + rendered(document))
        with run_controller(tmp_path / "objects") as controller:
            controller.until_gone("by-hand")
            assert not (tmp_path / "objects" / "mine.yaml").exists()


class TestDrain:
    def test_a_proxy_must_let_go_first(self, tmp_path: Path, baseline: Origin) -> None:
        with (
            run_controller(tmp_path / "objects") as controller,
            run_proxy(tmp_path, baseline.port, controller=controller.url) as proxy,
        ):
            controller.put(sandbox("drained"))
            receipt = controller.ask("GET", path_of("drained") + "/receipt?timeoutSeconds=10").json
            assert receipt["isComplete"], receipt
            proxy.process.send_signal(signal.SIGSTOP)
            try:
                assert controller.ask("DELETE", path_of("drained")).status == 202
                until(lambda: reason(controller, "drained") == "gone_key", "the end of its routes")
                # It takes no changes, is deleted once, and its key is nobody else's yet.
                assert controller.put(sandbox("drained")).problem == "deleting"
                assert controller.ask("DELETE", path_of("drained")).status == 202
                assert is_going(controller, "drained")
            finally:
                proxy.process.send_signal(signal.SIGCONT)
            controller.until_gone("drained")

    def test_not_for_ever(self, tmp_path: Path, baseline: Origin) -> None:
        with (
            run_controller(tmp_path / "objects", "--drain-limit", "1") as controller,
            run_proxy(tmp_path, baseline.port, controller=controller.url) as proxy,
        ):
            controller.put(sandbox("drained"))
            assert controller.ask("GET", path_of("drained") + "/receipt?timeoutSeconds=10").json["isComplete"]
            proxy.process.send_signal(signal.SIGSTOP)
            try:
                controller.ask("DELETE", path_of("drained"))
                controller.until_gone("drained")
            finally:
                proxy.process.send_signal(signal.SIGCONT)

    def test_killed_in_the_middle(self, tmp_path: Path, baseline: Origin) -> None:
        """It goes on where it stood, and the key is never back."""
        with (
            run_controller(tmp_path / "objects") as controller,
            run_proxy(tmp_path, baseline.port, controller=controller.url) as proxy,
        ):
            controller.put(sandbox("drained"))
            assert controller.ask("GET", path_of("drained") + "/receipt?timeoutSeconds=10").json["isComplete"]
            proxy.process.send_signal(signal.SIGSTOP)
            controller.ask("DELETE", path_of("drained"))
            controller.process.kill()
            proxy.process.send_signal(signal.SIGCONT)
        with run_controller(tmp_path / "objects") as controller:
            assert reason(controller, "drained") == "gone_key"
            assert is_going(controller, "drained")  # proxies may be dialling again
            controller.stop()
        with run_controller(tmp_path / "objects", "--drain-limit", "0") as controller:
            controller.until_gone("drained")
            assert reason(controller, "drained") == "gone_key"

    def test_who_takes_the_mark_away_has_it_back(self, tmp_path: Path) -> None:
        folder = tmp_path / "objects"
        folder.mkdir()
        document = sandbox("marked")
        document["metadata"] = {**document["metadata"], "deletionTimestamp": timestamp(datetime.now(UTC))}  # type: ignore[dict-item]
        (folder / "marked.yaml").write_bytes(rendered(document))
        with run_controller(folder, "--drain-limit", "3") as controller:
            assert reason(controller, "marked") != "route"
            (folder / "marked.yaml").write_bytes(rendered(sandbox("marked")))
            until(lambda: reason(controller, "marked") == "route", "its return")
            until_s = time.monotonic() + 3.5
            until(lambda: time.monotonic() > until_s, "the drain's limit", within_s=10)
            assert controller.get("marked").status == 200

    def test_a_file_that_is_deleted_by_hand_goes_at_once(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects", "--drain-limit", "600") as controller:
            controller.put(sandbox("by-hand"))
            (controller.folder / "hotrod.sandbox.by-hand.yaml").unlink()
            controller.until_gone("by-hand")
            until(lambda: reason(controller, "by-hand") == "gone_key", "the end of its key")


class TestRestarts:
    def test_what_is_gone_stays_gone_for_its_hour(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            controller.put(sandbox("old", "its-key"))
            controller.ask("DELETE", path_of("old"))
            controller.until_gone("old")
            controller.put(sandbox("unseen", "unseen-key"))
        (controller.folder / "hotrod.sandbox.unseen.yaml").unlink()
        for _ in range(2):
            with run_controller(tmp_path / "objects") as controller:
                assert reason(controller, "its-key") == "gone_key"
                assert reason(controller, "unseen-key") == "gone_key"
                other = sandbox("thief", "its-key")
                other["metadata"] = {"name": "thief", "namespace": "elsewhere"}
                made = controller.ask("PUT", path_of("thief", namespace="elsewhere"), other).json
                conditions = made["status"]["conditions"]  # type: ignore[index]
                assert {c["type"]: c["reason"] for c in conditions}["Accepted"] == "KeyReserved"
                controller.process.kill()
        with run_controller(tmp_path / "objects") as controller:
            assert controller.put(sandbox("again", "its-key")).status == 201
            assert reason(controller, "its-key") == "route"

    def test_a_generated_key_stays(self, tmp_path: Path) -> None:
        keys = set()
        (tmp_path / "objects").mkdir()
        (tmp_path / "objects" / "mine.yaml").write_bytes(rendered(sandbox("mine", None)))
        for _ in range(2):
            with run_controller(tmp_path / "objects") as controller:
                keys.add(controller.get("mine").json["spec"]["routingKey"])  # type: ignore[index]
                controller.process.kill()
        assert len(keys) == 1

    def test_killed_while_it_writes(self, tmp_path: Path) -> None:
        """Each object is whole or absent, and no older than the last answer said."""
        chance = random.Random(7)
        answered: dict[str, int] = {}
        for round_ in range(6):
            with run_controller(tmp_path / "objects") as controller:
                for name, step in answered.items():
                    labels = controller.get(name).json["metadata"]["labels"]  # type: ignore[index]
                    assert int(labels["step"]) >= step, name
                assert controller.ask("GET", "/api/v1/faults").json["items"] == []
                stop = threading.Event()

                def write(number: int, first: int, stop: threading.Event = stop, to: Controller = controller) -> None:
                    step = first
                    with contextlib.suppress(OSError, http.client.HTTPException):
                        while not stop.is_set():
                            step += 1
                            name = f"pr-{number}-{step % 3}"
                            if to.put(sandbox(name, labels={"step": str(step)})).status in (200, 201):
                                answered[name] = step

                threads = [threading.Thread(target=write, args=(n, round_ * 10_000)) for n in range(3)]
                for thread in threads:
                    thread.start()
                until(lambda: len(answered) == 9, "the first of all")
                time.sleep(chance.uniform(0.0, 0.3))  # at any moment
                controller.process.kill()
                stop.set()
                for thread in threads:
                    thread.join(20)
            for path in controller.folder.glob("*.yaml"):
                read_object(parse_text(path.read_bytes()))


@contextlib.contextmanager
def full_disk(controller: Controller) -> Iterator[None]:
    """No file of the controller's can get longer: as far as it can tell, the disk is full."""
    pid = controller.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


class TestFullDisk:
    def test_a_write_is_refused_and_nothing_is_half(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            before = controller.put(sandbox("before")).json
            with full_disk(controller):
                refused = controller.put(sandbox("during"))
                assert (refused.status, refused.problem) == (503, "unwritable")
                assert controller.put(sandbox("before", labels={"a": "b"})).status == 503
                assert controller.ask("DELETE", path_of("before")).status == 503
                assert controller.get("during").status == 404
                assert controller.get("before").json == before
                assert controller.ask("GET", "/readyz").status == 200
            assert sorted(path.name for path in controller.folder.iterdir()) == [
                ".pointsman",
                "hotrod.sandbox.before.yaml",
            ]
            assert controller.put(sandbox("during")).status == 201
            assert reason(controller, "during") == "route"

    def test_what_can_not_be_remembered_is_not_in_force(self, tmp_path: Path) -> None:
        """A file that somebody else wrote comes in, and the controller can't write its journal."""
        with run_controller(tmp_path / "objects") as controller:
            controller.put(sandbox("before"))
            with full_disk(controller):
                (controller.folder / "mine.yaml").write_bytes(rendered(sandbox("mine")))
                until(lambda: b"state can't be written" in controller.ask("GET", "/readyz").body, "the report")
                assert controller.get("mine").status == 200
                assert reason(controller, "mine") == "unknown_key"
                assert reason(controller, "before") == "route"
                assert "pointsman_controller_state_failing 1" in controller.ask("GET", "/metrics").body.decode()
            until(lambda: reason(controller, "mine") == "route", "its route", within_s=10)
            assert controller.ask("GET", "/readyz").body == b"ok\n"
            controller.process.kill()
        (controller.folder / "mine.yaml").unlink()
        with run_controller(tmp_path / "objects") as controller:
            assert reason(controller, "mine") == "gone_key"

    def test_the_audit_log(self, tmp_path: Path) -> None:
        log = tmp_path / "full"
        log.symlink_to("/dev/full")
        with run_controller(tmp_path / "objects", "--audit-log", str(log)) as controller:
            for name in ("one", "two"):
                assert controller.put(sandbox(name)).status == 201
            assert "pointsman_controller_audit_failures_total 2" in controller.ask("GET", "/metrics").body.decode()
        assert sum("the audit log" in line for line in controller.lines) == 1
