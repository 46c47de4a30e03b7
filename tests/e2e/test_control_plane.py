"""Steady load on two sidecars of one controller, whatever happens to it: no request is lost or goes where no table of
its time leads it. CHECKLIST G48, G49, M7.

`CONTROL_PLANE_SECONDS` makes the part with 1,000 changes a minute longer, and the time that the controller is cut off:
beyond 40 s its heartbeats are missed, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import pytest

from tests.support.client import Response, ask, get
from tests.support.controller import NAMESPACE, Controller, run_controller, sandbox
from tests.support.load import Answer, Load, loaded
from tests.support.origin import Origin, running
from tests.support.proxy import Proxy, run_proxy
from tests.support.waiting import until

SECONDS = float(os.environ.get("CONTROL_PLANE_SECONDS", "8"))
PER_MINUTE = 1000
WORKLOADS = ("location", "driver")
COMES, STAYS = "comes", "stays"
FLAGS = ("--decision-header", "--destination-allow", "127.0.0.0/8")

# What an answer shows: its status, the decision and who served it.
Seen = tuple[int, str, str]
UNTAGGED: Seen = (200, "baseline; reason=no_key", "baseline")
STAYING: Seen = (200, f"sandbox={STAYS}; reason=route", STAYS)
THERE: Seen = (200, f"sandbox={COMES}; reason=route", COMES)
GONE: Seen = (424, "none; reason=gone_key", "")


def seen(response: Response) -> Seen:
    return response.status, response.decision, response.origin


def tagged(key: str) -> bytes:
    return get("/", f"baggage: sd-routing-key={key}")


REQUESTS = {"untagged": get(), STAYS: tagged(STAYS), COMES: tagged(COMES)}


@dataclass
class Sidecar:
    """A proxy, its load, and what its table may have said of the key that comes and goes, and when.

    A state may be in force from the moment before it was written, and surely is once a request has shown it; from then
    on none before it is.
    """

    proxy: Proxy
    load: Load
    states: list[tuple[Seen, float, float]] = field(default_factory=list)  # what, written, confirmed

    def writing(self, what: Seen) -> None:
        self.states.append((what, time.monotonic(), inf))

    def confirm(self) -> None:
        """Returns once the last state is in force."""
        what, written_s, _ = self.states[-1]
        until(lambda: seen(ask(self.proxy.port, tagged(COMES))) == what, f"{what}", within_s=30)
        self.states[-1] = (what, written_s, time.monotonic())

    def allowed(self, answer: Answer) -> set[Seen]:
        if answer.name != COMES:
            return {UNTAGGED if answer.name == "untagged" else STAYING}
        found = set()
        for what, written_s, confirmed_s in reversed(self.states):
            if written_s <= answer.ended_s:
                found.add(what)
            if confirmed_s < answer.began_s:
                break
        return found

    def check(self) -> None:
        answers = self.load.answers()
        lost = [answer for answer in answers if answer.response is None]
        assert lost == []
        wrong = [
            (answer.name, seen(answer.response), self.allowed(answer))
            for answer in answers
            if answer.response is not None and seen(answer.response) not in self.allowed(answer)
        ]
        assert wrong == []
        shown = {seen(answer.response) for answer in self.load.answers(COMES) if answer.response is not None}
        assert shown == {THERE, GONE}


@dataclass
class Scene:
    folder: Path
    url: str
    ports: dict[str, int]  # of origins
    sidecars: list[Sidecar] = field(default_factory=list)

    def run_controller(self) -> contextlib.AbstractContextManager[Controller]:
        return run_controller(self.folder, "--listen", self.url.removeprefix("http://"))

    def write(self, name: str, destination: str) -> None:
        """A sandbox of both workloads in a file of its own, put in place by a rename."""
        local = [
            {
                "from": {"kind": "Deployment", "namespace": NAMESPACE, "name": workload},
                "mappings": [{"port": 8081, "toLocal": f"127.0.0.1:{self.ports[destination]}"}],
            }
            for workload in WORKLOADS
        ]
        fresh = self.folder / f".{name}"
        fresh.write_text(json.dumps(sandbox(name, local=local)))
        fresh.rename(self.folder / f"{name}.yaml")

    def remove(self, name: str) -> None:
        (self.folder / f"{name}.yaml").unlink()

    def come(self) -> None:
        for sidecar in self.sidecars:
            sidecar.writing(THERE)
        self.write(COMES, COMES)

    def go(self) -> None:
        for sidecar in self.sidecars:
            sidecar.writing(GONE)
        self.remove(COMES)

    def confirm(self) -> None:
        for sidecar in self.sidecars:
            sidecar.confirm()

    def more(self) -> None:
        for sidecar in self.sidecars:
            sidecar.load.more()

    def last(self) -> set[Seen | None]:
        """What the latest answers show."""
        answers = [each.load.answers(COMES)[-1].response for each in self.sidecars]
        return {seen(response) if response else None for response in answers}

    def until_all(self, *, stale: bool) -> None:
        until(
            lambda: all(each.proxy.state()["stale"] is stale for each in self.sidecars), f"stale: {stale}", within_s=60
        )

    def check(self) -> None:
        for sidecar in self.sidecars:
            sidecar.check()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Nothing runs yet but the origins; both sandboxes are there."""
    origins = [Origin(name) for name in ("baseline", STAYS, COMES)]
    with running(*origins):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        scene = Scene(tmp_path / "source", url, {each.name: each.port for each in origins})
        scene.folder.mkdir()
        scene.write(STAYS, STAYS)
        scene.write(COMES, COMES)
        yield scene


@contextlib.contextmanager
def sidecars(scene: Scene, tmp_path: Path) -> Iterator[None]:
    """Two of them under load from the first line of the block to its last, and judged after it."""
    with contextlib.ExitStack() as stack:
        for name in WORKLOADS:
            workload = f"{NAMESPACE}/Deployment/{name}"
            proxy = stack.enter_context(
                run_proxy(tmp_path, scene.ports["baseline"], controller=scene.url, flags=FLAGS, workload=workload)
            )
            until(lambda proxy=proxy: proxy.page("/readyz")[0] == 200, "readiness", within_s=20)  # type: ignore[misc]
            assert seen(ask(proxy.port, tagged(COMES))) == THERE
            load = stack.enter_context(loaded(proxy.port, REQUESTS))
            scene.sidecars.append(Sidecar(proxy, load, [(THERE, -inf, -inf)]))
        yield
    scene.check()


def test_killed_and_started_again(tmp_path: Path, scene: Scene) -> None:
    with contextlib.ExitStack() as stack:
        controller = stack.enter_context(scene.run_controller())
        stack.enter_context(sidecars(scene, tmp_path))
        scene.go()
        scene.confirm()
        for is_coming in (True, False, True):
            controller.process.kill()
            controller.process.wait()
            scene.until_all(stale=True)
            scene.more()
            (scene.come if is_coming else scene.go)()  # nobody hears of it yet
            scene.more()
            assert scene.last() == {GONE if is_coming else THERE}
            controller = stack.enter_context(scene.run_controller())
            scene.confirm()
            scene.until_all(stale=False)
            scene.more()


def test_killed_in_the_middle_of_changes(tmp_path: Path, scene: Scene) -> None:
    """At moments that nobody chose: what was written last is in force in the end."""
    with contextlib.ExitStack() as stack:
        controller = stack.enter_context(scene.run_controller())
        stack.enter_context(sidecars(scene, tmp_path))
        for number in range(5):
            scene.go()
            time.sleep(0.003 * number)  # no condition: anything may be under way
            controller.process.kill()
            controller.process.wait()
            controller = stack.enter_context(scene.run_controller())
            scene.confirm()
            scene.come()
            scene.confirm()


def test_stopped_and_continued(tmp_path: Path, scene: Scene) -> None:
    """Connections stand, and nothing comes over them."""
    with scene.run_controller() as controller, sidecars(scene, tmp_path):
        controller.process.send_signal(signal.SIGSTOP)
        try:
            scene.go()
            end_s = time.monotonic() + SECONDS / 2
            while time.monotonic() < end_s:
                scene.more()
            assert scene.last() == {THERE}
        finally:
            controller.process.send_signal(signal.SIGCONT)
        scene.confirm()
        scene.until_all(stale=False)
        scene.come()
        scene.confirm()


def test_a_thousand_changes_a_minute(tmp_path: Path, scene: Scene) -> None:
    """Other sandboxes come, change and go; the one that is asked for comes and goes among them, not waited for."""
    with scene.run_controller() as controller, sidecars(scene, tmp_path):
        count = int(PER_MINUTE * SECONDS / 60)
        began_s = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began_s + number * 60 / PER_MINUTE - time.monotonic()))
            name = f"other-{number % 40}"
            if number % 10 == 9:
                (scene.come if scene.sidecars[0].states[-1][0] == GONE else scene.go)()
            elif number % 3 == 2 and (scene.folder / f"{name}.yaml").exists():
                scene.remove(name)
            else:
                scene.write(name, (STAYS, "baseline", COMES)[number % 3])
        scene.confirm()
        scene.write("last", STAYS)
        for each in scene.sidecars:
            until(lambda each=each: ask(each.proxy.port, tagged("last")).origin == STAYS, "the last")  # type: ignore[misc]
        versions = {each.proxy.state()["version"] for each in scene.sidecars}
        proxies = controller.ask("GET", "/api/v1/proxies").json
        assert versions == {proxies["version"]}


def test_a_proxy_restarted_while_the_controller_is_gone(tmp_path: Path, scene: Scene) -> None:
    flags = (*FLAGS, "--state-dir", str(tmp_path / "state"), "--sync-timeout", "0.2")

    def run() -> contextlib.AbstractContextManager[Proxy]:
        return run_proxy(tmp_path, scene.ports["baseline"], controller=scene.url, flags=flags)

    with scene.run_controller() as controller, run() as proxy:
        until(lambda: seen(ask(proxy.port, tagged(COMES))) == THERE, "the table")
        scene.remove(COMES)
        until(lambda: seen(ask(proxy.port, tagged(COMES))) == GONE, "the end of the key")
        controller.process.kill()
        controller.process.wait()
        assert proxy.stop() == 0
    scene.write(COMES, COMES)
    with run() as proxy:
        until(lambda: proxy.page("/readyz")[0] == 200, "readiness")
        assert proxy.state()["stale"] is True
        assert seen(ask(proxy.port, tagged(STAYS))) == STAYING
        assert seen(ask(proxy.port, tagged(COMES))) == GONE
        with scene.run_controller():
            until(lambda: seen(ask(proxy.port, tagged(COMES))) == THERE, "the table", within_s=15)
            assert proxy.state()["stale"] is False
