"""Requests go on, each where its key leads, while the controller changes tables, dies, comes back and lies."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.support.client import connected, get
from tests.support.feed import Peer, controlling
from tests.support.origin import Origin
from tests.support.proxy import KEY, route, run_proxy

CHANGES = 60  # at about 1,000 a minute
ROUTES = 400
EXPECTED = {
    "": "baseline; reason=no_key",
    KEY: "sandbox=local-location; reason=route",
    "other": "baseline; reason=not_forked",
    "gone": "none; reason=gone_key",
}


class Asker(threading.Thread):
    """Asks for one key, over and over on one connection."""

    def __init__(self, port: int, key: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.key, self.asked, self.wrong = key, 0, []  # type: ignore[var-annotated]
        self._port, self._stop_asking = port, stop

    def run(self) -> None:
        request = get("/", f"baggage: sd-routing-key={self.key}") if self.key else get()
        with connected(self._port) as client:
            while not self._stop_asking.is_set():
                client.send(request)
                response = client.read()
                self.asked += 1
                if response.decision != EXPECTED[self.key] or not response.is_complete:
                    self.wrong.append((response.status, response.decision))
                time.sleep(0.002)


def test_requests_while_the_controller_changes_dies_and_lies(tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
    mine = route(KEY, [sandbox.port])
    keys: dict[str, object] = {"liveKeys": ["other"], "goneKeys": ["gone"]}
    flags = ("--decision-header", "--destination-allow", "127.0.0.0/8", "--state-dir", str(tmp_path / "state"))
    with controlling() as first:
        port = first.port
        with run_proxy(tmp_path, baseline.port, controller=first.url, flags=flags) as proxy:
            peer, _ = first.peer()
            assert peer.snapshot(1, mine, **keys)["type"] == "ack"
            stop = threading.Event()
            askers = [Asker(proxy.port, key, stop) for key in EXPECTED]
            for asker in askers:
                asker.start()
            change(peer, 1)
            first.stop()
            time.sleep(0.3)  # cut off for a while
            with controlling(port) as second:
                peer, hello = second.peer()
                position = hello["position"]
                assert position == 1 + CHANGES
                peer.connection.send("garbage")
                peer, hello = second.peer()
                assert hello["position"] == position
                many = [route(f"k{index}", [sandbox.port]) for index in range(ROUTES)]
                assert peer.snapshot(position + 1, mine, *many, **keys)["type"] == "ack"
                assert peer.snapshot(position)["isWhole"] is True
                change(peer, position + 1)
                stop.set()
                for asker in askers:
                    asker.join(10)
    assert {asker.key: asker.wrong for asker in askers if asker.wrong} == {}
    assert min(asker.asked for asker in askers) > 100


def change(peer: Peer, position: int) -> None:
    """A route comes, the one before goes, and others' keys with them."""
    for index in range(position, position + CHANGES):
        began_s = time.monotonic()
        answer = peer.change(
            index + 1,
            index,
            routes=[route(f"new{index}", [1])],
            removedRoutes=[f"new{index - 1}"],
            liveKeys=[f"their{index}"],
            notLiveKeys=[f"their{index - 1}"],
            goneKeys=[f"their{index - 1}"],
        )
        assert answer["type"] == "ack"
        time.sleep(max(0.0, began_s + 0.04 - time.monotonic()))
