"""The feed's endpoint of a real controller, and proxies that are not as they should be. CHECKLIST G48, M9."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from proxy.feed.messages import MAX_MESSAGE_BYTES, PATH, SCHEMA, SUBPROTOCOL
from tests.support.controller import Controller, run_controller, sandbox
from tests.support.waiting import until

WORKLOAD = "hotrod/Deployment/location"
OTHER = "hotrod/Deployment/driver"
TOKEN, OTHER_TOKEN, READER = "a" * 20, "b" * 20, "c" * 20
# A real process whose patience is shorter.
HASTY = """
import sys
from controller.rest import feed
sys.argv = sys.argv[3:]
feed._HELLO_S, feed._SEND_S, feed.HEARTBEAT_TIMEOUT_S = 0.5, {send_s}, {heartbeat_s}
from controller.__main__ import main
sys.exit(main())
"""


class Client:
    """A proxy of the websockets library, none of our own code."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def say(self, **message: object) -> None:
        self.connection.send(json.dumps(message))

    def hello(self, workload: str = WORKLOAD, id_: str = "p", schemas: tuple[str, ...] = (SCHEMA,), **has: Any) -> None:
        proxy = {"id": id_, "boot": f"boot-{id_}", "workload": workload, "ports": [8081]}
        self.say(type="hello", schemas=schemas, proxy=proxy, **has)

    def next(self) -> dict[str, Any]:
        message = json.loads(self.connection.recv(timeout=10))
        assert isinstance(message, dict)
        return message

    def table(self) -> dict[str, Any]:
        """The last part of what comes, acknowledged; `keys` are those of the routes in all parts."""
        keys: list[str] = []
        while True:
            message = self.next()
            keys += [route["routingKey"] for route in message.get("document", message).get("routes", [])]
            if message.get("isLast", True):
                self.say(type="ack", nonce=message["nonce"], position=message["position"], version=message["version"])
                return {**message, "keys": keys}

    def refusal(self) -> str:
        """Why it is refused; then it is left."""
        message = self.next()
        assert message["type"] == "refused", message
        assert self.is_left()
        return str(message["reason"])

    def is_left(self) -> bool:
        try:
            while True:
                self.connection.recv(timeout=10)
        except ConnectionClosed:
            return True


@contextlib.contextmanager
def dialled(controller: Controller, token: str | None = None, **options: Any) -> Iterator[Client]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = controller.url.replace("http", "ws", 1) + PATH
    with connect(
        url,
        subprotocols=[SUBPROTOCOL],
        additional_headers=headers,
        compression=None,
        proxy=None,
        max_size=None,
        close_timeout=2,
        **options,
    ) as connection:
        assert connection.subprotocol == SUBPROTOCOL
        yield Client(connection)


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with run_controller(tmp_path_factory.mktemp("feed") / "objects") as controller:
        yield controller
        assert not [line for line in controller.lines if "Traceback" in line or "failed" in line], controller.lines
        assert controller.stop() == 0


@contextlib.contextmanager
def hasty(tmp_path: Path, send_s: float = 1.0, heartbeat_s: float = 1.0) -> Iterator[Controller]:
    code = HASTY.format(send_s=send_s, heartbeat_s=heartbeat_s)
    with run_controller(tmp_path / "objects", prefix=(sys.executable, "-c", code)) as controller:
        yield controller
        assert controller.stop() == 0
        assert not [line for line in controller.lines if "Traceback" in line or "failed" in line], controller.lines


def proxies(controller: Controller) -> dict[str, dict[str, Any]]:
    items = controller.ask("GET", "/api/v1/proxies").json["items"]
    assert isinstance(items, list)
    return {item["id"]: item for item in items}


def descriptors(controller: Controller) -> int:
    return len(os.listdir(f"/proc/{controller.process.pid}/fd"))


# --- first words -----------------------------------------------------------------------------------------------------


def test_a_proxy_as_it_should_be(controller: Controller) -> None:
    with dialled(controller) as client:
        client.hello(id_="good")
        snapshot = client.table()
        assert (snapshot["type"], snapshot["document"]["routes"]) == ("snapshot", [])
        assert controller.put(sandbox("now")).status == 201
        change = client.table()
        assert change["type"] == "change"
        assert change["keys"] == ["now"]
        until(lambda: proxies(controller)["good"]["isCurrent"], "the answer")
        client.say(type="of a later version", what=7)  # passed over
        client.say(type="goodbye")
        assert client.is_left()
    assert "good" not in proxies(controller)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("garbage", "no JSON"),
        ("[]", "must be an object"),
        ("[" * 100_000, "no JSON"),
        ('{"type": "ack", "nonce": "n", "position": 1, "version": "v"}', "the first message must be hello"),
        ('{"type": "goodbye"}', "the first message must be hello"),
        ('{"type": "hello"}', "proxy"),
        (b"\x00\xff", "messages must be text"),
    ],
)
def test_first_words_that_are_no_hello(controller: Controller, words: str | bytes, why: str) -> None:
    with dialled(controller) as client:
        client.connection.send(words)
        assert why in client.refusal()
    assert controller.ask("GET", "/readyz").status == 200


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        ({"schemas": ("pointsman.dev/v2", "\x1b[31m")}, f"this controller speaks {SCHEMA} only"),
        ({"workload": "nonsense"}, "workload"),
        ({"position": (1 << 53) - 1, "version": "v", "salt": "00"}, "was never given out"),
    ],
)
def test_hellos_that_are_refused(controller: Controller, hello: dict[str, Any], why: str) -> None:
    with dialled(controller) as client:
        client.hello(**hello)
        assert why in client.refusal()
    assert not [line for line in controller.lines if "\x1b" in line]


def test_hello_twice(controller: Controller) -> None:
    with dialled(controller) as client:
        client.hello(id_="twice")
        client.table()
        client.hello(id_="twice")
        assert client.refusal() == "hello comes once"


def test_garbage_later(controller: Controller) -> None:
    with dialled(controller) as client:
        client.hello(id_="garbage")
        client.table()
        client.say(type="ack", nonce=7)
        assert "nonce" in client.refusal()
    assert proxies(controller)["garbage"]["isConnected"] is False


def test_too_large(controller: Controller) -> None:
    with dialled(controller) as client:
        client.hello(id_="large")
        client.table()
        with contextlib.suppress(ConnectionClosed):  # it may be left before all is sent
            client.connection.send(json.dumps({"type": "x" * (MAX_MESSAGE_BYTES + 1000)}))
        assert client.is_left()
    assert controller.ask("GET", "/readyz").status == 200


def test_no_web_socket(controller: Controller) -> None:
    reply = controller.ask("GET", PATH)
    assert (reply.status, reply.problem) == (400, "malformed")


def test_web_pages_are_refused(controller: Controller) -> None:
    with pytest.raises(InvalidStatus) as refused, dialled(controller, origin="http://evil.example"):
        pass
    assert refused.value.response.status_code == 403


def test_no_hello(tmp_path: Path) -> None:
    with hasty(tmp_path) as controller, dialled(controller) as client:
        assert client.refusal() == "no hello within 0.5 s"


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_is_for_its_workload(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(
        json.dumps(
            [
                {"name": "location", "token": TOKEN, "role": "proxy", "workload": WORKLOAD},
                {"name": "driver", "token": OTHER_TOKEN, "role": "proxy", "workload": OTHER},
                {"name": "reader", "token": READER, "role": "read"},
            ]
        )
    )
    with run_controller(tmp_path / "objects", "--tokens-file", str(tokens), token=READER) as controller:
        with dialled(controller, TOKEN) as client:
            client.hello(id_="p")
            client.table()
            with dialled(controller, OTHER_TOKEN) as thief:
                thief.hello(WORKLOAD, id_="p")
                assert thief.refusal() == f"the token driver is for {OTHER}, not for {WORKLOAD}"
            with dialled(controller, OTHER_TOKEN) as other:  # the same id in its own workload
                other.hello(OTHER, id_="p")
                other.table()
                until(lambda: len(controller.ask("GET", "/api/v1/proxies").json["items"]) == 2, "both")  # type: ignore[arg-type]
                assert client.connection.ping().wait(10)
        for token, status in ((None, 401), ("d" * 20, 401), (READER, 403)):
            with pytest.raises(InvalidStatus) as refused, dialled(controller, token):
                pass
            assert refused.value.response.status_code == status
        assert controller.ask("GET", "/api/v1/proxies", token=TOKEN).status == 403
        assert not [line for line in controller.lines for token in (TOKEN, OTHER_TOKEN, READER) if token in line]
        assert controller.stop() == 0


# --- those that do not read, or come twice ---------------------------------------------------------------------------


def test_a_second_connection_takes_the_place_of_the_first(controller: Controller) -> None:
    with dialled(controller) as first:
        first.hello(id_="same")
        first.table()
        with dialled(controller) as second:
            second.hello(id_="same")
            second.table()
            assert first.is_left()
            assert proxies(controller)["same"]["isConnected"] is True
            assert second.connection.ping().wait(10)


def raw(controller: Controller, id_: str) -> socket.socket:
    """A proxy that says hello, with a small buffer, and then reads nothing any more, as one that was stopped."""
    host, _, port = controller.url.rpartition("/")[2].partition(":")
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect((host, int(port)))
    stuck.sendall(
        f"GET {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
    )
    proxy = {"id": id_, "boot": id_, "workload": WORKLOAD}
    text = json.dumps({"type": "hello", "schemas": [SCHEMA], "proxy": proxy}).encode()
    assert 125 < len(text) < 65536
    stuck.sendall(b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)  # masked with zeros
    return stuck


@pytest.mark.parametrize(
    ("count", "send_s", "heartbeat_s"),
    [
        (1000, 1.0, 60.0),  # a table of 6 MB does not get out
        (1000, 60.0, 1.0),  # nor does a ping behind it
        (1, 60.0, 1.0),  # a small one does, but no ping is answered
    ],
)
def test_who_does_not_read_is_left_and_nobody_else_is_touched(
    tmp_path: Path, count: int, send_s: float, heartbeat_s: float
) -> None:
    baseline = {"kind": "Deployment", "namespace": "hotrod", "name": "location"}
    mappings = [{"port": port, "toLocal": "127.0.0.1:9081"} for port in range(8001, 8101)]
    local = [{"from": baseline, "mappings": mappings}]
    many = [
        {"apiVersion": "pointsman.dev/v1alpha1", "kind": "Sandbox", "metadata": {"name": name, "namespace": "hotrod"}}
        | {"spec": {"routingKey": name, "local": local}}
        for name in [f"s{number}" for number in range(count)]
    ]
    with hasty(tmp_path, send_s, heartbeat_s) as controller:
        (controller.folder / "many.yaml").write_text("\n---\n".join(map(json.dumps, many)))
        with dialled(controller) as good:
            good.hello(id_="good")
            keys = set(good.table()["keys"])
            while len(keys) < count:  # the folder may not have been read yet
                keys.update(good.table()["keys"])
            for _ in range(5):
                assert good.connection.ping().wait(10)  # what was closed before is closed by now
            alone = descriptors(controller)
            with contextlib.closing(raw(controller, "stuck")):
                until(lambda: len(proxies(controller)) == 2, "both")
                until(lambda: proxies(controller)["stuck"]["isConnected"] is False, "its end", within_s=20)
                until(lambda: descriptors(controller) <= alone, "its descriptor to be free", within_s=10)
                assert controller.put(sandbox("later")).status == 201
                assert good.table()["keys"] == ["later"]
                assert good.connection.ping().wait(10)


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("do_they_read", [True, False])
def test_a_stop_closes_all_and_is_quick(tmp_path: Path, do_they_read: bool) -> None:
    with run_controller(tmp_path / "objects") as controller, contextlib.ExitStack() as stack:
        clients: list[Client] = []
        if do_they_read:
            for number in range(50):
                clients.append(stack.enter_context(dialled(controller)))
                clients[-1].hello(id_=f"p{number}")
                clients[-1].table()
        else:
            for number in range(50):
                stack.enter_context(contextlib.closing(raw(controller, f"p{number}")))
        until(lambda: len(proxies(controller)) == 50, "all of them")
        codes: list[int | None] = []

        def wait_for_the_end(client: Client) -> None:
            assert client.is_left()
            codes.append(client.connection.close_code)

        threads = [threading.Thread(target=wait_for_the_end, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        began_s = time.monotonic()
        assert controller.stop() == 0
        assert time.monotonic() - began_s < 6
        for thread in threads:
            thread.join(10)
        assert codes == [1012] * len(clients)
        assert not [line for line in controller.lines if "Traceback" in line or "Error" in line], controller.lines
