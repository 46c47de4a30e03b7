"""CHECKLIST 54, end to end: where a sandbox's only endpoint comes and goes, it answers or there is a 503, never the
baseline."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.support.client import Response, ask, get
from tests.support.origin import Origin, running
from tests.support.proxy import KEY, Proxy, route, run_proxy, table
from tests.support.waiting import until

TAGGED = get("/", f"baggage: sd-routing-key={KEY}")
SERVED = (200, "sandbox", "sandbox=local-location; reason=route")
DEAD = (503, "", "sandbox=local-location; reason=sandbox_unreachable")
# An endpoint that is back may be left out for so long, and no longer: with one, waiting for it helps nobody.
BACK_WITHIN_S = 5.0


def outcome(response: Response) -> tuple[int, str, str]:
    return response.status, response.origin, response.decision


@contextlib.contextmanager
def started(tmp_path: Path, baseline: Origin, port: int) -> Iterator[Proxy]:
    document = table(route(KEY, [port]))
    with run_proxy(tmp_path, baseline.port, document=document, flags=("--decision-header",)) as proxy:
        yield proxy


def test_one_that_comes_and_goes(tmp_path: Path, baseline: Origin) -> None:
    sandbox = Origin("sandbox")
    port = sandbox.port
    seen: Counter[tuple[int, str, str]] = Counter()
    ended = threading.Event()

    def keep_asking(proxy: Proxy) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):  # it went in the middle of a response
                seen[outcome(ask(proxy.port, TAGGED))] += 1

    with started(tmp_path, baseline, port) as proxy:
        asking = [threading.Thread(target=keep_asking, args=(proxy,)) for _ in range(4)]
        for thread in asking:
            thread.start()
        for _ in range(4):
            until(lambda: outcome(ask(proxy.port, TAGGED)) == SERVED, "its return", within_s=BACK_WITHIN_S)
            sandbox.close()
            until(lambda: outcome(ask(proxy.port, TAGGED)) == DEAD, "its end")
            time.sleep(0.05)
            sandbox = Origin("sandbox", address=("127.0.0.1", port))
        ended.set()
        for thread in asking:
            thread.join()
    sandbox.close()
    # 502: it went while it had a request, which may have been executed.
    assert {each[0] for each in seen} <= {200, 502, 503}
    assert {each[1] for each in seen} <= {"sandbox", ""}
    assert {each[2].partition(";")[0] for each in seen} == {"sandbox=local-location"}
    assert seen[SERVED]
    assert seen[DEAD]
    assert not baseline.requests


def test_one_that_fails_again_and_again(tmp_path: Path, baseline: Origin) -> None:
    """Its errors are passed on as they are; whatever may follow from many of them, it is not the baseline."""
    failing = Origin("sandbox", lambda _: (503, [], b"overloaded"))
    with running(failing), started(tmp_path, baseline, failing.port) as proxy:
        responses = [ask(proxy.port, TAGGED) for _ in range(50)]
    assert {response.status for response in responses} == {503}
    assert {response.decision.partition(";")[0] for response in responses} == {"sandbox=local-location"}
    assert (responses[0].origin, responses[0].value("proxy-status")) == ("sandbox", "")
    assert not baseline.requests
