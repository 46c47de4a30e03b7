"""`RoutesClient` against a real controller."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pointsman.routes import NotSynced, RoutesClient
from tests.support.commandline import WORKLOAD, Controller, group, running_controller, sandbox, several
from tests.support.waiting import until


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running_controller(tmp_path) as controller:
        yield controller


def apply(controller: Controller, *documents: dict[str, object]) -> None:
    controller.fine("sandbox", "apply", "-f", "-", stdin=several(*documents))


def delete(controller: Controller, name: str) -> None:
    controller.fine("sandbox", "delete", name, "-n", "hotrod", "--wait")


def client(controller: Controller, sandbox: str | None, *, asks: bool = False) -> RoutesClient:
    return RoutesClient(controller.url, workload=WORKLOAD, sandbox=sandbox, asks=asks)


def test_rules_come_and_go(controller: Controller) -> None:
    with client(controller, None) as baseline, client(controller, "pr-1") as mine, client(controller, "pr-2") as other:
        consumers = {"baseline": baseline, "pr-1": mine, "pr-2": other}
        for each in consumers.values():
            assert each.wait_synced(10), each.fault

        def takers(message: str | None) -> list[str]:
            return [name for name, each in consumers.items() if each.takes(message)]

        assert takers("k1") == takers(None) == ["baseline"]
        apply(controller, sandbox("pr-1", key="k1", labels={"pr": "1"}))
        until(lambda: takers("k1") == ["pr-1"], "the rule everywhere")
        apply(
            controller, sandbox("pr-2", key="k2"), group(key="g1"), sandbox("elsewhere", key="k3", workloads=("a/b/c",))
        )
        until(lambda: [takers(key) for key in ("k2", "g1", "k3")] == [["pr-2"], ["pr-1"], ["baseline"]], "the others")
        assert takers(None) == ["baseline"]
        assert baseline.stale_s == 0
        delete(controller, "pr-1")
        until(lambda: takers("k1") == ["baseline"], "the removal everywhere")
        decision = baseline.decide({"baggage": "sd-routing-key=k1"})
        assert (decision.takes, decision.reason, decision.is_refused) == (True, "gone_route", True)


class SlowNews:
    """Stands before a controller, and keeps back what it says on connections that were open at `hold`."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._held = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        self._held.set()

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._controller.port))
                self._sockets += [near, far]
                is_late = self._held.is_set()
                threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, is_late), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_free: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if is_free or not self._held.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("asks", [True, False])
def test_what_was_applied_counts_at_once_for_who_asks(controller: Controller, asks: bool) -> None:
    """However long news take: a message that is sent after `apply` returned is the sandbox's."""
    news = SlowNews(controller)
    with (
        closing(news),
        RoutesClient(news.url, workload=WORKLOAD, asks=asks) as baseline,
        RoutesClient(news.url, workload=WORKLOAD, sandbox="pr-1", asks=asks) as mine,
    ):
        assert baseline.wait_synced(10)
        assert mine.wait_synced(10)
        news.hold()
        apply(controller, sandbox("pr-1", key="k1"))
        assert (baseline.takes("k1"), mine.takes("k1")) == ((False, True) if asks else (True, False))
        assert (baseline.takes("nobody"), mine.takes("nobody")) == (True, False)


def test_without_a_controller(controller: Controller) -> None:
    controller.stop()
    with client(controller, None) as baseline, client(controller, "pr-1") as mine:
        until(lambda: baseline.fault is not None and mine.fault is not None, "a fault")
        assert "Connection refused" in str(baseline.fault)
        assert not baseline.wait_synced(0)
        assert (baseline.takes(None), mine.takes(None)) == (True, False)
        assert baseline.takes({"baggage": "sd-routing-key=%zz"})
        for each in (baseline, mine):
            with pytest.raises(NotSynced, match="Connection refused"):
                each.takes("k1")
        controller.start()
        assert baseline.wait_synced(20)
        assert baseline.takes("k1")


def test_a_controller_that_dies_changes_nothing(controller: Controller) -> None:
    with client(controller, None, asks=True) as baseline, client(controller, "pr-1", asks=True) as mine:
        apply(controller, sandbox("pr-1", key="k1"))
        assert baseline.wait_synced(10)
        assert mine.wait_synced(10)
        until(lambda: mine.takes("k1") and not baseline.takes("k1"), "the rule")
        controller.stop(signal.SIGKILL)
        until(lambda: baseline.stale_s > 0 and mine.stale_s > 0, "that they notice")
        assert (baseline.takes("k1"), mine.takes("k1")) == (False, True)
        assert (baseline.takes("nobody"), mine.takes("nobody")) == (True, False)

        # While it is away, somebody deletes the sandbox's file.
        for path in controller.folder.glob("*.yaml"):
            path.unlink()
        controller.start()
        until(lambda: baseline.stale_s == 0 and mine.stale_s == 0, "that they are back", within_s=20)
        assert (baseline.takes("k1"), mine.takes("k1")) == (True, False)
        assert baseline.decide("k1").is_refused


def test_a_token_that_is_not_known(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text("- {name: q, role: read, token: secret-of-a-consumer}\n")
    with running_controller(tmp_path, "--tokens-file", str(tokens)) as controller:
        with client(controller, None) as nobody:
            until(lambda: nobody.fault is not None, "a fault")
            assert "401" in str(nobody.fault)
        with RoutesClient(controller.url, workload=WORKLOAD, token="secret-of-a-consumer") as known:
            assert known.wait_synced(10), known.fault


def test_closing_ends_the_thread(controller: Controller) -> None:
    routes = client(controller, None)
    routes.start()
    assert routes.wait_synced(10)
    routes.close()
    routes._thread.join(5)
    assert not routes._thread.is_alive()
