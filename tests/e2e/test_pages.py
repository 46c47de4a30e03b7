"""Who may ask for which page: `--health-listen` and `--admin-token-file`, of one process and of several workers."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Client, Response, ask, connected, get
from tests.support.origin import Origin
from tests.support.proxy import Proxy, route, run_proxy, table, write_table
from tests.support.waiting import until
from tests.support.workers import TWO

TOKEN = "a-token-of-the-team"
NEXT = "the-next-token-of-it"
OPEN = ("/livez", "/readyz", "/metrics")
WORKERS = pytest.mark.parametrize("workers", [(), TWO], ids=["one", "two"])


@contextlib.contextmanager
def with_health(tmp_path: Path, baseline: Origin, *flags: str, listen: str = "127.0.0.1:0") -> Iterator[Proxy]:
    with run_proxy(tmp_path, baseline.port, flags=("--health-listen", listen, *flags)) as proxy:
        until(lambda: proxy.health, "the health listener")
        until(lambda: proxy.page("/readyz")[0] == 200, "all workers")
        yield proxy


@contextlib.contextmanager
def with_token(tmp_path: Path, baseline: Origin, *flags: str, admin: str = "127.0.0.1:0") -> Iterator[Proxy]:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n")
    with run_proxy(tmp_path, baseline.port, flags=("--admin-token-file", str(file), *flags), admin=admin) as proxy:
        until(lambda: proxy.page("/readyz")[0] == 200, "all workers")
        yield proxy


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def on_admin(proxy: Proxy, path: str, *lines: str, method: str = "GET", host: str = "127.0.0.1") -> Response:
    return ask(proxy.admin, get(path, *lines, "Content-Length: 0", method=method, host=host))


def closed_pages(proxy: Proxy, *lines: str) -> list[int]:
    """Statuses of what changes or reveals something, but /drain."""
    return [on_admin(proxy, "/table", *lines).status, on_admin(proxy, "/explain", *lines, method="POST").status]


# --- health ---------------------------------------------------------------------------------------------------------


@WORKERS
def test_health_has_three_pages(tmp_path: Path, baseline: Origin, workers: tuple[str, ...]) -> None:
    with with_health(tmp_path, baseline, *workers, listen="0.0.0.0:0") as proxy:
        for path in OPEN:
            # By whatever name kubelet and Prometheus know it.
            assert ask(proxy.health, get(path, host="pod.hotrod.svc:1")).status == 200
            assert ask(proxy.health, get(path, method="POST")).status == 405
        assert b"pointsman_requests_total" in ask(proxy.health, get("/metrics")).body
        for path in ("/", "/table", "/explain", "/drain", "/metrics/", "//livez"):
            assert ask(proxy.health, get(path)).status == 404
            assert ask(proxy.health, get(path, "Content-Length: 0", method="POST")).status == 404
        assert proxy.page("/readyz")[0] == 200, "nobody has drained it"


@WORKERS
def test_health_during_a_drain(tmp_path: Path, baseline: Origin, workers: tuple[str, ...]) -> None:
    flags = (*workers, "--drain-delay", "30")
    with with_health(tmp_path, baseline, *flags) as proxy:
        assert proxy.page("/drain", "POST")[0] == 202
        until(lambda: ask(proxy.health, get("/readyz")).status == 503, "the drain")
        assert ask(proxy.health, get("/readyz")).body == b"not ready: draining\n"
        assert ask(proxy.health, get("/livez")).status == 200
        assert ask(proxy.health, get("/metrics")).status == 200
        proxy.process.kill()
        proxy.process.wait(10)
        proxy.process.returncode = 0  # asked for


def test_health_without_admin(tmp_path: Path, baseline: Origin) -> None:
    write_table(tmp_path / "table.json", table())
    command = [sys.executable, "-m", "proxy", "--admin", "off", "--health-listen", "127.0.0.1:0"]
    command += ["--listen", "127.0.0.1:0", "--baseline", f"127.0.0.1:{baseline.port}"]
    command += ["--workload", "hotrod/Deployment/location", "--table", str(tmp_path / "table.json")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if " health on " in line)
            assert ask(int(line.rpartition(":")[2]), get("/readyz")).status == 200
        finally:
            process.terminate()


def test_health_is_no_destination(tmp_path: Path, baseline: Origin) -> None:
    """As with every listener of the proxy's own."""
    with with_health(tmp_path, baseline) as proxy:
        proxy.set_table(table(route("k1", [proxy.health]), version="2"))
        response = ask(proxy.port, get("/livez", "baggage: sd-routing-key=k1"))
        assert response.status == 503
        assert b"destination_refused" in response.body


def test_a_flood_of_connections_to_health_takes_no_files(tmp_path: Path, baseline: Origin) -> None:
    """Whoever reaches it must not be able to stop the data path, or probes."""
    limit = 256
    prefix = ("prlimit", f"--nofile={limit}:{limit}")
    flags = ("--health-listen", "127.0.0.1:0")
    with run_proxy(tmp_path, baseline.port, flags=flags, prefix=prefix) as proxy:
        until(lambda: proxy.health, "the health listener")
        before = proxy.open_files()
        with contextlib.ExitStack() as stack:
            for _ in range(3 * limit):
                stack.enter_context(socket.create_connection(("127.0.0.1", proxy.health), timeout=5))
            assert ask(proxy.health, get("/livez")).status == 200
            assert proxy.open_files() <= before + 64 + 8
            assert ask(proxy.port, get()).status == 200


def test_who_asks_is_kept_and_who_only_waits_goes(tmp_path: Path, baseline: Origin) -> None:
    with with_health(tmp_path, baseline) as proxy, connected(proxy.health) as prober, contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(contextlib.closing(Client(proxy.health)))
            assert prober.ask(get("/livez")).status == 200


# --- the token -------------------------------------------------------------------------------------------------------


@WORKERS
def test_pages_that_need_a_token(tmp_path: Path, baseline: Origin, workers: tuple[str, ...]) -> None:
    with with_token(tmp_path, baseline, *workers, admin="0.0.0.0:0") as proxy:
        for path in OPEN:
            assert on_admin(proxy, path).status == 200
            assert on_admin(proxy, path, bearer("no-token-of-the-team")).status == 200
        refused = on_admin(proxy, "/table")
        assert refused.status == 401
        assert refused.value("www-authenticate") == 'Bearer realm="pointsman"'
        for wrong in ("no-token-of-the-team", TOKEN[:-1], f"{TOKEN}x", ""):
            assert closed_pages(proxy, bearer(wrong)) == [401, 401]
            assert on_admin(proxy, "/drain", bearer(wrong), method="POST").status == 401
        assert on_admin(proxy, "/drain", method="POST").status == 401
        assert proxy.page("/readyz")[0] == 200, "nobody has drained it"
        assert closed_pages(proxy, bearer(TOKEN)) == [200, 200]
        assert on_admin(proxy, "/nothing").status == 404
        proxy.admin_token = TOKEN
        assert proxy.state()["version"] == "1"
        pages = b"".join(proxy.page(path)[1] for path in ("/table", "/metrics"))
        assert TOKEN.encode() not in pages + " ".join(proxy.lines).encode()
        assert on_admin(proxy, "/drain", bearer(TOKEN), method="POST").status == 202
        assert proxy.process.wait(15) == 0


def test_a_web_page_has_no_token(tmp_path: Path, baseline: Origin) -> None:
    with with_token(tmp_path, baseline) as proxy:
        for path in (*OPEN, "/table"):
            assert on_admin(proxy, path, host="evil.example").status == 403
            assert on_admin(proxy, path, bearer(TOKEN), host="pod.hotrod.svc").status == 200
            assert on_admin(proxy, path, bearer(TOKEN), "Origin: http://evil.example").status == 403


@WORKERS
def test_a_token_is_replaced(tmp_path: Path, baseline: Origin, workers: tuple[str, ...]) -> None:
    with with_token(tmp_path, baseline, *workers) as proxy:
        file = tmp_path / "tokens"
        file.write_text(f"{NEXT}\n")
        until(lambda: closed_pages(proxy, bearer(NEXT)) == [200, 200], "the next token", within_s=10)
        assert closed_pages(proxy, bearer(TOKEN)) == [401, 401]
        file.write_text("short\n")
        until(lambda: any("stays in force" in line for line in proxy.lines), "a word about it", within_s=10)
        assert closed_pages(proxy, bearer(NEXT)) == [200, 200]
        assert not any(NEXT in line or "short" in line for line in proxy.lines)


@WORKERS
@pytest.mark.parametrize("content", [None, "", "short\n"])
def test_a_bad_file_at_the_start(tmp_path: Path, content: str | None, workers: tuple[str, ...]) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content)
    write_table(tmp_path / "table.json", table())
    command = [sys.executable, "-m", "proxy", "--admin-token-file", str(file), *workers, "--admin", "127.0.0.1:0"]
    command += ["--listen", "127.0.0.1:0", "--baseline", "127.0.0.1:1", "--workload", "hotrod/Deployment/location"]
    command += ["--table", str(tmp_path / "table.json")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"pointsman proxy: --admin-token-file: {file}: ")


# --- who explains ----------------------------------------------------------------------------------------------------


def explain(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pointsman", "explain", *words, "--header", "baggage: sd-routing-key=k1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_explain_asks_a_proxy(tmp_path: Path, baseline: Origin) -> None:
    with with_token(tmp_path, baseline) as proxy:
        url = ("--proxy", f"http://127.0.0.1:{proxy.admin}")
        token = ("--admin-token-file", str(tmp_path / "tokens"))
        said = explain(*url, *token)
        assert said.returncode == 0
        assert said.stdout.startswith("hotrod/Deployment/location port 8081: forwarded to baseline (unknown_key: ")
        assert json.loads(explain(*url, *token, "--json", "--port", "8081").stdout)["reason"] == "unknown_key"

        without = explain(*url)
        assert (without.returncode, without.stdout) == (1, "")
        assert without.stderr.startswith(f"pointsman explain: {url[1]} says 401: this page needs Authorization: Bearer")
        other_port = explain(*url, *token, "--port", "1")
        assert other_port.returncode == 1
        assert "not a port of this workload" in other_port.stderr
        bad_file = explain(*url, "--admin-token-file", str(tmp_path / "nothing"))
        assert bad_file.returncode == 2
        assert bad_file.stderr.startswith(
            f"pointsman explain: --admin-token-file: {tmp_path / 'nothing'}: can't be read"
        )
    gone = explain(*url)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr.startswith(f"pointsman explain: {url[1]}: ")
