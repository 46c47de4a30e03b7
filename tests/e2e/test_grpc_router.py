"""gRPC through a router: each call by its own :authority and metadata, many workloads on one connection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import grpc
import pytest

from tests.support.grpc_service import (
    GrpcServer,
    Metadata,
    ask,
    connected,
    path,
    serving,
    tagged,
)
from tests.support.proxy import KEY, WORKLOAD, Proxy, route, run_router, service, table

DRIVER = "hotrod/Deployment/driver"
OK = grpc.StatusCode.OK


class Stage:
    def __init__(self, router: Proxy, baseline: GrpcServer, sandbox: GrpcServer) -> None:
        self.router, self.baseline, self.sandbox = router, baseline, sandbox


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    baseline, sandbox = GrpcServer("baseline"), GrpcServer("sandbox")
    document = table(
        route(KEY, [sandbox.port]),
        route("notready1", []),
        goneKeys=["gonekey"],
        services=[
            service("location", "location.hotrod.svc.cluster.local", upstream=baseline.port),
            service("driver", upstream=baseline.port, workload=DRIVER),
            service("closed", upstream=baseline.port, callers=["cluster.local/ns/hotrod/*"]),
        ],
    )
    flags = ("--decision-header", "--identity-from", "127.0.0.0/8")
    with (
        serving(baseline, sandbox),
        run_router(tmp_path_factory.mktemp("router"), document, flags=flags) as router,
    ):
        yield Stage(router, baseline, sandbox)


def channel(stage: Stage, authority: str) -> contextlib.AbstractContextManager[grpc.Channel]:
    return connected(stage.router.port, ("grpc.default_authority", authority))


XFCC: Metadata = (("x-forwarded-client-cert", "By=a;URI=spiffe://cluster.local/ns/hotrod/sa/web"),)


@pytest.mark.parametrize(
    ("authority", "metadata", "origin", "decision"),
    [
        ("location", (), "baseline", "baseline; reason=no_key"),
        ("location", tagged(KEY), "sandbox", "sandbox=local-location; reason=route"),
        ("Location.hotrod.svc.cluster.local.:50051", tagged(KEY), "sandbox", "sandbox=local-location; reason=route"),
        ("driver:50051", tagged(KEY), "baseline", "baseline; reason=not_forked"),
        ("location", tagged("nobody"), "baseline", "baseline; reason=unknown_key"),
        ("closed", (*tagged(KEY), *XFCC), "sandbox", "sandbox=local-location; reason=route"),
        ("driver", (("pointsman-hop", f"{WORKLOAD};baseline"),), "baseline", "baseline; reason=no_key"),
    ],
)
def test_calls_that_are_forwarded(stage: Stage, authority: str, metadata: Metadata, origin: str, decision: str) -> None:
    with channel(stage, authority) as own:
        answer = ask(own, b"hi", metadata)
    assert (answer.code, answer.message) == (OK, b"hi")
    assert (answer.origin, answer.decision) == (origin, decision)
    call = (stage.sandbox if origin == "sandbox" else stage.baseline).calls[-1]
    workload = DRIVER if authority.startswith("driver") else WORKLOAD
    came = [value for name, value in metadata if name == "pointsman-hop"]
    assert call.values("pointsman-hop") == [*came, workload + ("" if origin == "sandbox" else ";baseline")]


@pytest.mark.parametrize(
    ("authority", "metadata", "code", "reason"),
    [
        ("elsewhere", (), 12, "unknown_host"),
        ("elsewhere:80", tagged(KEY), 12, "unknown_host"),
        ("location", (("pointsman-hop", WORKLOAD),), 9, "loop"),
        ("location", (("pointsman-hop", f"{WORKLOAD};baseline"),), 9, "loop"),
        ("location", tagged("gonekey"), 9, "gone_key"),
        ("driver", tagged("nobody", strict=True), 9, "unknown_key"),
        ("location", tagged("notready1"), 14, "no_destination"),
        ("closed", tagged(KEY), 7, "caller_not_allowed"),
    ],
)
def test_calls_that_are_refused(stage: Stage, authority: str, metadata: Metadata, code: int, reason: str) -> None:
    with channel(stage, authority) as own:
        answer = ask(own, b"hi", metadata)
    assert answer.code.value[0] == code
    assert answer.decision.endswith(f"reason={reason}")
    assert reason in answer.details


def test_calls_of_one_connection(stage: Stage) -> None:
    """One stream is open while others go elsewhere."""
    with channel(stage, "location") as own:
        calls = [own.stream_stream(path("Echo"))(iter([b"a", b"b"]), metadata=each) for each in (tagged(KEY), ())]
        assert [list(call) for call in calls] == [[b"a", b"b"]] * 2
        origins = [dict(call.initial_metadata())["x-origin"] for call in calls]
    assert origins == ["sandbox", "baseline"]
