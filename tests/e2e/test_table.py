"""A table that changes while requests run: none is lost, each one is answered by one table, the old or the new."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import pytest

from tests.support.client import Response, ask, connected, get
from tests.support.load import Answer, Load, loaded
from tests.support.origin import Origin, RawOrigin, Received, Responder, running
from tests.support.proxy import KEY, Proxy, route, run_proxy, table, write_table
from tests.support.waiting import until

TAGGED = f"baggage: sd-routing-key={KEY}"
DECISIONS = ("--decision-header",)
UPLOAD = b"u" * 3000


def as_yaml(document: Mapping[str, object]) -> str:
    """The document with a line for each field and each route, so that its beginning is a valid, shorter table."""
    routes = document["routes"]
    assert isinstance(routes, list)
    fields = [f"{name}: {json.dumps(value)}\n" for name, value in document.items() if name != "routes"]
    return "".join([*fields, "routes:\n", *(f"- {json.dumps(entry)}\n" for entry in routes)])


# --- under steady load ---


@dataclass(frozen=True)
class Outcome:
    """Where a request went, as its answer tells: all four must fit one table."""

    decision: str
    origin: str
    host: str
    body: bytes


@dataclass
class Scene:
    """Two tables that differ in everything that a request can notice, and what each makes of every request."""

    ports: dict[str, int]

    @property
    def before(self) -> dict[str, object]:
        return table(
            route("moves", [self.ports["old"]], sandbox="old"),
            route("leaves", [self.ports["old"]], sandbox="old"),
            version="old",
        )

    @property
    def after(self) -> dict[str, object]:
        """Its last route is a new one: whoever reads only a beginning of it has mixed two tables."""
        new = [self.ports["new"]]
        return table(
            route("leaves", new, sandbox="new", workload="hotrod/Deployment/driver"),
            route("moves", new, sandbox="new", authority="destination"),
            route("added", new, sandbox="new", authority="destination"),
            version="new",
        )

    def outcomes(self) -> dict[str, tuple[Outcome, Outcome]]:
        """By the request's name: under the table before, and under the one after."""

        def baseline(reason: str) -> Outcome:
            return Outcome(f"baseline; reason={reason}", "baseline", "location", b"baseline" * 3000)

        old = Outcome("sandbox=old; reason=route", "old", "location", b"old" * 3000)
        new = Outcome("sandbox=new; reason=route", "new", f"127.0.0.1:{self.ports['new']}", b"new" * 3000)
        return {
            "untagged": (baseline("no_key"), baseline("no_key")),
            "moves": (old, new),
            "moves upload": (old, new),
            "leaves": (old, baseline("gone_route")),
            "added": (baseline("unknown_key"), new),
        }

    def requests(self) -> dict[str, bytes]:
        lines = {
            name: [f"baggage: sd-routing-key={name.split()[0]}"] * (name != "untagged") for name in self.outcomes()
        }
        upload = get("/", *lines.pop("moves upload"), f"Content-Length: {len(UPLOAD)}", method="POST") + UPLOAD
        return {"moves upload": upload, **{name: get("/", *of_name) for name, of_name in lines.items()}}

    def has_arrived(self, load: Load) -> bool:
        """Whether the table after it has answered every request."""
        return all(
            (answers := load.answers(name)) and answers[-1].response is not None and seen(answers[-1]) == after
            for name, (_, after) in self.outcomes().items()
        )

    def check(self, load: Load) -> None:
        """Every answer is whole and comes of one of the two tables, and once the new one showed, of that alone."""
        answers = load.answers()
        outcomes = self.outcomes()
        assert [answer for answer in answers if answer.response is None] == []
        assert [seen(answer) for answer in answers if seen(answer) not in outcomes[answer.name]] == []
        shown_s = min(answer.ended_s for answer in answers if seen(answer) != outcomes[answer.name][0])
        late = [answer for answer in answers if answer.began_s > shown_s]
        assert len(late) >= len(outcomes)
        assert [(answer.name, seen(answer)) for answer in late if seen(answer) != outcomes[answer.name][1]] == []


def seen(answer: Answer) -> Outcome:
    response = answer.response
    assert response is not None
    assert response.status == 200, response
    return Outcome(response.decision, response.origin, response.value("x-host"), response.body)


def naming(name: str) -> Responder:
    """Answers tell the origin, the Host that reached it, and that an upload was whole."""

    def respond(received: Received) -> tuple[int, list[tuple[str, str]], bytes]:
        if received.body not in (b"", UPLOAD):
            return 400, [], b"not what was sent"
        return 200, [("x-host", received.values(b"host")[0].decode())], name.encode() * 3000

    return respond


@pytest.fixture
def scene() -> Iterator[Scene]:
    origins = [Origin(name, naming(name)) for name in ("baseline", "old", "new")]
    with running(*origins):
        yield Scene({origin.name: origin.port for origin in origins})


def rename(path: Path, document: Mapping[str, object], load: Load) -> None:
    write_table(path, document)


def write_in_place(path: Path, document: Mapping[str, object], load: Load) -> None:
    path.write_text(json.dumps(document))


def write_in_place_slowly(path: Path, document: Mapping[str, object], load: Load) -> None:
    """The pause is long for a proxy, short for a writer, and what stands in the file meanwhile is a valid table."""
    lines = as_yaml(document).splitlines(keepends=True)
    with path.open("w") as file:
        file.writelines(lines[:-1])
        file.flush()
        load.more(60)
        file.writelines(lines[-1])


def make_anew(path: Path, document: Mapping[str, object], load: Load) -> None:
    path.unlink()
    load.more(5)
    write_in_place_slowly(path, document, load)


def swap_symlink(path: Path, document: Mapping[str, object], load: Load) -> None:
    publish_config_map(path, document, "..2026_11_02")
    shutil.rmtree(path.parent / "..2026_11_01")


def publish_config_map(path: Path, document: Mapping[str, object], stamp: str) -> None:
    """As the kubelet does it: a folder with a time in its name, and `..data`, which leads there, swapped by rename."""
    (path.parent / stamp).mkdir()
    (path.parent / stamp / path.name).write_text(json.dumps(document))
    (path.parent / "..data_tmp").symlink_to(stamp)
    os.replace(path.parent / "..data_tmp", path.parent / "..data")


@pytest.mark.parametrize("change", [rename, write_in_place, write_in_place_slowly, make_anew, swap_symlink])
def test_a_change_under_load(
    tmp_path: Path, scene: Scene, change: Callable[[Path, Mapping[str, object], Load], None]
) -> None:
    path = tmp_path / "table.json"
    if change is swap_symlink:
        publish_config_map(path, scene.before, "..2026_11_01")
        path.symlink_to("..data/table.json")
    with run_proxy(tmp_path, scene.ports["baseline"], document=scene.before, flags=DECISIONS) as proxy:
        with loaded(proxy.port, scene.requests()) as load:
            change(path, scene.after, load)
            until(lambda: scene.has_arrived(load), "the new table's answers")
        scene.check(load)
        assert proxy.state()["version"] == "new"


def test_many_changes_under_load(tmp_path: Path, scene: Scene) -> None:
    """Connections to both sandboxes come and go all the time."""
    tables = [table(route("moves", [scene.ports[name]], sandbox=name), version=name) for name in ("old", "new")]
    requests = {name: request for name, request in scene.requests().items() if name.startswith(("moves", "untagged"))}
    with run_proxy(tmp_path, scene.ports["baseline"], document=tables[0], flags=DECISIONS) as proxy:
        with loaded(proxy.port, requests) as load:
            for number in range(1, 31):
                proxy.set_table({**tables[number % 2], "version": str(number)})
        assert [answer for answer in load.answers() if answer.response is None] == []
        allowed = {(f"sandbox={name}; reason=route", name) for name in ("old", "new")}
        for answer in load.answers():
            fits = {("baseline; reason=no_key", "baseline")} if answer.name == "untagged" else allowed
            assert (seen(answer).decision, seen(answer).origin) in fits


# --- requests that are under way keep their table ---


class HeldOrigin(RawOrigin):
    """Holds a request in one stage until `go_on`; `has_closed` once the proxy has ended the connection."""

    BODY = b"answer" * 1000

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.has_begun, self.go_on, self.has_closed = threading.Event(), threading.Event(), threading.Event()
        self.uploaded = b""
        super().__init__(self._hold)

    def _hold(self, connection: socket, head: bytes) -> None:
        self.uploaded = head.partition(b"\r\n\r\n")[2]
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self.BODY) + self.BODY
        sent = len(answer) // 2 if self.stage == "response body" else 0
        connection.sendall(answer[:sent])
        self.has_begun.set()
        while head.startswith(b"POST") and len(self.uploaded) < len(UPLOAD):
            self.uploaded += connection.recv(65536)
        assert self.go_on.wait(15)
        connection.sendall(answer[sent:])
        while connection.recv(65536):
            pass
        self.has_closed.set()


@pytest.mark.parametrize("stage", ["request body", "response head", "response body"])
def test_a_request_under_way_keeps_its_table(tmp_path: Path, baseline: Origin, stage: str) -> None:
    """Its route goes away meanwhile. It ends as it began, the next one on its connection is refused, and its upstream
    connection, which leads where no route leads, is not kept for others."""
    origin = HeldOrigin(stage)
    half = len(UPLOAD) // 2
    flags = (*DECISIONS, "--upstream-idle-timeout", "600")
    with (
        running(origin),
        run_proxy(tmp_path, baseline.port, document=table(route(KEY, [origin.port])), flags=flags) as proxy,
        connected(proxy.port) as client,
    ):
        if stage == "request body":
            client.send(get("/", TAGGED, f"Content-Length: {len(UPLOAD)}", method="POST"), UPLOAD[:half])
        else:
            client.send(get("/", TAGGED))
        assert origin.has_begun.wait(5)
        proxy.set_table(table(version="2"))
        assert ask(proxy.port, get("/", TAGGED)).status == 424
        if stage == "request body":
            client.send(UPLOAD[half:])
        origin.go_on.set()
        response = client.read()
        assert (response.status, response.decision) == (200, "sandbox=local-location; reason=route")
        assert (response.body, response.is_complete) == (HeldOrigin.BODY, True)
        assert origin.uploaded == (UPLOAD if stage == "request body" else b"")
        assert client.ask(get("/", TAGGED)).status == 424
        assert origin.has_closed.wait(5), "the connection to the removed sandbox is kept"
    assert len(origin.received) == 1
    assert not baseline.requests


def test_idle_connections_to_a_replaced_sandbox_close(tmp_path: Path, baseline: Origin) -> None:
    """The baseline's stay."""
    origin = HeldOrigin("response head")
    origin.go_on.set()
    replacement = Origin("replacement")
    flags = ("--upstream-idle-timeout", "600")
    with (
        running(origin, replacement),
        run_proxy(tmp_path, baseline.port, document=table(route(KEY, [origin.port])), flags=flags) as proxy,
    ):
        assert [ask(proxy.port, get("/", *lines)).status for lines in ([TAGGED], [])] == [200, 200]
        proxy.set_table(table(route(KEY, [replacement.port]), version="2"))
        assert origin.has_closed.wait(5), "the connection to the replaced sandbox is kept"
        assert ask(proxy.port, get("/", TAGGED)).origin == "replacement"
        assert ask(proxy.port, get()).origin == "baseline"
        assert baseline.connections == 1


# --- keys and routes that are gone ---


@pytest.fixture
def baseline() -> Iterator[Origin]:
    origin = Origin("baseline")
    with running(origin):
        yield origin


@pytest.fixture
def sandbox() -> Iterator[Origin]:
    origin = Origin("sandbox")
    with running(origin):
        yield origin


@pytest.fixture
def proxy(tmp_path: Path, baseline: Origin, sandbox: Origin) -> Iterator[Proxy]:
    document = table(route(KEY, [sandbox.port]), version="first")
    with run_proxy(tmp_path, baseline.port, document=document, flags=DECISIONS) as proxy:
        yield proxy


def outcome(response: Response) -> tuple[int, str, str]:
    return response.status, response.origin, response.decision


ROUTED = (200, "sandbox", "sandbox=local-location; reason=route")


def test_a_key_that_goes_and_comes_back(proxy: Proxy, sandbox: Origin, baseline: Origin) -> None:
    assert outcome(ask(proxy.port, get("/", TAGGED))) == ROUTED
    for version in ("second", "third"):  # it stays gone, whatever follows
        proxy.set_table(table(route("other", [sandbox.port]), version=version))
        response = ask(proxy.port, get("/", TAGGED))
        assert outcome(response) == (424, "", "none; reason=gone_key")
        assert response.value("proxy-status").startswith('pointsman; error=http_request_denied; details="gone_key')
    gone = 'pointsman_requests_total{reason="gone_key",route="none",sandbox="",status="4xx"}'
    assert proxy.metric(gone) == 2
    proxy.set_table(table(route(KEY, [sandbox.port]), version="fourth"))
    assert outcome(ask(proxy.port, get("/", TAGGED))) == ROUTED
    assert not baseline.requests


@pytest.mark.parametrize("live_by", ["another workload's route", "liveKeys"])
def test_a_route_that_goes_and_comes_back(proxy: Proxy, sandbox: Origin, live_by: str) -> None:
    """Its key stays live."""
    if live_by == "liveKeys":
        without = table(version="second", liveKeys=[KEY])
    else:
        without = table(route(KEY, [sandbox.port], workload="hotrod/Deployment/driver"), version="second")
    assert outcome(ask(proxy.port, get("/", TAGGED))) == ROUTED
    proxy.set_table(without)
    assert outcome(ask(proxy.port, get("/", TAGGED))) == (200, "baseline", "baseline; reason=gone_route")
    response = ask(proxy.port, get("/", f"{TAGGED},sd-strict=1"))
    assert outcome(response) == (424, "", "none; reason=gone_route")
    assert 'details="gone_route' in response.value("proxy-status")
    proxy.set_table(table(route(KEY, [sandbox.port]), version="third"))
    assert outcome(ask(proxy.port, get("/", f"{TAGGED},sd-strict=1"))) == ROUTED


# --- the end ---


def readers_of(path: Path) -> list[str]:
    """The processes that read this table."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:  # it has just ended
            continue
        if b"proxy.tableload" in command and os.fsencode(path) in command:
            found.append(entry.parent.name)
    return found


# Read on the spot, in a thread, in a process of its own.
@pytest.mark.parametrize("routes", [1, 200, 20_000])
@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_sigterm_while_a_table_arrives(tmp_path: Path, baseline: Origin, routes: int, is_busy: bool) -> None:
    """Exit code 0; a request that runs is answered; nobody is left behind reading."""
    origin = HeldOrigin("response body")
    document = table(*(route(f"k{index}", [9]) for index in range(routes)), version="2")
    with (
        running(origin),
        run_proxy(tmp_path, origin.port) as proxy,
        connected(proxy.port) as client,
    ):
        if is_busy:
            client.send(get())
            assert origin.has_begun.wait(5)
        write_table(proxy.table_path, document)
        if routes > 10_000 and not is_busy:
            until(lambda: readers_of(proxy.table_path), "a process that reads the table")
        proxy.process.terminate()
        if is_busy:
            origin.go_on.set()
            assert client.read().body == HeldOrigin.BODY
        assert proxy.process.wait(10) == 0
        until(lambda: not readers_of(proxy.table_path), "the end of the process that reads the table")
