"""The access log of a real proxy: a line for each request, however it ends, and none that makes a request wait."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support import http2
from tests.support.client import ask, connected, get
from tests.support.grpc_service import GrpcServer, serving
from tests.support.grpc_service import ask as call
from tests.support.grpc_service import connected as grpc_connected
from tests.support.http2_peer import connected as http2_connected
from tests.support.origin import Origin, RawOrigin, Server, running, says
from tests.support.proxy import KEY, WORKLOAD, Proxy, route, run_proxy, table
from tests.support.records import TRACE, TRACEPARENT, parsed
from tests.support.waiting import until
from tests.support.websocket import EchoOrigin
from tests.support.websocket import connect as websocket

TAG = f"baggage: sd-routing-key={KEY}"


class Log:
    """The lines of one file, each checked as it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.flags = ("--access-log", "json", "--access-log-file", str(path))

    def lines(self) -> list[dict[str, Any]]:
        text = self.path.read_text() if self.path.exists() else ""
        assert text == "" or text.endswith("\n")
        return [parsed(line) for line in text.splitlines(keepends=True)]

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        until(lambda: len(self.lines()) >= count, f"{count} lines")
        return self.lines()

    def one(self) -> dict[str, Any]:
        (line,) = self.wait_for(1)
        return line


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "access.log")


@contextlib.contextmanager
def logged(tmp_path: Path, log: Log, origin: Server, *flags: str, **more: Any) -> Iterator[Proxy]:
    with running(origin), run_proxy(tmp_path, origin.port, flags=(*log.flags, *flags), **more) as proxy:
        yield proxy


def test_a_request(tmp_path: Path, log: Log) -> None:
    origin = Origin("sandbox")
    document = table(route(destinations=[origin.port]))
    with logged(tmp_path, log, origin, document=document) as proxy, connected(proxy.port) as client:
        lines = ("Content-Length: 5", TAG, f"traceparent: {TRACEPARENT}", "X-Request-Id: r-1")
        client.send(get("/a/b?token=secret", *lines, method="POST") + b"12345")
        answer = client.read("POST")
        assert answer.status == 200
        found = log.one()
        now_s = time.time()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
    assert abs(time.mktime(time.strptime(found["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - now_s) < 30
    assert 0 <= found["connect_us"] <= found["head_us"] <= found["duration_us"] < 10_000_000
    for name in ("time", "connect_us", "head_us", "duration_us"):
        del found[name]
    assert found == {
        "method": "POST",
        "authority": "location",
        "target": "/a/b?",
        "protocol": "HTTP/1.1",
        "status": 200,
        "decision": "sandbox",
        "reason": "route",
        "sandbox": "local-location",
        "routing_key": KEY,
        "workload": WORKLOAD,
        "endpoint": f"127.0.0.1:{origin.port}",
        "attempts": 1,
        "request_bytes": 5,
        "response_bytes": len(answer.body),
        "peer": "127.0.0.1",
        "trace_id": TRACE,
        "request_id": "r-1",
    }
    assert "secret" not in log.path.read_text()


def test_off_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    origin = Origin()
    with running(origin), run_proxy(tmp_path, origin.port) as proxy:
        assert ask(proxy.port, get()).status == 200
        assert "access log" not in _threads(proxy)
    assert capfd.readouterr().out == ""


def _threads(proxy: Proxy) -> int | str:
    names = [path.read_text() for path in Path(f"/proc/{proxy.process.pid}/task").glob("*/comm")]
    return " ".join(names)


def test_each_request_of_a_connection(tmp_path: Path, log: Log) -> None:
    with logged(tmp_path, log, Origin()) as proxy, connected(proxy.port) as client:
        client.send(b"".join(get(f"/{number}") for number in range(20)))
        for _ in range(20):
            client.read()
        assert [line["target"] for line in log.wait_for(20)] == [f"/{number}" for number in range(20)]
        assert proxy.metric("pointsman_access_log_lines_total") == 20
        assert proxy.metric("pointsman_access_log_lines_dropped_total") == 0


# --- what can be tried ---------------------------------------------------------------------------------------------

FORGED = [
    'x-request-id: a"},\\u0022status\\u0022:200}',
    "x-request-id: \x80\xff\xc3",
    'traceparent: 00-"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-b7ad6b7169203331-01',
    "x-request-id: " + "\u00e9" * 2000,
]


@pytest.mark.parametrize("line", FORGED)
def test_no_field_forges_a_line(tmp_path: Path, log: Log, line: str) -> None:
    with logged(tmp_path, log, Origin()) as proxy:
        assert ask(proxy.port, get('/a"b\\c,"status":500}', line)).status == 200
        found = log.one()
    assert (found["target"], found["status"]) == ('/a"b\\c,"status":500}', 200)
    assert len(found.get("request_id", "")) <= 128
    assert "trace_id" not in found


def test_a_target_of_any_length(tmp_path: Path, log: Log) -> None:
    with logged(tmp_path, log, Origin()) as proxy:
        assert ask(proxy.port, get("/" + '"' * 20_000)).status == 200
        found = log.one()
    assert found["target"].startswith('/"""')
    assert found["target"].endswith('"\u2026')
    assert log.path.stat().st_size < 4096


# --- however it ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason", "flag"),
    [
        (get("/", "baggage: sd-routing-key=nobody,sd-strict=1"), 424, "unknown_key", "UK"),
        (get("/", "baggage: sd-routing-key=gone"), 424, "gone_key", "GK"),
        (get("/", "baggage: sd-routing-key=ready"), 503, "no_destination", "ND"),
        (get("/", f"pointsman-hop: {WORKLOAD}"), 508, "loop", "LP"),
    ],
)
def test_refused_by_decision(
    tmp_path: Path, log: Log, request_bytes: bytes, status: int, reason: str, flag: str
) -> None:
    document = table(route("ready", []), goneKeys=["gone"])
    with logged(tmp_path, log, Origin(), document=document) as proxy:
        assert ask(proxy.port, request_bytes).status == status
        found = log.one()
    assert (found["status"], found["reason"], found["flag"], found["attempts"]) == (status, reason, flag, 0)
    assert "endpoint" not in found


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "version_not_supported"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405, "method_not_allowed"),
        (get("/", "a: " + "b" * 70_000), 431, "head_too_large"),
        (get("/" + "a" * 70_000), 414, "uri_too_long"),
    ],
)
def test_what_was_no_request(tmp_path: Path, log: Log, request_bytes: bytes, status: int, reason: str) -> None:
    with logged(tmp_path, log, Origin()) as proxy:
        assert ask(proxy.port, request_bytes).status == status
        found = log.one()
    assert (found["status"], found["reason"], found["decision"]) == (status, reason, "none")
    assert not {"method", "target", "authority"} & found.keys()
    assert found["peer"] == "127.0.0.1"


def test_a_head_that_takes_too_long(tmp_path: Path, log: Log) -> None:
    with logged(tmp_path, log, Origin(), "--head-timeout", "0.1") as proxy, connected(proxy.port) as client:
        client.send(b"GET / HTTP/1.1\r\n")
        assert client.read().status == 408
        assert log.one()["flag"] == "RT"


def test_a_body_that_is_none(tmp_path: Path, log: Log) -> None:
    """One line, of the request that it belonged to."""
    with logged(tmp_path, log, Origin()) as proxy, connected(proxy.port) as client:
        client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\nnonsense\r\n")
        assert client.read("POST").status == 400
        found = log.one()
    assert (found["method"], found["flag"], found["reason"]) == ("POST", "BR", "bad_request")


def _unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_nobody_answers(tmp_path: Path, log: Log) -> None:
    with run_proxy(tmp_path, _unused_port(), flags=log.flags) as proxy:
        assert ask(proxy.port, get()).status == 503
        found = log.one()
        until(lambda: any("fails, is it up?" in line for line in proxy.lines), "a line for the operator")
    assert (found["reason"], found["flag"], found["decided"], found["attempts"]) == (
        "baseline_unreachable",
        "BU",
        "no_key",
        1,
    )


@pytest.mark.parametrize(
    ("said", "flags", "status", "flag"),
    [
        (b"", (), 502, "UC"),
        (b"nonsense\r\n\r\n", (), 502, "UI"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234", (), 200, "UX"),
        (None, ("--response-timeout", "0.2"), 504, "UT"),
    ],
)
def test_the_upstream_fails(
    tmp_path: Path, log: Log, said: bytes | None, flags: tuple[str, ...], status: int, flag: str
) -> None:
    origin = RawOrigin(says(said) if said is not None else says(b"", then="wait"))
    with logged(tmp_path, log, origin, *flags) as proxy, connected(proxy.port) as client:
        client.send(get())
        client.read()
        found = log.one()
    assert (found["status"], found["flag"]) == (status, flag)
    assert found["response_bytes"] == (4 if flag == "UX" else 0)


def test_the_caller_leaves(tmp_path: Path, log: Log) -> None:
    origin = RawOrigin(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234", then="wait"))
    with logged(tmp_path, log, origin) as proxy:
        with connected(proxy.port) as client:
            client.send(get())
            assert client.socket.recv(4096)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        found = log.one()
    assert (found["status"], found["flag"], found["response_bytes"]) == (200, "DC", 4)


def test_a_drain_finishes_and_cuts(tmp_path: Path, log: Log) -> None:
    """All lines are in the file when the process has ended."""
    origin = RawOrigin(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234", then="wait"))
    with logged(tmp_path, log, origin, "--drain-timeout", "0.3") as proxy, connected(proxy.port) as client:
        client.send(get())
        assert client.socket.recv(4096)
        assert proxy.stop() == 0
        (found,) = log.lines()
    assert (found["status"], found["flag"]) == (200, "DN")


def test_a_websocket(tmp_path: Path, log: Log) -> None:
    origin = EchoOrigin()
    with logged(tmp_path, log, origin) as proxy:
        end = websocket(proxy.port)
        with end.socket:
            end.close(1000, "bye")
            end.hear(2)
        found = log.one()
    assert (found["status"], found["protocol"], found["method"]) == (101, "HTTP/1.1", "GET")
    assert (found["request_bytes"], found["response_bytes"]) == (11, 7)  # a masked close, and one without its mask


class TestHttp2:
    def test_streams(self, tmp_path: Path, log: Log) -> None:
        flags = ("--baseline-protocol", "http")
        with logged(tmp_path, log, Origin(), *flags) as proxy, http2_connected(proxy.port) as peer:
            peer.send(http2.get(3, "/3"), http2.get(5, "/5"))
            assert [peer.over(number).status for number in (3, 5)] == [200, 200]
            found = log.wait_for(3)
        assert sorted(line["target"] for line in found) == ["/3", "/5", "/first"]
        assert {(line["protocol"], line["status"], line["peer"]) for line in found} == {("HTTP/2", 200, "127.0.0.1")}

    def test_what_was_no_request(self, tmp_path: Path, log: Log) -> None:
        with logged(tmp_path, log, Origin()) as proxy, http2_connected(proxy.port, first=False) as peer:
            peer.send(http2.headers(1, http2.block((":method", "GET")), end=True))
            found = log.one()
        assert (found["flag"], found["status"], found["decision"]) == ("BR", 400, "none")

    def test_a_connection_that_breaks_the_rules_with_a_stream_and_without(self, tmp_path: Path, log: Log) -> None:
        """One line each: of the stream, or of what can't be told apart."""
        origin = RawOrigin(says(b"", then="wait"))
        with logged(tmp_path, log, origin, "--baseline-protocol", "http") as proxy:
            with http2_connected(proxy.port, first=False) as peer:
                peer.send(http2.get(1, "/stream"))
                until(lambda: origin.connections, "the request")
                peer.send(http2.frame(http2.Kind.PING, b"short"))
                assert (log.one()["target"], log.one()["flag"]) == ("/stream", "BR")
            with http2_connected(proxy.port, first=False) as peer:
                peer.send(http2.frame(http2.Kind.PING, b"short"))
                second = log.wait_for(2)[1]
        assert (second["flag"], "target" in second) == ("BR", False)


def test_grpc(tmp_path: Path, log: Log) -> None:
    server = GrpcServer(methods={"Fail": _fail})
    with (
        serving(server),
        run_proxy(tmp_path, server.port, flags=log.flags) as proxy,
        grpc_connected(proxy.port) as channel,
    ):
        assert call(channel, b"hello").code == grpc.StatusCode.OK
        assert call(channel, b"", method="Fail").code == grpc.StatusCode.NOT_FOUND
        assert call(channel, b"", (("baggage", "sd-strict=1"),)).code == grpc.StatusCode.FAILED_PRECONDITION
        server.stop()
        assert call(channel, b"").code == grpc.StatusCode.UNAVAILABLE
        found = log.wait_for(4)
    assert [(line["target"], line["status"], line["grpc_status"], line.get("flag")) for line in found] == [
        ("/hotrod.Location/Echo", 200, 0, None),
        ("/hotrod.Location/Fail", 200, 5, None),
        ("/hotrod.Location/Echo", 424, 9, "NK"),
        ("/hotrod.Location/Echo", 503, 14, "BU"),
    ]
    assert (found[0]["request_bytes"], found[0]["response_bytes"]) == (10, 10)  # with the message's prefix


def _fail(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    context.abort(grpc.StatusCode.NOT_FOUND, "no")
    yield b""


def test_sampled_to_nothing_failures_stay(tmp_path: Path, log: Log) -> None:
    with logged(tmp_path, log, Origin(), "--access-log-sample", "0") as proxy:
        for _ in range(20):
            assert ask(proxy.port, get()).status == 200
        assert ask(proxy.port, get("/", "baggage: sd-strict=1")).status == 424
        assert log.one()["status"] == 424
        assert proxy.stop() == 0
    assert len(log.lines()) == 1


# --- where it goes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signalled", [True, False])
def test_rotation(tmp_path: Path, log: Log, signalled: bool) -> None:
    with logged(tmp_path, log, Origin()) as proxy:
        assert ask(proxy.port, get("/1")).status == 200
        log.wait_for(1)
        log.path.rename(tmp_path / "access.log.1")
        if signalled:
            proxy.process.send_signal(signal.SIGHUP)
            until(log.path.exists, "the new file, before any request")
        assert ask(proxy.port, get("/2")).status == 200
        assert [line["target"] for line in log.wait_for(1)] == ["/2"]
    assert [line["target"] for line in Log(tmp_path / "access.log.1").lines()] == ["/1"]


def test_a_full_disk(tmp_path: Path, log: Log) -> None:
    """As a limit of 5,000 bytes on any file: requests go on, what is there is whole, and it is said once."""
    prefix = (
        sys.executable,
        "-c",
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (5000,) * 2);"
        " os.execvp(sys.argv[1], sys.argv[1:])",
    )
    with logged(tmp_path, log, Origin(), prefix=prefix) as proxy, connected(proxy.port) as client:
        for number in range(100):
            client.send(get(f"/{number}"))
            assert client.read().status == 200
        until(lambda: any("can't be written" in line for line in proxy.lines), "a line for the operator")
        found = log.lines()
        assert [line["target"] for line in found] == [f"/{number}" for number in range(len(found))]
        assert 5 < len(found) < 20
        assert proxy.stop() == 0
        assert sum("can't be written" in line for line in proxy.lines) == 1


@contextlib.contextmanager
def to_stdout(tmp_path: Path, origin: Server, *flags: str, stderr: int = subprocess.DEVNULL) -> Iterator[Any]:
    """A proxy that logs to a pipe; its port is known beforehand, since nobody may read what it says."""
    port = _unused_port()
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table()))
    command = [sys.executable, "-m", "proxy", "--listen", f"127.0.0.1:{port}", "--baseline", f"127.0.0.1:{origin.port}"]
    command += ["--workload", WORKLOAD, "--table", str(path), "--admin", "off", "--access-log", "json", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
    try:
        until(lambda: _answers(port), "the proxy", within_s=20)
        yield process, port
    finally:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def test_stdout(tmp_path: Path) -> None:
    origin = Origin()
    with running(origin), to_stdout(tmp_path, origin) as (process, port):
        assert ask(port, get()).status == 200
        assert parsed(process.stdout.readline().decode())["status"] == 200
        process.terminate()
        assert process.wait(10) == 0
        assert process.stdout.read() == b""


@pytest.mark.parametrize("stderr", [subprocess.DEVNULL, subprocess.STDOUT], ids=["apart", "with stderr in it"])
def test_a_reader_that_stalls_stalls_no_request(tmp_path: Path, stderr: int) -> None:
    """Nobody reads stdout: 64 KiB fit into the pipe, 4 MiB wait in the proxy, the rest is dropped."""
    origin = Origin()
    with running(origin), to_stdout(tmp_path, origin, stderr=stderr) as (process, port), connected(port) as client:
        slowest_s, asked = 0.0, 0
        target = "/" + "a" * 1000
        while asked < 3500:  # 5 MiB
            client.send(get(target) * 50)
            for _ in range(50):
                began_s = time.monotonic()
                assert client.read().status == 200
                slowest_s = max(slowest_s, time.monotonic() - began_s)
            asked += 50
        assert slowest_s < 3, "a request waited"
        process.terminate()
        found: list[bytes] = []
        reader = threading.Thread(target=lambda: found.extend(process.stdout.readlines()))
        reader.start()
        assert process.wait(10) == 0
        reader.join(10)
    lines = [line for line in found if not line.startswith(b"pointsman proxy: ")]
    assert 2500 < len(lines) < 3500
    for line in lines:
        assert parsed(line.decode())["target"] == target


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--access-log", "json", "--access-log-file", "/nowhere/log"),
            "--access-log-file: /nowhere/log: No such file",
        ),
        (("--access-log-file", "/tmp/log"), "--access-log-file: needs --access-log json"),
        (("--access-log", "text"), "--access-log: must be off or json"),
        (("--access-log-sample", "1.5"), "--access-log-sample: must be a number from 0 to 1"),
        (("--access-log-sample", "-1"), "--access-log-sample: must be a number from 0 to 1"),
    ],
)
def test_what_can_not_be(tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table()))
    command = [sys.executable, "-m", "proxy", "--listen", "127.0.0.1:0", "--baseline", "127.0.0.1:1"]
    command += ["--workload", WORKLOAD, "--table", str(path), "--admin", "off", *flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    line = ended.stderr.splitlines()[-1]
    assert line.startswith(f"pointsman proxy: {said}")


def test_workers_share_a_file(tmp_path: Path, log: Log) -> None:
    with logged(tmp_path, log, Origin(), "--workers", "2") as proxy:
        targets = {f"/{number}/" + "a" * 500 for number in range(300)}
        for target in targets:
            assert ask(proxy.port, get(target)).status == 200  # each on a connection of its own, for either worker
        assert {line["target"] for line in log.wait_for(300)} == targets
        log.path.rename(tmp_path / "access.log.1")
        proxy.process.send_signal(signal.SIGHUP)
        until(log.path.exists, "the new file, before any request")
        assert ask(proxy.port, get("/after")).status == 200
        assert log.one()["target"] == "/after"
        assert proxy.stop() == 0
    assert len(Log(tmp_path / "access.log.1").lines()) == 300
