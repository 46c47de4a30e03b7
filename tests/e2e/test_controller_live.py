"""`/api/v1/live` of a real controller: all, then what changes; breaks, tokens, slow readers, the end."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.controller import Controller, path_of, run_controller, sandbox
from tests.support.events import LIVE, streaming
from tests.support.feedclient import scripted_proxy
from tests.support.waiting import until

WORKLOAD = "hotrod/Deployment/location"
READER, WRITER, NARROW = "reader-0123456789", "writer-0123456789", "narrow-0123456789"
ALL_TOKENS = {
    READER: "{name: dashboard, token: %s, role: read}",
    WRITER: "{name: ci, token: %s, role: write}",
    NARROW: "{name: team, token: %s, role: read, namespaces: [hotrod]}",
}


def id_of(name: str, namespace: str = "hotrod") -> str:
    return f"Sandbox {namespace}/{name}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with run_controller(tmp_path_factory.mktemp("shared") / "objects") as controller:
        yield controller


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Controller]:
    put_tokens(tmp_path, ALL_TOKENS)
    with run_controller(tmp_path / "objects", "--tokens-file", f"{tmp_path}/tokens.yaml", token=WRITER) as controller:
        yield controller


def put_tokens(folder: Path, tokens: dict[str, str]) -> None:
    file = folder / "tokens.yaml"
    file.with_suffix(".new").write_text("".join(f"- {entry % token}\n" for token, entry in tokens.items()))
    os.replace(file.with_suffix(".new"), file)


def elsewhere(name: str) -> dict[str, object]:
    document = sandbox(name)
    document["metadata"] = {"name": name, "namespace": "secret"}
    return document


def metric(controller: Controller, name: str) -> float:
    for line in controller.ask("GET", "/metrics").body.decode().splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"there is no {name}")


class TestStream:
    def test_all_then_what_changes(self, shared: Controller) -> None:
        shared.put(sandbox("before"))
        with streaming(shared) as stream:
            assert stream.start["isAll"]
            assert (stream.start["who"], stream.start["mayWrite"], stream.start["namespaces"]) == (None, True, None)
            assert stream.until(id_of("before"))["key"] == "before"
            shared.put(sandbox("after", labels={"owner": "ann"}))
            assert stream.until(id_of("after"))["owner"] == "ann"
            assert id_of("before") not in stream.changed
            shared.ask("DELETE", path_of("after"))
            stream.until_gone(id_of("after"))

    def test_proxies_answers_and_counts(self, shared: Controller) -> None:
        shared.put(sandbox("counted"))
        with streaming(shared) as stream, scripted_proxy(shared.url, WORKLOAD, "p1") as proxy:
            id_ = f"proxy {WORKLOAD} p1"
            assert stream.until(id_, connected=True)["proxy"] == "p1"
            stream.until("table", attached=1, behind={}, lacking=[])
            proxy.acks = False
            known = stream.rows["table"]["position"]
            shared.put(sandbox("more"))
            stream.until("table", lacking=[[known, 1]])
            assert stream.rows["table"]["behind"][id_][0] == known
            proxy.ack(proxy.tables[-1])
            stream.until("table", behind={})
            proxy.report([("counted", 5, 2)])
            stream.until(f"traffic {id_of('counted')}", counts={WORKLOAD: [5, 2]})
            proxy.say(type="goodbye")
            stream.until_gone(id_)

    def test_on_from_where_it_broke_off(self, shared: Controller) -> None:
        shared.put(sandbox("kept"))
        shared.put(sandbox("going"))
        with streaming(shared) as stream:
            stream.until(id_of("kept"))
            stream.until(id_of("going"))
            last_id = stream.last_id
        shared.ask("DELETE", path_of("going"))
        shared.until_gone("going")
        shared.put(sandbox("new"))
        with streaming(shared, last_id=last_id) as stream:
            assert not stream.start["isAll"]
            stream.rows = {id_of("going"): {}}
            stream.until(id_of("new"))
            stream.until_gone(id_of("going"))
            assert id_of("kept") not in stream.rows  # it had that
            again = stream.last_id
        with streaming(shared, last_id=again) as stream:  # nothing new is said, too
            assert stream.next() == []

    @pytest.mark.parametrize("last_id", ["", "x", "0.0-1", "-1", "é-1", "-" * 5000])
    def test_an_id_of_something_else_is_a_new_start(self, shared: Controller, last_id: str) -> None:
        shared.put(sandbox("one"))
        with streaming(shared, last_id=last_id.encode().decode("latin-1")) as stream:
            assert stream.start["isAll"]
            stream.until(id_of("one"))

    def test_a_thousand_at_once_and_only_the_last_piece_has_an_id(self, tmp_path: Path) -> None:
        folder = tmp_path / "objects"
        folder.mkdir()
        documents = (json.dumps(sandbox(f"pr-{number}")) for number in range(450))
        (folder / "many.json").write_text("\n---\n".join(documents))
        with run_controller(folder) as controller:
            with streaming(controller) as stream:
                pieces = []
                while len(stream.rows) < 451:
                    stream.next()
                    pieces.append((len(stream.changed), stream.last_id is not None))
            assert [size for size, _ in pieces] == [200, 200, 51]
            assert [has_id for _, has_id in pieces] == [False, False, True]

    def test_head_and_misspelt_queries(self, shared: Controller) -> None:
        assert shared.ask("HEAD", LIVE).status == 200
        assert shared.ask("GET", f"{LIVE}?x=1").problem == "malformed"
        assert shared.ask("GET", LIVE, Origin="http://evil.example").problem == "foreign"

    def test_readers_are_counted_and_forgotten(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            with streaming(controller) as stream:
                stream.next()
                assert metric(controller, "pointsman_controller_live_readers") == 1
            controller.put(sandbox("one"))
            controller.put(sandbox("two"))
            until(lambda: metric(controller, "pointsman_controller_live_readers") == 0, "the end", within_s=15)

    def test_it_ends_with_the_controller(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller, streaming(controller) as stream:
            stream.next()
            assert controller.stop() == 0
            assert stream.ends()
            assert not [line for line in controller.lines if "Traceback" in line]

    def test_it_waits_for_the_first_table(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects", wait=False) as controller:
            until(lambda: controller.ask("GET", "/readyz").status == 200, "readiness", within_s=15)
            with streaming(controller) as stream:
                assert "table" in stream.next()


class TestTokens:
    def test_what_one_may_see(self, guarded: Controller) -> None:
        guarded.put(sandbox("open"))
        guarded.ask("PUT", path_of("hidden", namespace="secret"), elsewhere("hidden"))
        with streaming(guarded, token=NARROW) as stream, streaming(guarded, token=READER) as whole:
            whole.until(id_of("hidden", "secret"))
            assert whole.start | {"now": 0} == {
                "now": 0, "who": "dashboard", "mayWrite": False, "namespaces": None, "isAll": True
            }  # fmt: skip
            stream.until(id_of("open"))
            assert stream.start["namespaces"] == ["hotrod"]
            guarded.ask("DELETE", path_of("hidden", namespace="secret"))
            whole.until_gone(id_of("hidden", "secret"))
            guarded.put(sandbox("later"))
            stream.until(id_of("later"))
            assert "secret" not in str(stream.rows)
        with streaming(guarded, token=READER, last_id=stream.last_id) as other:
            assert other.start["isAll"]  # what it had was another's

    def test_nobody_and_proxies(self, guarded: Controller) -> None:
        assert guarded.ask("GET", LIVE, Authorization="Bearer nobody-0123456789").problem == "unauthorized"

    @pytest.mark.parametrize(
        "left",
        [
            {WRITER: ALL_TOKENS[WRITER]},
            {**ALL_TOKENS, NARROW: "{name: team, token: %s, role: read, namespaces: [other]}"},
            {**ALL_TOKENS, NARROW: "{name: team, token: %s, role: write, namespaces: [hotrod]}"},
        ],
        ids=["taken away", "other namespaces", "another role"],
    )
    def test_one_that_is_not_what_it_was_ends_the_stream(self, guarded: Controller, left: dict[str, str]) -> None:
        with streaming(guarded, token=NARROW) as stream, streaming(guarded) as other:
            stream.next()
            put_tokens(guarded.folder.parent, left)
            assert stream.ends()
            guarded.put(sandbox("after"))
            other.until(id_of("after"))


HASTY = """
import sys
from controller.rest import live
live._STALL_S = {stall_s}
live.HEARTBEAT_S = {heartbeat_s}
from controller.__main__ import main
sys.exit(main(sys.argv[4:]))
"""


def hasty(
    tmp_path: Path, stall_s: float = 30.0, heartbeat_s: float = 10.0
) -> contextlib.AbstractContextManager[Controller]:
    code = HASTY.format(stall_s=stall_s, heartbeat_s=heartbeat_s)
    return run_controller(tmp_path / "objects", prefix=(sys.executable, "-c", code))


def test_heartbeats(tmp_path: Path) -> None:
    with hasty(tmp_path, heartbeat_s=0.05) as controller, streaming(controller) as stream:
        stream.next()
        for _ in range(6):
            assert stream.response.readline() in (b":\n", b"\n")


def test_a_reader_that_does_not_read_is_cut_and_costs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    folder.mkdir()
    mappings = [{"port": 8081, "toLocal": "127.0.0.1:9081"}]
    local = [
        {"from": {"kind": "Deployment", "namespace": "hotrod", "name": f"service-{number}"}, "mappings": mappings}
        for number in range(60)
    ]
    documents = (sandbox(f"pr-{number}", local=local) for number in range(500))  # 4 MB of rows
    (folder / "many.json").write_text("---\n".join(json.dumps(document) + "\n" for document in documents))
    with hasty(tmp_path, stall_s=0.5) as controller, socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = controller.url.removeprefix("http://").split(":")
        silent.connect((host, int(port)))
        silent.sendall(f"GET {LIVE} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        with streaming(controller) as stream:
            until(
                lambda: metric(controller, "pointsman_controller_live_readers_dropped_total") == 1, "a cut", within_s=20
            )
            assert metric(controller, "pointsman_controller_live_readers") == 1
            controller.put(sandbox("after"))
            stream.until(id_of("after"))  # others go on
            silent.settimeout(15)
            assert _is_cut(silent)
        controller.put(sandbox("later"))
        until(lambda: metric(controller, "pointsman_controller_live_readers") == 0, "both ends", within_s=15)


def _is_cut(connection: socket.socket) -> bool:
    """Reads what is still there; whether the other side is gone then, without a last chunk."""
    received = b""
    try:
        while piece := connection.recv(1 << 20):
            received = (received + piece)[-20:]
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return not received.endswith(b"\r\n0\r\n\r\n")
