"""`--workers 2`: how requests spread, what is told of all, what happens when one dies, hangs, or can't start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.e2e.test_stopped import own_address, requests
from tests.support.client import ask, connected, get
from tests.support.load import loaded
from tests.support.origin import Origin, RawOrigin, running
from tests.support.proxy import KEY, WORKLOAD, route, run_proxy, table, write_table
from tests.support.waiting import until
from tests.support.workers import (
    TWO,
    children,
    is_running,
    kill,
    one_at_each,
    run_workers,
    said,
    served_by,
    set_table_everywhere,
    states,
    workers,
)

TAGGED = f"baggage: sd-routing-key={KEY}"
REQUESTS = 'pointsman_requests_total{reason="no_key",route="baseline",sandbox="",status="2xx"}'


# --- one whole ------------------------------------------------------------------------------------------------------


def test_one_is_one_process(tmp_path: Path, baseline: Origin) -> None:
    with run_proxy(tmp_path, baseline.port, flags=("--workers", "1")) as proxy:
        assert children(proxy.process.pid) == []
        assert "workers" not in proxy.state()
        assert proxy.metric("pointsman_worker_up") == 0
        assert b"pointsman_worker" not in proxy.page("/metrics")[1]


def test_connections_are_spread(tmp_path: Path, baseline: Origin) -> None:
    """Few of them, as gRPC's clients make them, and many at once."""
    with run_workers(tmp_path, baseline.port) as proxy, contextlib.ExitStack() as stack:
        one_at_each(proxy, stack)
        many = [stack.enter_context(connected(proxy.port)) for _ in range(60)]
        for client in many:
            client.send(get())
        assert {client.read().status for client in many} == {200}
        counts = Counter(served_by(proxy, client) for client in many)
        assert min(counts.values()) >= 15, counts
        told = {n: proxy.metric(f'pointsman_worker_downstream_connections{{worker="{n}"}}') for n in counts}
        assert all(told[number] > count for number, count in counts.items())
        assert sum(told.values()) == proxy.metric("pointsman_downstream_connections")


def test_pages_are_of_all(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    """Counts are sums, the table and the explanation are the workers' own."""
    document = table(route(KEY, [sandbox.port]), *(route(f"key-{n}", [9]) for n in range(700)), version="7")
    with run_workers(tmp_path, baseline.port, document=document) as proxy:
        assert proxy.page("/livez") == (200, b"ok\n")
        assert proxy.page("/readyz") == (200, b"ok\n")
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(proxy.port)) for _ in range(6)]
            for client in clients:
                assert client.ask(get()).status == 200
                assert client.ask(get("/", TAGGED)).origin == "sandbox"
            assert {served_by(proxy, client) for client in clients} == {1, 2}
        assert proxy.metric(REQUESTS) == 6
        assert proxy.metric('pointsman_request_duration_seconds_count{route="sandbox"}') == 6
        assert proxy.metric('pointsman_request_duration_seconds_bucket{le="+Inf",route="sandbox"}') == 6
        assert proxy.metric('pointsman_table_info{version="7"}') == 2
        assert proxy.metric("pointsman_table_routes") == 701
        assert proxy.metric("process_resident_memory_bytes") > proxy.rss_bytes() * 2
        state = proxy.state()
        assert state["version"] == "7"
        assert len(list(state["routes"])) == 701  # type: ignore[call-overload]
        assert [(each["worker"], each["version"]) for each in states(proxy)] == [(1, "7"), (2, "7")]
        status, explained = proxy.page("/explain?format=text", "POST", TAGGED.encode())
        assert (status, b"forwarded to sandbox local-location" in explained) == (200, True)
        assert json.loads(proxy.page("/explain", "POST", TAGGED.encode())[1])["key"] == KEY
        assert proxy.page("/explain", "POST", b"a: b\nno colon\n")[0] == 400
        assert proxy.page("/explain?port=1", "POST", TAGGED.encode())[0] == 400
        assert proxy.page("/nothing")[0] == 404
        assert proxy.page("/table", "HEAD") == (200, b"")
        assert proxy.page("/table")[1].endswith(b"]}\n")


def test_a_table_that_changes_under_load(tmp_path: Path, baseline: Origin) -> None:
    """No request is lost; when both workers say that they have it, all requests go by it."""
    origins = {name: Origin(name) for name in ("0", "1")}
    asked = {str(n): get("/", TAGGED) for n in range(6)}
    with running(origins["0"]), running(origins["1"]):
        documents = [
            table(route(KEY, [origins[name].port], sandbox=f"pr-{name}"), version=f"start-{name}") for name in "01"
        ]
        with run_workers(tmp_path, baseline.port, document=documents[0]) as proxy:
            with loaded(proxy.port, asked) as load:
                for swap in range(1, 9):
                    began_s = time.monotonic()
                    set_table_everywhere(proxy, {**documents[swap % 2], "version": f"v{swap}"})
                    assert time.monotonic() - began_s < 2
                    since_s = time.monotonic()
                    load.more(5)
                    expected = str(swap % 2)
                    later = [answer for answer in load.answers() if answer.began_s > since_s]
                    assert {answer.response.origin for answer in later if answer.response} == {expected}
            assert [answer.error for answer in load.answers() if answer.response is None] == []
            assert {answer.response.status for answer in load.answers() if answer.response} == {200}


def test_a_loop_over_two_workers(tmp_path: Path) -> None:
    """What one worker sends and another accepts is still the proxy's own (SPEC 4)."""
    address = own_address()
    with contextlib.closing(RawOrigin(lambda *_: None)) as free:
        port = free.port
    flags = ("--listen", f"0.0.0.0:{port}", "--baseline", f"{address}:{port}")
    with run_workers(tmp_path, flags=flags, workload_ports=()) as proxy, contextlib.ExitStack() as stack:
        for _ in range(4):  # a caller of each worker at least; the less busy one accepts what comes back
            client = stack.enter_context(connected(port))
            for _ in range(2):
                response = client.ask(get())
                assert response.status == 508
                assert "error=proxy_loop_detected" in response.value("proxy-status")
        assert requests(proxy) == 2 * 8, "each came back once"


# --- one hangs ------------------------------------------------------------------------------------------------------


def test_a_worker_that_hangs_is_told_of_and_left_alone(tmp_path: Path, baseline: Origin) -> None:
    with run_workers(tmp_path, baseline.port) as proxy, contextlib.ExitStack() as stack:
        process = workers(proxy)[1]
        mine = one_at_each(proxy, stack)[1]
        os.kill(process, signal.SIGSTOP)
        try:
            mine.send(get())
            until(lambda: proxy.page("/readyz")[0] == 503, "that it is not ready", within_s=15)
            assert proxy.page("/readyz")[1] == b"not ready: worker 1: it does not answer\n"
            assert proxy.metric('pointsman_worker_up{worker="1"}') == 0
            assert proxy.metric('pointsman_worker_silent_seconds{worker="1"}') >= 5
            until(lambda: said(proxy, f"worker 1 (process {process}) has not answered for 5 s"), "a line on stderr")
            assert [ask(proxy.port, get()).status for _ in range(20)] == [200] * 20
            assert proxy.page("/explain", "POST", TAGGED.encode())[0] == 200
            assert states(proxy)[0]["error"] == "it is silent"
        finally:
            os.kill(process, signal.SIGCONT)
        until(lambda: proxy.page("/readyz")[0] == 200, "that it is ready")
        until(lambda: said(proxy, f"worker 1 (process {process}) answers again"), "a line on stderr")
        assert mine.read().status == 200
        assert workers(proxy)[1] == process


def test_one_that_hangs_is_killed_by_the_drain(tmp_path: Path, baseline: Origin) -> None:
    flags = ("--drain-timeout", "0.5")
    with run_workers(tmp_path, baseline.port, flags=flags) as proxy:
        process = workers(proxy)[1]
        os.kill(process, signal.SIGSTOP)
        assert proxy.stop() == 1
        assert not is_running(process)
        until(
            lambda: said(proxy, f"worker 1 (process {process}) did not end in time: it is killed"), "a line on stderr"
        )
        proxy.process.returncode = 0  # it was meant


# --- the start ------------------------------------------------------------------------------------------------------


def run_to_the_end(tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "proxy", "--baseline", "127.0.0.1:9", "--workload", WORKLOAD, *TWO]
    command += ["--table", str(tmp_path / "table.json"), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_faults_at_the_start_are_told_once(tmp_path: Path, baseline: Origin) -> None:
    (tmp_path / "table.json").write_text('{"apiVersion": "pointsman.dev/v1alpha1"}')
    result = run_to_the_end(tmp_path, "--listen", "127.0.0.1:0", "--admin", "off")
    lines = [line for line in result.stderr.splitlines() if "no inotify" not in line]  # others may have used it up
    assert result.returncode == 2
    assert all(line.startswith(f"pointsman proxy: --table {tmp_path}/table.json: ") for line in lines)
    assert len(lines) == len(set(lines)) > 0
    taken = f"127.0.0.1:{baseline.port}"
    result = run_to_the_end(tmp_path, "--listen", taken, "--admin", "off")
    assert (result.returncode, result.stderr.count("Address already in use")) == (2, 1)
    result = run_to_the_end(tmp_path, "--listen", "127.0.0.1:0", "--admin", taken)
    assert (result.returncode, result.stderr.count("Address already in use")) == (2, 1)


def test_a_replacement_that_finds_a_bad_table(tmp_path: Path, baseline: Origin) -> None:
    """The others keep what they have; it begins when the file is good."""
    with run_workers(tmp_path, baseline.port) as proxy:
        proxy.table_path.write_text("{")
        until(lambda: proxy.metric("pointsman_table_stale") == 1, "the refusal")
        why = b"not ready: worker 2: it can't start by what is configured now\n"
        for _ in range(2):
            kill(proxy, 2, wait=False)
            until(lambda: proxy.page("/readyz")[1] == why, "the refusal at the start")
            until(lambda: said(proxy, "worker 2 can't start by what is configured now"), "a line on stderr")
            assert [ask(proxy.port, get()).status for _ in range(5)] == [200] * 5
            write_table(proxy.table_path, table(version="2"))
            until(lambda: proxy.page("/readyz")[0] == 200, "the replacement", within_s=15)
            set_table_everywhere(proxy, table(version="3"))
            proxy.table_path.write_text("{")
            until(lambda: proxy.metric("pointsman_table_stale") == 1, "the refusal")
        write_table(proxy.table_path, table(version="4"))


def test_it_finds_its_code_wherever_it_is_started(tmp_path: Path, baseline: Origin) -> None:
    """A folder with a package of our name in it is no reason to run that one."""
    (tmp_path / "elsewhere" / "proxy").mkdir(parents=True)
    (tmp_path / "elsewhere" / "proxy" / "__init__.py").write_text("raise SystemExit(7)")
    root = Path(__file__).resolve().parents[2]
    prefix = ("env", f"--chdir={tmp_path}/elsewhere", sys.executable, "-P", "-c", _STARTED_ELSEWHERE, str(root))
    with run_workers(tmp_path, baseline.port, prefix=prefix) as proxy:
        assert ask(proxy.port, get()).status == 200


_STARTED_ELSEWHERE = (
    "import sys; sys.path.insert(0, sys.argv[1]); sys.argv[:] = sys.argv[5:];"
    "from proxy.__main__ import main; sys.exit(main(sys.argv))"
)


def test_an_access_log_of_all_that_is_moved_away(tmp_path: Path, baseline: Origin) -> None:
    """Each request is one whole line, whoever served it; the signal goes to the first process."""
    log = tmp_path / "access.log"
    flags = ("--access-log", "json", "--access-log-file", str(log))
    with run_workers(tmp_path, baseline.port, flags=flags) as proxy, contextlib.ExitStack() as stack:
        clients = one_at_each(proxy, stack)
        for number in range(40):
            assert clients[1 + number % 2].ask(get(f"/{number}")).status == 200
        until(lambda: len(log.read_text().splitlines()) == 40, "all lines")
        assert sorted(int(json.loads(line)["target"][1:]) for line in log.read_text().splitlines()) == list(range(40))
        log.rename(tmp_path / "moved")
        proxy.process.send_signal(signal.SIGHUP)
        until(log.exists, "another file")
        assert {client.ask(get("/after")).status for client in clients.values()} == {200}
        until(lambda: len(log.read_text().splitlines()) == 2, "both lines")
        assert proxy.metric("pointsman_access_log_lines_total") == 42
        assert sorted(workers(proxy)) == [1, 2]
