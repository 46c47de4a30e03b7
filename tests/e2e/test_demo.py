"""The demo as users run it: `python -m demo` with everything it starts, judged by what it prints, does and leaves.

Every process of a run inherits a variable that is the run's own, so that what is left of it can be found afterwards.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from demo.__main__ import missing_packages
from demo.client import Response, get
from demo.hops import Hop, Journey
from demo.scenario import BEFORE

ROOT = Path(__file__).resolve().parents[2]
MARK = "DEMO_TEST_RUN"
LIMIT_S = 60

MISSING = " ".join(missing_packages())
needs_packages = pytest.mark.skipif(bool(MISSING), reason=f"demo/requirements.txt is not installed: {MISSING}")


class Run:
    """One run of the demo."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo", *arguments],
            cwd=ROOT,
            env=os.environ | dict([self._mark.split("=")]) | {"TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def alive(self) -> list[str]:
        """The command lines of all processes of this run."""
        commands = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # ended meanwhile, or somebody else's
                if self._mark.encode() in (folder / "environ").read_bytes():
                    commands.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return commands

    def lines(self) -> Iterator[str]:
        """What it prints, as it does."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield line.rstrip("\n")

    def ends(self) -> int:
        """Its exit code."""
        return self.process.wait(LIMIT_S)


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """A run with the test's arguments, which leaves no process behind however the test ends."""
    started = Run(tmp_path, *getattr(request, "param", ()))
    try:
        yield started
    finally:
        started.process.terminate()
        started.process.communicate(timeout=LIMIT_S)
        assert started.alive() == []


def tables(lines: list[str]) -> dict[int, list[tuple[str, ...]]]:
    """The rows of each step's table of hops."""
    found: dict[int, list[tuple[str, ...]]] = {}
    number = 0
    for line in lines:
        if step := re.match(r"(\d+)\. ", line):
            number = int(step[1])
            found[number] = []
        elif number and re.match(r"  (frontend|  driver|    location|      route|  pricing) ", line):
            found[number].append(tuple(re.split(r"\s{2,}", line.strip())))
    return found


@needs_packages
def test_everything_is_shown_proved_and_stopped(run: Run, tmp_path: Path) -> None:
    started = time.monotonic()
    lines = list(run.lines())
    assert run.ends() == 0, "\n".join(lines)
    assert time.monotonic() - started < LIMIT_S
    assert run.alive() == []
    assert list(tmp_path.iterdir()) == []
    assert max(map(len, lines)) <= 100
    assert not any("\033" in line for line in lines)

    hops = tables(lines)
    baseline = [(service, "baseline") for service in ("frontend", "driver", "location", "route", "pricing")]

    def answered(step: int) -> list[tuple[str, ...]]:
        return [(row[0], row[2]) for row in hops[step]]

    def forked_by(sandbox: str, fork: str = "location") -> list[tuple[str, ...]]:
        return [(service, sandbox if service == fork else who) for service, who in baseline]

    assert answered(1) == answered(6) == baseline
    assert answered(2) == answered(3) == forked_by("local-location")
    assert answered(4) == forked_by("pr-125", "route")
    assert answered(8) == forked_by("pr-124")
    assert [row[1] for row in hops[1]] == ["HTTP/1.1", "HTTP/1.1", "gRPC", "HTTP/1.1", "HTTP/1.1"]
    assert [row[3] for row in hops[2]] == ["not_forked", "not_forked", "route", "not_forked", "not_forked"]
    assert {row[4] for row in hops[2]} == {"baggage: qwblp48fpmb30"}
    assert {row[4] for row in hops[3]} == {"tracestate: qwblp48fpmb30"}
    assert answered(5) == [
        row if row[0] != "location" else ("location", "nobody") for row in baseline if row[0] != "route"
    ]
    assert ("location", "gRPC", "nobody", "no_destination", "-") in hops[5]
    assert hops[7] == [("frontend", "HTTP/1.1", "nobody", "unknown_key", "-")]
    assert hops[9] == [("frontend", "HTTP/1.1", "nobody", "gone_key", "-")]
    assert sum(line.startswith("  < 424 ") for line in lines) == 2
    assert sum(line.startswith("  $ pointsman sandbox ") for line in lines) == 9


@needs_packages
@pytest.mark.parametrize("run", [("--keep",)], indirect=True)
def test_keep_lets_users_try_a_key_of_their_own(run: Run, tmp_path: Path) -> None:
    file = next(line.rpartition(": ")[2] for line in run.lines() if line.endswith("/demo.json"))
    state = json.loads(Path(file).read_text())
    folder, sandbox = Path(state["folder"]), state["sandboxes"]["pr-124"]

    (text,) = (file.read_text() for file in folder.glob("*.yaml") if "pr-124" in file.read_text())
    mine = text.replace(sandbox["routing_key"], "my-own-key").replace("name: pr-124", "name: mine")
    started = datetime.now(UTC).isoformat()
    assert pointsman(state, "sandbox", "apply", "-f", "-", "--wait", text=mine) == 0
    assert location_of(ride(state, "my-own-key")) == ("pr-124", sandbox["pid"])
    assert location_of(ride(state, "another-key")) == ("baseline", state["services"]["location"]["pid"])

    went = pickups(state, None, "my-own-key", "another-key", "my-own-key", "qwblp48fpmb30")
    assert went == ["baseline", "pr-124", "baseline", "pr-124", "FAILED_PRECONDITION"]
    assert pointsman(state, "sandbox", "verify", "mine", "--since", started) == 0

    admins = [word for service in state["services"].values() for word in ("--admin", service["admin"])]
    found = diagnosis("--send", state["url"], *admins, "--controller", state["controller"])
    (way,) = [each["found"] for each in found if each["check"] == "propagation"]
    passed = [f"hotrod-istio/Deployment/{name} (baggage and tracestate)" for name in state["services"]]
    assert sorted(way.removeprefix("the mark's way: ").split(", ")) == sorted(passed)

    os.kill(sandbox["pid"], signal.SIGKILL)
    assert eventually(lambda: ride(state, "my-own-key").status == 502)
    assert "UNAVAILABLE: pointsman: sandbox_unreachable" in ride(state, "my-own-key").body
    assert pickups(state, "my-own-key", None) == ["UNAVAILABLE", "baseline"]
    assert ride(state, "another-key").status == 200

    run.process.send_signal(signal.SIGINT)
    assert run.ends() == 0
    assert run.alive() == []
    assert list(tmp_path.iterdir()) == []


def ride(state: dict[str, Any], key: str) -> Response:
    address, slash, target = state["url"].removeprefix("http://").partition("/")
    return get(address, slash + target, {"baggage": f"sd-routing-key={key}"})


def pointsman(state: dict[str, Any], *arguments: str, text: str = "") -> int:
    """The exit code of a command."""
    settings = {"POINTSMAN_CONTROLLER": state["controller"], "POINTSMAN_NAMESPACE": "hotrod-istio"}
    command = [sys.executable, "-m", "pointsman", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | settings, input=text, text=True, check=False).returncode


def diagnosis(*arguments: str) -> list[dict[str, str]]:
    """What `pointsman doctor` finds."""
    command = [sys.executable, "-m", "pointsman", "doctor", "--output", "json", *arguments]
    found = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    findings: list[dict[str, str]] = json.loads(found.stdout)["findings"]
    return findings


def location_of(response: Response) -> tuple[str, int]:
    """Version and process id of who answered as location."""
    location = json.loads(response.body)["calls"][0]["calls"][0]
    return location["version"], location["pid"]


def pickups(state: dict[str, Any], *keys: str | None) -> list[str]:
    """Who answered, or the status: calls to location's sidecar on one connection, by a gRPC client of our own."""
    import grpc

    from demo.services import rpc

    ended = []
    with grpc.insecure_channel(state["services"]["location"]["sidecar"]) as channel:
        pickup = channel.unary_unary(rpc.PATH, rpc.to_bytes, rpc.from_bytes)
        for key in keys:
            metadata = [("baggage", f"sd-routing-key={key}")] if key else []
            try:
                ended.append(pickup({"customer": "7"}, timeout=10, metadata=metadata)["version"])
            except grpc.RpcError as error:
                ended.append(error.code().name)
    return ended


def eventually(condition: Callable[[], bool], limit_s: float = 5.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds


@needs_packages
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_during_the_start_leaves_nothing(run: Run, number: int, code: int) -> None:
    assert eventually(lambda: len(run.alive()) >= 5)
    run.process.send_signal(number)
    assert run.ends() == code
    assert eventually(lambda: run.alive() == [])


# --- the demo's own checks can fail ---


def went(answered_by: Mapping[str, str], why: Mapping[str, str]) -> tuple[Hop, ...]:
    """The hops of step 2, with who answered and why where that is not what it should be."""
    return tuple(
        Hop(
            hop.depth,
            hop.service,
            answered_by.get(hop.service, hop.answered_by),
            why.get(hop.service, hop.why),
            hop.arrived,
        )
        for hop in BEFORE[1].hops
    )


def test_a_request_that_went_right_has_no_fault() -> None:
    assert BEFORE[1].faults(Journey(200, "", went({}, {}), ())) == []


@pytest.mark.parametrize(
    ("journey", "fault"),
    [
        pytest.param(Journey(503, "", went({}, {}), ()), "the answer is 503", id="status"),
        pytest.param(Journey(200, "", went({"location": "baseline"}, {}), ()), "location: ", id="false green"),
        pytest.param(Journey(200, "", went({"pricing": "local-location"}, {}), ()), "pricing: ", id="wrong service"),
        pytest.param(Journey(200, "", went({}, {"route": "no_key"}), ()), "route: ", id="key lost on the way"),
        pytest.param(Journey(200, "", went({}, {})[:-1], ()), "pricing: not asked", id="service left out"),
        pytest.param(Journey(200, "", went({}, {}), ("a doubt",)), "a doubt", id="witnesses disagree"),
    ],
)
def test_a_request_that_went_wrong_has_one(journey: Journey, fault: str) -> None:
    faults = BEFORE[1].faults(journey)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_an_answer_that_hides_the_callers_grpc_status_is_a_fault() -> None:
    step = next(step for step in BEFORE if step.says)
    assert step.faults(Journey(502, f"... {step.says} ...", step.hops, ())) == []
    (fault,) = step.faults(Journey(502, "Bad Gateway", step.hops, ()))
    assert fault.startswith("the answer does not say UNAVAILABLE")
