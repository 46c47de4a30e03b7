"""Routers of a real controller: they attach beside sidecars, route by what it says, and count for what they serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import ask, get
from tests.support.controller import Controller, path_of, run_controller, sandbox
from tests.support.feed import controlling
from tests.support.origin import Origin
from tests.support.proxy import WORKLOAD, Proxy, route, run_proxy, run_router, service
from tests.support.waiting import until

FLAGS = ("--decision-header", "--destination-allow", "127.0.0.0/8")
DRIVER = "hotrod/Deployment/driver"
PR = get("/", "baggage: sd-routing-key=pr-1", host="location")


def forked(name: str, port: int, *workloads: str) -> dict[str, object]:
    """A sandbox of these workloads; its destination is a port on loopback."""
    local = [
        {
            "from": dict(zip(("namespace", "kind", "name"), workload.split("/"), strict=True)),
            "mappings": [{"port": 8081, "toLocal": f"127.0.0.1:{port}"}],
        }
        for workload in workloads or (WORKLOAD,)
    ]
    return sandbox(name, local=local)


def services(baseline: Origin, *more: Mapping[str, object]) -> dict[str, object]:
    return {"services": [service("location", "location.hotrod", upstream=baseline.port), *more]}


def put_services(path: Path, content: Mapping[str, object]) -> None:
    path.with_suffix(".new").write_text(json.dumps(content))
    os.replace(path.with_suffix(".new"), path)


@pytest.fixture
def services_file(tmp_path: Path, baseline: Origin) -> Path:
    path = tmp_path / "services.yaml"
    put_services(path, services(baseline))
    return path


@pytest.fixture
def controller(tmp_path: Path, services_file: Path) -> Iterator[Controller]:
    with run_controller(tmp_path / "objects", "--services", str(services_file)) as controller:
        yield controller


@contextmanager
def routing(folder: Path, controller: str, *flags: str, name: str = "router") -> Iterator[Proxy]:
    """A router that is in sync."""
    with run_router(folder, controller=controller, flags=(*FLAGS, *flags), environ={"POD_NAME": name}) as router:
        until(lambda: router.page("/readyz")[0] == 200, "readiness")
        yield router


def seen(router: Proxy, request: bytes = PR) -> tuple[int, str, str]:
    response = ask(router.port, request)
    return response.status, response.origin, response.decision


def receipt(controller: Controller, name: str = "pr-1", seconds: float = 10) -> dict[str, Any]:
    reply = controller.ask("GET", f"{path_of(name)}/receipt?timeoutSeconds={seconds}")
    assert reply.status == 200, reply.body
    return reply.json


def traffic(controller: Controller, name: str = "pr-1") -> dict[str, Any]:
    reply = controller.ask("GET", f"{path_of(name)}/traffic?since=10m")
    assert reply.status == 200, reply.body
    return reply.json


def cli(controller: Controller, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "POINTSMAN_CONTROLLER": controller.url, "POINTSMAN_NAMESPACE": "hotrod"}
    command = [sys.executable, "-m", "pointsman", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_router_routes_by_the_controllers_table(
    tmp_path: Path, controller: Controller, baseline: Origin, sandbox: Origin
) -> None:
    with routing(tmp_path, controller.url) as router:
        assert seen(router) == (200, "baseline", "baseline; reason=unknown_key")
        assert seen(router, get("/", host="elsewhere"))[0] == 421
        assert controller.put(forked("pr-1", sandbox.port)).status == 201
        found = receipt(controller)
        assert (found["isComplete"], found["proxies"]) == (True, {"attached": 1, "knowing": 1})
        assert [(each["proxies"], each["acknowledged"]) for each in found["workloads"]] == [(1, 1)]
        assert seen(router) == (200, "sandbox", "sandbox=pr-1; reason=route")
        assert sandbox.requests[-1].values(b"pointsman-hop") == [WORKLOAD.encode()]
        assert ask(router.port, get("/", host="location")).origin == "baseline"
        assert baseline.requests[-1].values(b"pointsman-hop") == [f"{WORKLOAD};baseline".encode()]
        controller.put(forked("pr-1", baseline.port))
        assert receipt(controller)["isComplete"]
        assert seen(router) == (200, "baseline", "sandbox=pr-1; reason=route")
        controller.ask("DELETE", path_of("pr-1"))
        until(lambda: seen(router)[0] == 424, "the end of the key")
        controller.until_gone("pr-1")


def test_services_are_read_again(
    tmp_path: Path, controller: Controller, services_file: Path, baseline: Origin, sandbox: Origin
) -> None:
    driver = get("/", "baggage: sd-routing-key=pr-1", host="driver")
    controller.put(forked("pr-1", sandbox.port, WORKLOAD, DRIVER))
    with routing(tmp_path, controller.url) as router:
        assert receipt(controller, seconds=0)["faults"] == [f"no proxy of {DRIVER} is attached"]
        assert seen(router, driver)[0] == 421
        services_file.write_text("services: 5")
        until(lambda: any("the old content stays" in line for line in controller.lines), "the refusal")
        assert seen(router) == (200, "sandbox", "sandbox=pr-1; reason=route")
        more = service("driver", upstream=baseline.port, workload=DRIVER)
        put_services(services_file, services(baseline, more))
        assert receipt(controller)["isComplete"]
        assert seen(router, driver) == (200, "sandbox", "sandbox=pr-1; reason=route")
        put_services(services_file, {"services": [more]})
        until(lambda: seen(router)[0] == 421, "the end of the host", within_s=15)
        assert seen(router, driver) == (200, "sandbox", "sandbox=pr-1; reason=route")


def test_a_route_that_comes_before_its_service_is_there_with_it(
    tmp_path: Path, controller: Controller, services_file: Path, baseline: Origin, sandbox: Origin
) -> None:
    with routing(tmp_path, controller.url) as router:
        controller.put(forked("pr-1", sandbox.port, DRIVER))
        until(lambda: controller.ask("GET", "/api/v1/proxies").json["items"][0]["isCurrent"], "the table")  # type: ignore[index]
        assert seen(router) == (200, "baseline", "baseline; reason=not_forked")
        put_services(services_file, services(baseline, service("driver", upstream=baseline.port, workload=DRIVER)))
        assert receipt(controller)["isComplete"]
        driver = get("/", "baggage: sd-routing-key=pr-1", host="driver")
        assert seen(router, driver) == (200, "sandbox", "sandbox=pr-1; reason=route")


def test_live_by_routers_and_sidecars_together(
    tmp_path: Path, controller: Controller, baseline: Origin, sandbox: Origin
) -> None:
    file = tmp_path / "pr-1.json"
    file.write_text(json.dumps(forked("pr-1", sandbox.port)))
    sidecar = run_proxy(tmp_path, baseline.port, controller=controller.url, flags=FLAGS, environ={"POD_NAME": "side"})
    with routing(tmp_path, controller.url) as router, sidecar as side:
        until(lambda: side.page("/readyz")[0] == 200, "readiness")
        applied = cli(controller, "sandbox", "apply", "-f", str(file), "--wait")
        assert applied.returncode == 0, applied.stderr
        assert f"{WORKLOAD} 2 of 2; 2 of 2 proxies know the key" in applied.stdout
        assert seen(router)[1] == seen(side)[1] == "sandbox"
        listed = cli(controller, "proxies")
        assert [line.split()[:3] for line in listed.stdout.splitlines()[1:]] == [
            ["router", "(router)", "current"],
            ["side", WORKLOAD, "current"],
        ]
        os.kill(router.process.pid, 9)
        until(lambda: not receipt(controller, seconds=0)["isComplete"], "the loss of the router")
        assert receipt(controller, seconds=0)["faults"][0].startswith(f"{WORKLOAD}: router is disconnected")
        router.process.wait()
        router.process.returncode = 0


def test_verify_by_what_a_router_counted(
    tmp_path: Path, controller: Controller, baseline: Origin, sandbox: Origin
) -> None:
    with routing(tmp_path, controller.url) as router:
        ask(router.port, PR)  # from the baseline, before there is a sandbox
        controller.put(forked("pr-1", sandbox.port))
        assert receipt(controller)["isComplete"]
        assert traffic(controller)["verdict"] == "failed"
        for _ in range(3):
            ask(router.port, PR)
        [found] = traffic(controller)["workloads"]
        assert (found["fromSandbox"], found["fromBaseline"], found["proxies"], found["gaps"]) == (3, 1, 1, [])
        controller.put(forked("pr-2", sandbox.port))
        assert receipt(controller, "pr-2")["isComplete"]
        for _ in range(2):
            ask(router.port, get("/", "baggage: sd-routing-key=pr-2", host="location"))
        verdict = traffic(controller, "pr-2")
        assert (verdict["verdict"], verdict["workloads"][0]["fromSandbox"]) == ("passed", 2)
        codes = [cli(controller, "sandbox", "verify", name, "--since", "10m").returncode for name in ("pr-1", "pr-2")]
        assert codes == [3, 0]
    # It said goodbye, and all that it counted before.
    [found] = traffic(controller, "pr-2")["workloads"]
    assert (found["fromSandbox"], found["gaps"]) == (2, [])


def test_a_router_that_is_killed_makes_verify_unknown(
    tmp_path: Path, controller: Controller, baseline: Origin, sandbox: Origin
) -> None:
    controller.put(forked("pr-1", sandbox.port))
    with routing(tmp_path, controller.url) as router:
        assert receipt(controller)["isComplete"]
        ask(router.port, PR)
        until(lambda: traffic(controller)["workloads"][0]["fromSandbox"] == 1, "the count")
        os.kill(router.process.pid, 9)
        until(lambda: traffic(controller)["workloads"][0]["gaps"], "the gap")
        assert traffic(controller)["workloads"][0]["gaps"][0]["proxy"] == "router"
        router.process.wait()
        router.process.returncode = 0


def test_a_router_starts_by_its_state_file_while_the_controller_is_gone(
    tmp_path: Path, services_file: Path, baseline: Origin, sandbox: Origin
) -> None:
    state = ("--state-dir", str(tmp_path / "state"), "--sync-timeout", "0.5")
    flags = ("--services", str(services_file))
    with run_controller(tmp_path / "objects", *flags) as controller:
        port = controller.url.rpartition(":")[2]
        controller.put(forked("pr-1", sandbox.port))
        controller.put(forked("pr-2", sandbox.port, DRIVER))
        with routing(tmp_path, controller.url, *state) as router:
            assert receipt(controller)["isComplete"]
            until(lambda: list((tmp_path / "state").glob("*.state")), "the state file")
            assert router.stop() == 0
        controller.stop()
    with routing(tmp_path, controller.url, *state) as router:
        assert router.state()["stale"] is True
        assert seen(router) == (200, "sandbox", "sandbox=pr-1; reason=route")
        other = get("/", "baggage: sd-routing-key=pr-2", host="location")
        assert seen(router, other) == (200, "baseline", "baseline; reason=not_forked")
        assert seen(router, get("/", host="elsewhere"))[0] == 421
        with run_controller(tmp_path / "objects", *flags, "--listen", f"127.0.0.1:{port}") as again:
            until(lambda: router.state()["stale"] is False, "the controller", within_s=30)
            again.put(forked("pr-3", sandbox.port))
            assert receipt(again, "pr-3")["isComplete"]
            third = get("/", "baggage: sd-routing-key=pr-3", host="location")
            assert seen(router, third) == (200, "sandbox", "sandbox=pr-3; reason=route")
            # Its version was the controller's, so what changed was enough.
            assert sum("in force" in line for line in router.lines) <= 2


def test_one_bad_route_is_refused_alone_and_counts_say_where(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    """What no controller of ours says, said by one of the test's own."""
    listed = [service("location", upstream=baseline.port), service("driver", upstream=baseline.port, workload=DRIVER)]
    good = [route("pr-1", [sandbox.port], workload=workload) for workload in (WORKLOAD, DRIVER)]
    bad = {**good[1], "mappings": [{"port": 70_000, "destinations": []}]}
    with (
        controlling() as controller,
        run_router(tmp_path, controller=controller.url, flags=FLAGS, environ={"POD_NAME": "r"}) as router,
    ):
        peer, hello = controller.peer()
        assert hello["proxy"] == {**hello["proxy"], "id": "r", "mode": "router"}
        assert "workload" not in hello["proxy"]
        answer = peer.snapshot(1, good[0], bad, services=listed, liveKeys=["pr-1"])
        assert (answer["type"], answer["isWhole"]) == ("nack", False)
        assert [(each["routingKey"], each["workload"]) for each in answer["routes"]] == [("pr-1", DRIVER)]
        driver = get("/", "baggage: sd-routing-key=pr-1", host="driver")
        assert seen(router) == (200, "sandbox", "sandbox=local-location; reason=route")
        assert seen(router, driver)[::2] == (503, "sandbox=unreadable; reason=no_destination")
        assert router.state()["stale"] is True
        assert peer.change(2, 1, routes=[good[1]])["type"] == "ack"
        assert seen(router, driver) == (200, "sandbox", "sandbox=local-location; reason=route")
        assert (
            peer.change(3, 2, removedRoutes=[{"routingKey": "pr-1", "baseline": good[1]["baseline"]}])["type"] == "ack"
        )
        assert seen(router, driver) == (200, "baseline", "baseline; reason=gone_route")
        assert seen(router)[1] == "sandbox"
        counts: list[list[object]] = []
        while len(counts) < 2 or sum(int(str(each[1])) + int(str(each[2])) for each in counts) < 4:
            message = peer.next("traffic")
            counts += message["counts"]
            peer.say(type="counted", seq=message["seq"])
        assert {each[3]: each[2] for each in counts if each[2]} == {DRIVER: 1}
        assert sum(int(str(each[1])) for each in counts if each[3] == WORKLOAD) == 2


def test_a_router_before_its_first_table(tmp_path: Path) -> None:
    flags = (*FLAGS, "--sync-timeout", "0.3")
    with run_router(tmp_path, controller="http://127.0.0.1:9", flags=flags) as router:
        assert ask(router.port, get("/", host="location")).status == 503
        until(lambda: router.page("/readyz")[0] == 200, "the timeout")
        assert seen(router, get("/", host="location"))[::2] == (503, "none; reason=not_synced")


def test_forks_are_called_by_their_hosts_beside_a_mesh_by_routers_alone(
    tmp_path: Path, services_file: Path, baseline: Origin, sandbox: Origin
) -> None:
    flags = ("--services", str(services_file), "--istio-mode", "router")
    with run_controller(tmp_path / "objects", *flags) as controller:
        controller.put(forked("pr-1", sandbox.port))
        sidecar = run_proxy(tmp_path, baseline.port, controller=controller.url, flags=FLAGS)
        with routing(tmp_path, controller.url) as router, sidecar as side:
            until(lambda: side.page("/readyz")[0] == 200, "readiness")
            assert receipt(controller)["isComplete"]
            for proxy, host in ((router, f"127.0.0.1:{sandbox.port}"), (side, "location")):
                assert seen(proxy)[1] == "sandbox"
                assert sandbox.requests[-1].values(b"host") == [host.encode()]


def test_tokens_of_routers_and_of_sidecars(tmp_path: Path, services_file: Path, baseline: Origin) -> None:
    writer, mesh, side = "writer-0123456789", "router-0123456789", "sidecar-0123456789"
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(
        f"- {{name: ci, token: {writer}, role: write}}\n"
        f"- {{name: mesh, token: {mesh}, role: router}}\n"
        f"- {{name: side, token: {side}, role: proxy, workload: {WORKLOAD}}}\n"
    )
    flags = ("--services", str(services_file), "--tokens-file", str(tokens))
    with run_controller(tmp_path / "objects", *flags, token=writer) as controller:

        def given(token: str) -> tuple[str, ...]:
            (tmp_path / token).write_text(token)
            return (*FLAGS, "--sync-timeout", "60", "--token-file", str(tmp_path / token))

        with (
            run_router(tmp_path, controller=controller.url, flags=given(side)) as wrong,
            run_proxy(tmp_path, baseline.port, controller=controller.url, flags=given(mesh)) as other,
            run_router(tmp_path, controller=controller.url, flags=given(mesh)) as right,
        ):
            until(lambda: right.page("/readyz")[0] == 200, "readiness")
            refusal = f"the token side is for {WORKLOAD}, not for routers"
            until(lambda: any(refusal in line for line in wrong.lines), "the refusal")
            refusal = f"the token mesh is for routers, not for {WORKLOAD}"
            until(lambda: any(refusal in line for line in other.lines), "the refusal")
            assert wrong.page("/readyz")[0] == other.page("/readyz")[0] == 503
            assert controller.ask("GET", "/api/v1/proxies", token=mesh).status == 403
            attached = controller.ask("GET", "/api/v1/proxies").json["items"]
            assert [each["mode"] for each in attached] == ["router"]  # type: ignore[index, attr-defined]


def test_endpoints_of_sandboxes_are_previews(
    tmp_path: Path, services_file: Path, baseline: Origin, sandbox: Origin
) -> None:
    flags = ("--services", str(services_file), "--preview-domain", "p.example")
    at_web = get("/", host="web--pr-1.p.example")
    with run_controller(tmp_path / "objects", *flags) as controller:
        document = forked("pr-1", sandbox.port)
        spec = document["spec"]
        assert isinstance(spec, dict)
        spec["endpoints"] = [{"name": "web", "target": f"http://127.0.0.1:{baseline.port}"}]
        with routing(tmp_path, controller.url, "--preview-auth", "off") as router:
            assert ask(router.port, at_web).status == 421
            made = controller.put(document).json
            assert made["status"]["endpoints"][0]["url"] == "https://web--pr-1.p.example"  # type: ignore[index]
            assert receipt(controller)["isComplete"]
            # No service has this address as its host: on to it, with the key.
            assert seen(router, at_web)[:2] == (200, "baseline")
            assert baseline.requests[-1].values(b"baggage") == [b"sd-routing-key=pr-1"]
            with_host = service("127.0.0.1", "location", upstream=baseline.port)
            put_services(services_file, {"services": [with_host]})
            until(lambda: seen(router, at_web)[1] == "sandbox", "the service", within_s=15)
            assert seen(router, get("/", host="web--pr-2.p.example"))[::2] == (424, "none; reason=unknown_key")
            other = forked("pr-2", sandbox.port)
            other["spec"]["endpoints"] = spec["endpoints"]  # type: ignore[index]
            controller.put(other)
            assert receipt(controller, "pr-2")["isComplete"]
            controller.ask("DELETE", path_of("pr-1"))
            until(lambda: seen(router, at_web)[::2] == (424, "none; reason=gone_key"), "the end of the preview")
            assert seen(router, get("/", host="web--pr-2.p.example"))[1] == "sandbox"
