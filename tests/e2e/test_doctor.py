"""`pointsman doctor` on real processes: each kind of fault is made, and must be found with what to do."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.ports import held_ports
from pointsman.doctor.asking import samples
from tests.support.client import ask, get
from tests.support.commandline import (
    Controller,
    Result,
    attached_proxy,
    environ,
    run,
    running_controller,
)
from tests.support.http2_origin import Http2Origin
from tests.support.origin import Origin, RawOrigin, running, says
from tests.support.proxy import KEY, Proxy, route, run_proxy, run_router, service, table, write_table
from tests.support.relay import relay
from tests.support.waiting import until

HEALTHY, CANT_TELL, BAD_ARGUMENTS, NOT_HEALTHY = 0, 1, 2, 3


class Diagnosis:
    """What one run of the doctor said."""

    def __init__(self, result: Result) -> None:
        assert result.code in (HEALTHY, CANT_TELL, NOT_HEALTHY), result
        document = json.loads(result.out)
        self.code = result.code
        self.findings: list[dict[str, str]] = document["findings"]
        assert document["exitCode"] == result.code

    def of(self, severity: str) -> list[str]:
        return [f"{each['check']}: {each['found']}" for each in self.findings if each["severity"] == severity]

    def only(self, severity: str) -> dict[str, str]:
        (found,) = (each for each in self.findings if each["severity"] == severity)
        assert found["todo"], "what is to be done"
        return found


def doctor(*words: str) -> Diagnosis:
    return Diagnosis(run("doctor", "--output", "json", "--interval", "50ms", *words))


def before(*words: str, prefix: tuple[str, ...] = ()) -> Diagnosis:
    command = [*prefix, sys.executable, "-m", "pointsman", "doctor", "--output", "json", "--before", *words]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ())
    assert "Traceback" not in found.stderr, found.stderr
    return Diagnosis(Result(found.returncode, found.stdout, found.stderr))


def admin(proxy: Proxy) -> tuple[str, str]:
    return ("--admin", f"127.0.0.1:{proxy.admin}")


class TestProxy:
    def test_healthy(self, tmp_path: Path, baseline: Origin) -> None:
        with run_proxy(tmp_path, baseline.port) as proxy:
            found = doctor(*admin(proxy))
            assert found.of("problem") == found.of("unknown") == []
            assert found.code == HEALTHY
            assert {"ready", "table", "version", "baseline"} <= {each["check"] for each in found.findings}
            text = run("doctor", *admin(proxy), "--interval", "0")
            assert text.code == HEALTHY
            assert text.out.splitlines()[-1].startswith("healthy: ")

    def test_unreachable(self) -> None:
        with held_ports(1) as (port,):
            found = doctor("--admin", f"http://127.0.0.1:{port}")
        assert found.code == NOT_HEALTHY
        assert found.only("problem")["check"] == "reachable"

    def test_dead_baseline(self, tmp_path: Path) -> None:
        with held_ports(1) as (port,), run_proxy(tmp_path, port) as proxy:
            found = doctor(*admin(proxy))
        assert found.code == NOT_HEALTHY
        assert found.only("problem")["found"] == (
            f"the baseline 127.0.0.1:{port} can't be connected to: connection refused"
        )

    def test_http2_baseline_configured_as_http(self, tmp_path: Path) -> None:
        origin = Http2Origin()
        with running(origin), run_proxy(tmp_path, origin.port, flags=("--baseline-protocol", "http")) as proxy:
            problem = doctor(*admin(proxy)).only("problem")
        assert "speaks HTTP/2 without TLS only, and --baseline-protocol says http" in problem["found"]
        assert "--baseline-protocol http2" in problem["todo"]

    def test_http_baseline_configured_as_http2(self, tmp_path: Path, baseline: Origin) -> None:
        with run_proxy(tmp_path, baseline.port, flags=("--baseline-protocol", "http2")) as proxy:
            problem = doctor(*admin(proxy)).only("problem")
        assert "speaks HTTP/1.1 only, and --baseline-protocol says http2" in problem["found"]

    def test_baselines_of_each_version(self, tmp_path: Path, baseline: Origin) -> None:
        origin = Http2Origin()
        with running(origin):
            for port, protocol in ((baseline.port, "http"), (origin.port, "http2")):
                with run_proxy(tmp_path, port, flags=("--baseline-protocol", protocol)) as proxy:
                    assert doctor(*admin(proxy)).of("problem") == []

    @pytest.mark.parametrize(
        ("said", "words"),
        [
            (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS"),
            (b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", "speaks TLS"),
            (b"220 mail.example ESMTP\r\n", "neither HTTP/1.1 nor HTTP/2"),
        ],
        ids=["TLS", "TLS of Go", "SMTP"],
    )
    def test_baselines_of_other_protocols(self, tmp_path: Path, said: bytes, words: str) -> None:
        origin = RawOrigin(says(said))
        with running(origin), run_proxy(tmp_path, origin.port) as proxy:
            assert words in doctor(*admin(proxy)).only("problem")["found"]

    def test_silent_baseline_ends(self, tmp_path: Path) -> None:
        origin = RawOrigin(says(b"", then="wait"))
        with running(origin), run_proxy(tmp_path, origin.port) as proxy:
            assert "neither HTTP/1.1 nor HTTP/2" in doctor(*admin(proxy)).only("problem")["found"]

    def test_refused_table(self, tmp_path: Path, baseline: Origin) -> None:
        with run_proxy(tmp_path, baseline.port) as proxy:
            document = table(route(port=99999), version="2")
            write_table(proxy.table_path, document)
            until(lambda: proxy.state()["stale"], "the refusal")
            problem = doctor(*admin(proxy)).only("problem")
            assert problem["check"] == "table"
            assert "routes[0].mappings[0].port" in problem["found"]
            assert str(proxy.table_path) in problem["todo"]
            write_table(proxy.table_path, table(version="3"))
            until(lambda: proxy.state()["version"] == "3", "a good table")
            assert doctor(*admin(proxy)).code == HEALTHY

    def test_names_that_do_not_resolve(self, tmp_path: Path, baseline: Origin) -> None:
        document = table(route())
        document["routes"][0]["mappings"][0]["destinations"] = [{"host": "nobody.invalid", "port": 1}]  # type: ignore[index]
        with run_proxy(tmp_path, baseline.port, document=document, flags=("--dns-server", "127.0.0.1:9")) as proxy:
            problem = doctor(*admin(proxy)).only("problem")
        assert "nobody.invalid (a destination of sandbox local-location)" in problem["found"]
        assert "127.0.0.1:9" in problem["found"]

    def test_few_open_files(self, tmp_path: Path, baseline: Origin) -> None:
        prefix = ("prlimit", "--nofile=256:256")
        with run_proxy(tmp_path, baseline.port, prefix=prefix) as proxy:
            found = doctor(*admin(proxy))
        assert found.code == HEALTHY
        assert "instead of --max-connections 20000" in found.only("warning")["found"]

    def test_what_happens_while_it_looks(self, tmp_path: Path, baseline: Origin) -> None:
        """Requests of the time before are noted, and not held against it."""
        with held_ports(1) as (dead,), run_proxy(tmp_path, baseline.port, document=table(route(KEY, [dead]))) as proxy:
            assert ask(proxy.port, get("/", f"baggage: sd-routing-key={KEY}")).status == 503
            assert ask(proxy.port, get("/", "baggage: sd-routing-key=nobody-has-it")).status == 200
            found = doctor(*admin(proxy))
            assert found.code == HEALTHY
            notes = " ".join(found.of("note"))
            assert "attempts at sandbox local-location failed, none just now" in notes
            assert "1 requests with keys that no sandbox has" in notes
            with busy(proxy.port, KEY):
                found = Diagnosis(run("doctor", "--output", "json", "--interval", "2s", *admin(proxy)))
            assert found.code == NOT_HEALTHY
            assert "sandbox local-location does not answer" in found.only("problem")["found"]

    def test_several_at_once_and_workers(self, tmp_path: Path, baseline: Origin) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        with (
            run_proxy(tmp_path / "a", baseline.port, flags=("--workers", "2")) as first,
            run_router(tmp_path / "b", table(services=[service("location", upstream=baseline.port)])) as second,
        ):
            until(lambda: first.page("/readyz")[0] == 200, "all workers", within_s=30)
            found = doctor(*admin(first), *admin(second))
            assert found.of("problem") == found.of("unknown") == []
            assert len({each["subject"] for each in found.findings}) == 2


@contextlib.contextmanager
def busy(port: int, key: str) -> Iterator[None]:
    """Requests with this key, until the end."""
    script = (
        "import sys, time, urllib.request\n"
        "while True:\n"
        "    request = urllib.request.Request(sys.argv[1], headers={'baggage': 'sd-routing-key=' + sys.argv[2]})\n"
        "    try: urllib.request.urlopen(request).read()\n"
        "    except OSError: time.sleep(0.02)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, f"http://127.0.0.1:{port}/", key])
    try:
        yield
    finally:
        process.kill()
        process.wait()


class TestController:
    @pytest.fixture
    def controller(self, tmp_path: Path) -> Iterator[Controller]:
        with running_controller(tmp_path) as controller:
            yield controller

    def test_healthy(self, controller: Controller, baseline: Origin) -> None:
        with attached_proxy(controller, baseline.port, "--max-connections", "100") as proxy:
            found = doctor("--controller", controller.url, "--admin", f"127.0.0.1:{proxy.admin}")
            assert found.of("problem") == found.of("unknown") == found.of("warning") == []
            fine = " ".join(found.of("fine"))
            assert "clock and this machine's agree" in fine
            assert "1 of 1 proxies are up to date" in fine
            assert "it is connected to the controller" in fine

    def test_down(self, controller: Controller, baseline: Origin) -> None:
        with attached_proxy(controller, baseline.port) as proxy:
            controller.stop()
            address = f"http://127.0.0.1:{proxy.admin}"
            until(lambda: doctor("--admin", address).of("problem"), "a proxy that misses it", within_s=20)
            found = doctor("--controller", controller.url, "--admin", address)
        assert found.code == NOT_HEALTHY
        problems = {(each["subject"], each["check"]) for each in found.findings if each["severity"] == "problem"}
        proxy_, controller_ = f"proxy {address}", f"controller {controller.url}"
        assert problems == {(proxy_, "feed"), (proxy_, "table"), (controller_, "reachable")}

    def test_a_proxy_that_is_missing(self, controller: Controller, baseline: Origin) -> None:
        with attached_proxy(controller, baseline.port, name="location-1") as proxy:
            proxy.process.send_signal(signal.SIGKILL)
            proxy.process.wait()
            until(lambda: doctor("--controller", controller.url).of("problem"), "that it is missed", within_s=20)
            problem = doctor("--controller", controller.url).only("problem")
            assert "location-1" in problem["found"]
            assert "is missing" in problem["found"]

    def test_a_file_that_cannot_be_read(self, controller: Controller) -> None:
        (controller.folder / "bad.yaml").write_text("kind: Sandbox\nspec: [")
        until(lambda: doctor("--controller", controller.url).of("problem"), "the fault", within_s=20)
        problem = doctor("--controller", controller.url).only("problem")
        assert problem["check"] == "store"
        assert "bad.yaml" in problem["found"]

    def test_a_wrong_clock(self, controller: Controller) -> None:
        """Our own, by a clock that is shifted for the doctor alone."""
        script = (
            "import sys, time\n"
            "real = time.time\n"
            "time.time = lambda: real() - 300\n"
            "from pointsman.__main__ import main\n"
            "sys.exit(main(['doctor', '--output', 'json', '--controller', sys.argv[1]]))\n"
        )
        command = [sys.executable, "-c", script, controller.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ())
        problem = Diagnosis(Result(done.returncode, done.stdout, done.stderr)).only("problem")
        assert problem["check"] == "clock"
        behind = re.search(r"is (\d+) s behind the controller's", problem["found"])
        assert behind is not None
        assert 280 <= int(behind[1]) <= 301


class TestBefore:
    ARGUMENTS = ("--workload", "hotrod/Deployment/location", "--admin", "127.0.0.1:0")

    def arguments(self, tmp_path: Path, baseline: int, *more: str, listen: int = 0) -> list[str]:
        path = tmp_path / "table.json"
        if not path.exists():
            write_table(path, table(route(KEY, [9081])))
        addresses = ["--listen", f"127.0.0.1:{listen}", "--baseline", f"127.0.0.1:{baseline}"]
        return [*self.ARGUMENTS, *addresses, "--table", str(path), *more]

    def test_healthy(self, tmp_path: Path, baseline: Origin) -> None:
        found = before(*self.arguments(tmp_path, baseline.port, "--max-connections", "100"))
        assert found.code == HEALTHY, found.findings
        assert "1 of them for hotrod/Deployment/location" in " ".join(found.of("fine"))

    def test_port_in_use(self, tmp_path: Path, baseline: Origin) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            problem = before(*self.arguments(tmp_path, baseline.port, listen=port)).only("problem")
        assert f"--listen 127.0.0.1:{port} can't be listened on: address already in use" in problem["found"]
        assert f"process {os.getpid()} " in problem["found"]

    def test_low_limit_of_files(self, tmp_path: Path, baseline: Origin) -> None:
        found = before(*self.arguments(tmp_path, baseline.port), prefix=("prlimit", "--nofile=256:256"))
        assert found.code == HEALTHY
        warning = found.only("warning")
        assert "hard limit of open files is 256" in warning["found"]
        assert "ulimit -Hn" in warning["todo"]

    def test_mesh_ports(self, tmp_path: Path, baseline: Origin) -> None:
        found = before(*self.arguments(tmp_path, baseline.port, "--max-connections", "100", listen=15006))
        assert "Istio" in found.only("warning")["found"]

    def test_files(self, tmp_path: Path, baseline: Origin) -> None:
        path = tmp_path / "table.json"
        write_table(path, table(route(port=99999)))
        problem = before(*self.arguments(tmp_path, baseline.port)).only("problem")
        assert "routes[0].mappings[0].port" in problem["found"]
        path.unlink()
        arguments = [*self.arguments(tmp_path, baseline.port)]
        path.unlink()
        assert "No such file" in before(*arguments).only("problem")["found"]

    def test_controller_token_and_authorities(self, tmp_path: Path, baseline: Origin) -> None:
        token, authorities = tmp_path / "token", tmp_path / "ca.pem"
        token.write_text("two words\n")
        authorities.write_text("no certificate\n")
        with held_ports(1) as (port,):
            found = before(
                *self.ARGUMENTS,
                *("--listen", "127.0.0.1:0", "--baseline", f"127.0.0.1:{baseline.port}"),
                *("--controller", f"https://127.0.0.1:{port}", "--controller-ca", str(authorities)),
                *("--token-file", str(token), "--max-connections", "100"),
            )
        problems = " ".join(found.of("problem"))
        assert f"--token-file {token}: must hold one token" in problems
        assert f"--controller-ca {authorities}: holds no certificates" in problems
        assert "reachable: it can't be reached" in problems

    def test_bad_arguments(self) -> None:
        found = run("doctor", "--output", "json", "--before", "--listen", "nowhere")
        assert found.code == BAD_ARGUMENTS
        assert "--workload" in found.err
        assert json.loads(found.out)["exitCode"] == BAD_ARGUMENTS
        assert run("doctor", "--admin", "https://x:1").code == BAD_ARGUMENTS


class TestPropagation:
    def chain(self, tmp_path: Path, stack: contextlib.ExitStack, *propagators: str, workers: int = 1) -> list[Proxy]:
        """frontend > driver > location: services on aiohttp, each behind a proxy; `propagators` of the first two."""
        names, found, called = ("frontend", "driver", "location"), [], None
        ports = stack.enter_context(held_ports(3))
        for name, passes_on, port in reversed(list(zip(names, [*propagators, "none"], ports, strict=True))):
            stack.enter_context(relay(port, passes_on, called))
            (tmp_path / name).mkdir()
            flags = ("--workers", str(workers), "--unknown-key", "reject")
            workload = f"hotrod/Deployment/{name}"
            proxy = stack.enter_context(run_proxy(tmp_path / name, port, flags=flags, workload=workload))
            until(lambda proxy=proxy: proxy.page("/readyz")[0] == 200, "all workers", within_s=30)  # type: ignore[misc]
            called = f"http://127.0.0.1:{proxy.port}/ride"
            found.append(proxy)
        return found[::-1]

    def send(self, proxies: list[Proxy]) -> Diagnosis:
        words = [word for proxy in proxies for word in admin(proxy)]
        return doctor("--send", f"http://127.0.0.1:{proxies[0].port}/ride", *words)

    def test_nothing_is_lost(self, tmp_path: Path) -> None:
        with contextlib.ExitStack() as stack:
            proxies = self.chain(tmp_path, stack, "tracecontext,baggage", "tracecontext,baggage", workers=2)
            found = self.send(proxies)
            (way,) = [each["found"] for each in found.findings if each["check"] == "propagation"]
        assert found.code == HEALTHY
        assert way == "the mark's way: " + ", ".join(
            f"hotrod/Deployment/{name} (baggage and tracestate)" for name in ("frontend", "driver", "location")
        )

    def test_baggage_is_dropped_and_tracestate_kept(self, tmp_path: Path) -> None:
        with contextlib.ExitStack() as stack:
            proxies = self.chain(tmp_path, stack, "tracecontext,baggage", "tracecontext")
            problem = self.send(proxies).only("problem")
            assert problem["found"] == (
                "baggage is lost between hotrod/Deployment/driver and hotrod/Deployment/location; tracestate came on"
            )
            assert "send keys in tracestate" in problem["todo"]
            for proxy in proxies:  # routing was not disturbed
                counted = samples(proxy.page("/metrics")[1].decode())
                assert counted.count("pointsman_requests_total", reason="unknown_key") == 0

    def test_all_is_dropped(self, tmp_path: Path) -> None:
        """The next service is called without anything that could tell it is the same request."""
        with contextlib.ExitStack() as stack:
            proxies = self.chain(tmp_path, stack, "none", "tracecontext,baggage")
            found = self.send(proxies)
            (idle,) = [each for each in found.of("note") if "saw nothing of it" in each]
            assert all(f":{proxy.admin}" in idle for proxy in proxies[1:])

    def test_a_bad_url(self, tmp_path: Path, baseline: Origin) -> None:
        with held_ports(1) as (port,), run_proxy(tmp_path, baseline.port) as proxy:
            found = doctor("--send", f"http://127.0.0.1:{port}/", *admin(proxy))
            assert "got no answer" in found.only("problem")["found"]
            found = doctor("--send", f"http://127.0.0.1:{baseline.port}/", *admin(proxy))
            assert "no proxy that was asked saw the request" in found.only("problem")["found"]
