"""`--workers 2`: one is killed, several are, the first process is; and all of them are asked to end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.test_drain_queue import outcomes
from tests.support.client import ask, connected, get
from tests.support.load import loaded
from tests.support.origin import Origin, running
from tests.support.proxy import KEY
from tests.support.waiting import until
from tests.support.wire import WireOrigin
from tests.support.workers import (
    Held,
    asking_each,
    is_listened_on,
    is_running,
    kill,
    one_at_each,
    run_workers,
    said,
    served_by,
    workers,
)

TAGGED = f"baggage: sd-routing-key={KEY}"
REQUESTS = 'pointsman_requests_total{reason="no_key",route="baseline",sandbox="",status="2xx"}'


# --- one dies -------------------------------------------------------------------------------------------------------


def test_who_is_killed_takes_only_its_own_along(tmp_path: Path) -> None:
    held = Held()
    with (
        running(held.origin),
        run_workers(tmp_path, held.origin.port) as proxy,
        contextlib.ExitStack() as stack,
    ):
        clients = [stack.enter_context(connected(proxy.port)) for _ in range(12)]
        for client in clients:
            client.send(get())
        until(lambda: len(held.origin.requests) == 12, "all requests at the origin")
        owners = [served_by(proxy, client) for client in clients]
        assert min(Counter(owners).values()) >= 4
        killed = workers(proxy)[2]
        began_s = time.monotonic()
        kill(proxy, 2)
        assert time.monotonic() - began_s < 4
        held.go.set()
        for client, owner in zip(clients, owners, strict=True):
            if owner == 2:
                assert client.read_to_end() == b""
            else:
                assert client.read().status == 200
        assert workers(proxy)[2] != killed
        assert proxy.metric('pointsman_worker_deaths_total{cause="SIGKILL",worker="2"}') == 1
        until(lambda: said(proxy, f"worker 2 (process {killed}) died: SIGKILL; it is replaced"), "a line on stderr")
        assert ask(proxy.port, get()).status == 200


def test_who_waits_is_not_lost_with_it(tmp_path: Path) -> None:
    """The kernel has answered them, and no worker has accepted them, when one is killed."""
    origin = WireOrigin()
    with running(origin), run_workers(tmp_path, origin.port) as proxy, contextlib.ExitStack() as stack:
        both = workers(proxy)
        for process in both.values():
            os.kill(process, signal.SIGSTOP)
        waiting = [stack.enter_context(connected(proxy.port)) for _ in range(100)]
        for client in waiting:
            client.send(get())
        os.kill(both[2], signal.SIGKILL)
        until(lambda: not is_running(both[2]), "its death")
        os.kill(both[1], signal.SIGCONT)
        assert [client.read().status for client in waiting] == [200] * 100


def test_under_load_few_are_lost_and_it_is_replaced(tmp_path: Path, baseline: Origin) -> None:
    asked = {str(n): get() for n in range(8)}
    with run_workers(tmp_path, baseline.port) as proxy:
        with loaded(proxy.port, asked) as load:
            process = workers(proxy)[1]
            os.kill(process, signal.SIGKILL)
            killed_s = time.monotonic()
            until(lambda: said(proxy, "worker 1 (process"), "what is said of it")
            until(lambda: said(proxy, "serves"), "another one")
            assert time.monotonic() - killed_s < 2
            load.more(30)
        lost = [answer for answer in load.answers() if answer.response is None]
        assert len(lost) <= len(asked)
        assert all(answer.began_s < killed_s + 1 for answer in lost)
        assert {answer.response.status for answer in load.answers() if answer.response} == {200}


def test_counters_do_not_fall_back(tmp_path: Path, baseline: Origin) -> None:
    with run_workers(tmp_path, baseline.port) as proxy:
        before = 0.0
        for rounds in range(1, 4):
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(connected(proxy.port)) for _ in range(4)]
                assert [client.ask(get()).status for client in clients] == [200] * 4
            assert proxy.metric(REQUESTS) == rounds * 4
            cpu_s = proxy.metric("process_cpu_seconds_total")
            assert cpu_s >= before
            before = cpu_s
            kill(proxy, 1 + rounds % 2)
            assert proxy.metric(REQUESTS) == rounds * 4
            assert proxy.metric('pointsman_request_duration_seconds_count{route="baseline"}') == rounds * 4
            assert proxy.metric("process_cpu_seconds_total") >= before
        assert proxy.metric("pointsman_downstream_connections") == 0


def test_after_repeated_deaths_the_whole_ends(tmp_path: Path) -> None:
    """What the others have is finished before."""
    held = Held()
    with (
        running(held.origin),
        run_workers(tmp_path, held.origin.port) as proxy,
        contextlib.ExitStack() as stack,
    ):
        clients = asking_each(proxy, stack, held)
        for _ in range(4):
            kill(proxy, 2)
        kill(proxy, 2, wait=False)
        until(lambda: said(proxy, "5 deaths within a minute are too many"), "the end")
        until(lambda: proxy.page("/readyz")[0] == 503, "that it is not ready")
        held.go.set()
        assert clients[1].read().status == 200
        assert proxy.process.wait(10) == 1
        proxy.process.returncode = 0  # it was meant


def test_the_supervisor_is_killed(tmp_path: Path) -> None:
    """Nobody is left behind; what runs is finished, the port is free at once."""
    held = Held()
    with (
        running(held.origin),
        run_workers(tmp_path, held.origin.port) as proxy,
        contextlib.ExitStack() as stack,
    ):
        clients = list(asking_each(proxy, stack, held).values())
        both = list(workers(proxy).values())
        proxy.process.kill()
        proxy.process.wait()
        began_s = time.monotonic()
        ports = ("--listen", f"127.0.0.1:{proxy.port}", "--baseline", f"127.0.0.1:{held.origin.port}")
        until(lambda: not is_listened_on(proxy.port), "the free port")
        with run_workers(tmp_path, flags=ports, workload_ports=()) as second:
            assert time.monotonic() - began_s < 2
            held.go.set()
            assert [client.read().status for client in clients] == [200, 200]
            assert ask(second.port, get()).status == 200
        until(lambda: not any(map(is_running, both)), "their end")
        proxy.process.returncode = 0  # it was meant


# --- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whom", ["the supervisor", "all of them", "by the page"])
def test_a_drain_finishes_what_runs(tmp_path: Path, whom: str) -> None:
    """Systemd and terminals send the signal to all processes at once."""
    held = Held()
    with (
        running(held.origin),
        run_workers(tmp_path, held.origin.port) as proxy,
        contextlib.ExitStack() as stack,
    ):
        clients = list(asking_each(proxy, stack, held).values())
        both = list(workers(proxy).values())
        if whom == "by the page":
            assert proxy.page("/drain", "POST") == (202, b"draining\n")
        else:
            for process in (*both, proxy.process.pid) if whom == "all of them" else (proxy.process.pid,):
                os.kill(process, signal.SIGTERM)
        until(lambda: proxy.page("/readyz") == (503, b"not ready: draining\n"), "that it drains")
        until(lambda: not is_listened_on(proxy.port), "the closed port")
        assert all(map(is_running, both))
        assert proxy.metric("pointsman_downstream_connections") == 2
        held.go.set()
        responses = [client.read() for client in clients]
        assert [(response.status, response.value("connection")) for response in responses] == [(200, "close")] * 2
        assert proxy.process.wait(5) == 0
        assert not any(map(is_running, both))


def test_a_full_queue(tmp_path: Path) -> None:
    """All stand still while callers come, and then learn of them and of SIGTERM at once."""
    origin = WireOrigin()
    with running(origin), run_workers(tmp_path, origin.port) as proxy, contextlib.ExitStack() as stack:
        both = list(workers(proxy).values())
        for process in both:
            os.kill(process, signal.SIGSTOP)
        waiting = [stack.enter_context(connected(proxy.port)) for _ in range(100)]
        for client in waiting:
            client.send(get())
        proxy.process.terminate()
        until(lambda: proxy.page("/readyz")[0] == 503, "that it drains")
        for process in both:
            os.kill(process, signal.SIGCONT)
        assert [client.read().status for client in waiting] == [200] * 100
        assert proxy.process.wait(5) == 0


def test_who_leaves_first_still_counts(tmp_path: Path) -> None:
    """While another one finishes what it has."""
    held = Held()
    with (
        running(held.origin),
        run_workers(tmp_path, held.origin.port) as proxy,
        contextlib.ExitStack() as stack,
    ):
        held.go.set()
        clients = one_at_each(proxy, stack)
        assert [client.ask(get()).status for client in clients.values() for _ in range(5)] == [200] * 10
        assert proxy.metric(REQUESTS) == 10
        assert [client.ask(get()).status for client in clients.values()] == [200] * 2  # which nobody has asked for yet
        held.go.clear()
        clients[1].send(get())
        until(lambda: len(held.origin.requests) == 13, "the request at the origin")
        both = workers(proxy)
        proxy.process.terminate()
        until(lambda: not is_running(both[2]), "the end of the idle one")
        assert is_running(both[1])
        assert proxy.metric(REQUESTS) == 12
        held.go.set()
        assert clients[1].read().status == 200
        assert proxy.process.wait(5) == 0


def test_a_drain_under_new_connections(tmp_path: Path) -> None:
    """Each is served, or turned away before anything was sent."""
    origin = WireOrigin()
    with running(origin), run_workers(tmp_path, origin.port) as proxy:
        found = outcomes(proxy)
    assert set(found) == {"HTTP/1.1 200 OK", "turned away"}
