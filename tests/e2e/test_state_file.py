"""A proxy that starts while its controller is gone routes by what it kept, or by nothing. CHECKLIST G49."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.feed.statefile import StateFile
from proxy.routing.names import Workload
from tests.support.client import ask, get
from tests.support.feed import Controller, controlling
from tests.support.origin import Origin
from tests.support.proxy import KEY, WORKLOAD, Proxy, route, run_proxy
from tests.support.waiting import until

NOBODY = "http://127.0.0.1:9"
TAGGED = get("/", f"baggage: sd-routing-key={KEY}")


def flags(folder: Path) -> tuple[str, ...]:
    allow = ("--destination-allow", "127.0.0.0/8", "--sync-timeout", "0.2")
    return ("--decision-header", *allow, "--state-dir", str(folder))


@pytest.fixture
def controller() -> Iterator[Controller]:
    with controlling() as controller:
        yield controller


def state_file(folder: Path) -> Path | None:
    return next(iter(folder.glob("*.state")), None)


def kept_position(folder: Path) -> int | None:
    """The position in the file, which must be whole."""
    parts = StateFile(str(folder), Workload.parse(WORKLOAD)).load()
    return parts[0].position if parts else None


@pytest.fixture
def folder(tmp_path: Path, baseline: Origin, sandbox: Origin, controller: Controller) -> Path:
    """A state folder that a proxy with a table left behind when it was killed."""
    folder = tmp_path / "state"
    with run_proxy(tmp_path, baseline.port, controller=controller.url, flags=flags(folder)) as proxy:
        peer, _ = controller.peer()
        peer.snapshot(3, route(KEY, [sandbox.port]), keyDigest={"salt": "01"}, liveKeys=["0" * 24], goneKeys=["1" * 24])
        until(lambda: state_file(folder), "the state file")
        proxy.process.kill()
        proxy.process.wait()
        proxy.process.returncode = 0  # it was us
    return folder


def test_it_holds_keys_and_is_nobody_elses(folder: Path) -> None:
    file = state_file(folder)
    assert file is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_start_without_the_controller_routes_by_it(folder: Path, tmp_path: Path, baseline: Origin) -> None:
    with run_proxy(tmp_path, baseline.port, controller=NOBODY, flags=flags(folder)) as proxy:
        assert ask(proxy.port, TAGGED).decision == "sandbox=local-location; reason=route"
        state = proxy.state()
        assert (state["version"], state["stale"]) == ("v3", True)
        assert proxy.metric("pointsman_table_stale") == 1
        assert proxy.metric("pointsman_feed_synced") == 0
        until(lambda: proxy.page("/readyz")[0] == 200, "readiness")


def test_it_says_what_it_has_and_goes_on_from_there(
    folder: Path, tmp_path: Path, baseline: Origin, controller: Controller
) -> None:
    with run_proxy(tmp_path, baseline.port, controller=controller.url, flags=flags(folder)) as proxy:
        peer, hello = controller.peer()
        assert (hello["position"], hello["version"], hello["salt"]) == (3, "v3", "01")
        assert proxy.state()["stale"] is True
        assert peer.change(4, 3, removedRoutes=[KEY])["type"] == "ack"
        assert proxy.state()["stale"] is False
        assert ask(proxy.port, TAGGED).status == 424
        until(lambda: kept_position(folder) == 4, "the next state file")


def test_a_route_that_was_refused_is_still_missing_after_a_restart(
    tmp_path: Path, baseline: Origin, sandbox: Origin, controller: Controller
) -> None:
    folder = tmp_path / "state"
    good = route(KEY, [sandbox.port])
    bad = {**good, "mappings": [{"port": 70000, "destinations": []}]}
    with run_proxy(tmp_path, baseline.port, controller=controller.url, flags=flags(folder)) as proxy:
        peer, _ = controller.peer()
        assert peer.snapshot(3, good)["type"] == "ack"
        assert peer.change(4, 3, routes=[bad])["isWhole"] is False
    with run_proxy(tmp_path, baseline.port, controller=controller.url, flags=flags(folder)) as proxy:
        peer, hello = controller.peer()
        assert (hello["position"], hello["version"]) == (4, None)
        assert ask(proxy.port, TAGGED).decision == "sandbox=local-location; reason=route"  # its last good form
        assert peer.snapshot(5, good)["type"] == "ack"
    assert kept_position(folder) == 5


def _cut(raw: bytes) -> bytes:
    return raw[:-10]


def _flipped(raw: bytes) -> bytes:
    return raw.replace(KEY.encode(), KEY.upper().encode())


def _empty(_: bytes) -> bytes:
    return b""


def _newer(raw: bytes) -> bytes:
    return raw.replace(b"pointsman-state/1", b"pointsman-state/2")


def _noise(_: bytes) -> bytes:
    return random.Random(1).randbytes(5000)


@pytest.mark.parametrize("damage", [_cut, _flipped, _empty, _newer, _noise])
def test_one_that_is_no_good_is_as_none(
    folder: Path, tmp_path: Path, baseline: Origin, damage: Callable[[bytes], bytes]
) -> None:
    file = state_file(folder)
    assert file is not None
    file.write_bytes(damage(file.read_bytes()))
    with run_proxy(tmp_path, baseline.port, controller=NOBODY, flags=flags(folder)) as proxy:
        check_as_never_synced(proxy)


def test_one_of_another_workload_is_as_none(folder: Path, tmp_path: Path, baseline: Origin) -> None:
    file = state_file(folder)
    assert file is not None
    other = "hotrod/Deployment/other"
    os.rename(file, StateFile(str(folder), Workload.parse(other)).path)
    with run_proxy(tmp_path, baseline.port, controller=NOBODY, flags=flags(folder), workload=other) as proxy:
        check_as_never_synced(proxy)
        assert any("is of 'hotrod/Deployment/location'" in line for line in proxy.lines)


def check_as_never_synced(proxy: Proxy) -> None:
    assert ask(proxy.port, get()).decision == "baseline; reason=no_key"
    assert ask(proxy.port, TAGGED).decision == "none; reason=not_synced"
    state = proxy.state()
    assert (state["version"], state["stale"]) == (None, True)
    assert "state file" in str(state["last_error"])
    assert proxy.metric("pointsman_state_file_failures_total") == 1
    assert [line for line in proxy.lines if "refused, starting without a table" in line]


def test_a_folder_that_cannot_be_is_an_alarm_and_no_more(
    tmp_path: Path, baseline: Origin, sandbox: Origin, controller: Controller
) -> None:
    (tmp_path / "file").write_text("")
    with run_proxy(tmp_path, baseline.port, controller=controller.url, flags=flags(tmp_path / "file")) as proxy:
        peer, _ = controller.peer()
        assert peer.snapshot(1, route(KEY, [sandbox.port]))["type"] == "ack"
        assert ask(proxy.port, TAGGED).decision == "sandbox=local-location; reason=route"
        until(lambda: proxy.metric("pointsman_state_file_failures_total") == 2, "the failed write")


def test_killed_while_it_writes(tmp_path: Path, baseline: Origin, controller: Controller) -> None:
    """The file is always whole: the one of before, or the next."""
    folder = tmp_path / "state"
    chance = random.Random(48)
    kept: int | None = None
    for position in range(1, 9):
        with run_proxy(tmp_path, baseline.port, controller=controller.url, flags=flags(folder)) as proxy:
            peer, hello = controller.peer()
            assert hello["position"] == kept
            for part in range(4):
                routes = [route(f"k{part}-{index}", [1]) for index in range(500)]
                document = {"apiVersion": "pointsman.dev/v1alpha1", "kind": "RoutingTable", "routes": routes}
                message = {"type": "snapshot", "nonce": "n", "position": position, "version": f"v{position}"}
                peer.say(**message, part=part, isLast=part == 3, document=document)
            assert peer.answer("n")["type"] == "ack"
            time.sleep(chance.uniform(0, 0.15))  # writing takes about 100 ms
            os.kill(proxy.process.pid, signal.SIGKILL)
            proxy.process.wait()
            proxy.process.returncode = 0  # it was us
            peer.cut()
        now = kept_position(folder)
        assert now in (kept, position)
        kept = now
    assert kept is not None


WRITER = """
import json, sys
from proxy.feed.statefile import _write
from tests.support.proxy import WORKLOAD

path, position = sys.argv[1], 0
keys = b'{"liveKeys": ["%s"]}' % b'","'.join(b"key%08d" % index for index in range(200_000))
while True:
    position += 1
    header = {"workload": WORKLOAD, "position": position, "version": "v", "keyDigest": None, "refusedRoutes": []}
    _write(path, [json.dumps(header).encode() + b"\\n", keys + b"\\n"])
    print(position, flush=True)
"""


def test_a_writer_that_is_killed_at_any_moment(tmp_path: Path) -> None:
    """As above, by one who does nothing but write: a file of 3 MB, time after time."""
    chance = random.Random(49)
    path = StateFile(str(tmp_path), Workload.parse(WORKLOAD)).path
    for _ in range(12):
        command = [sys.executable, "-c", WRITER, path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            first = int(writer.stdout.readline())
            time.sleep(chance.uniform(0, 0.06))
            writer.kill()
            last = max([first, *map(int, writer.stdout.read().split())])
        assert kept_position(tmp_path) in (last, last + 1)


def test_what_is_kept_is_json_and_no_other_keys(folder: Path) -> None:
    file = state_file(folder)
    assert file is not None
    seal, header, *parts = file.read_bytes().splitlines()
    assert seal.startswith(b"pointsman-state/1 ")
    assert json.loads(header) == {
        "workload": WORKLOAD,
        "position": 3,
        "version": "v3",
        "keyDigest": {"salt": "01"},
        "refusedRoutes": [],
    }
    assert [name for part in parts for name in json.loads(part)] == ["routes", "liveKeys", "goneKeys"]
