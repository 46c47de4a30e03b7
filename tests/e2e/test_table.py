"""A table that changes: requests under way keep theirs, what goes is gone and what comes back is live."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import pytest

from tests.support.client import Response, ask, connected, get
from tests.support.origin import Origin, RawOrigin, running
from tests.support.proxy import KEY, Proxy, route, run_proxy, table, write_table
from tests.support.waiting import until

TAGGED = f"baggage: sd-routing-key={KEY}"
DECISIONS = ("--decision-header",)
UPLOAD = b"u" * 3000


@pytest.fixture
def proxy(tmp_path: Path, baseline: Origin, sandbox: Origin) -> Iterator[Proxy]:
    document = table(route(KEY, [sandbox.port]), version="first")
    with run_proxy(tmp_path, baseline.port, document=document, flags=DECISIONS) as proxy:
        yield proxy


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


def readers_of(path: Path) -> list[int]:
    """The processes that read this table aside."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:  # it has just ended
            continue
        if b"proxy.tableload" in command and os.fsencode(path) in command:
            found.append(int(entry.parent.name))
    return found


# Read on the spot, in a thread, in a process of its own.
@pytest.mark.parametrize("routes", [1, 200, 20_000])
@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_sigterm_while_a_table_arrives(tmp_path: Path, routes: int, is_busy: bool) -> None:
    """Exit code 0; a request that runs is answered."""
    origin = HeldOrigin("response body")
    document = table(*(route(f"k{index}", [9]) for index in range(routes)), version="2")
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, connected(proxy.port) as client:
        if is_busy:
            client.send(get())
            assert origin.has_begun.wait(5)
        write_table(proxy.table_path, document)
        proxy.process.terminate()
        if is_busy:
            origin.go_on.set()
            assert client.read().body == HeldOrigin.BODY
        assert proxy.process.wait(10) == 0


def test_sigterm_while_a_table_is_read_aside(proxy: Proxy) -> None:
    """The process that reads it is no reason to wait, and is not left behind."""
    document = table(*(route(f"k{index}", [9]) for index in range(20_000)), version="2")
    write_table(proxy.table_path, document)
    until(lambda: readers_of(proxy.table_path), "a process that reads the table", within_s=30)
    [reader] = readers_of(proxy.table_path)
    os.kill(reader, signal.SIGSTOP)  # it would never end by itself
    try:
        assert proxy.stop() == 0
        assert readers_of(proxy.table_path) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(reader, signal.SIGKILL)
