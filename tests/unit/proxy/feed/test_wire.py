"""The feed's messages as texts: every one comes back as it was, what can't be used is refused, bounds hold."""

from __future__ import annotations

import json

import pytest

from proxy.feed.messages import (
    MAX_FAULTS,
    MAX_MESSAGE_BYTES,
    MAX_POSITION,
    Ack,
    Change,
    Count,
    Counted,
    Current,
    Goodbye,
    Hello,
    Nack,
    Refused,
    RefusedRoute,
    Report,
    Resync,
    Snapshot,
    Traffic,
)
from proxy.feed.wire import WireError, encode, encode_value, read_from_controller, read_from_proxy

FROM_PROXY = [
    Hello("pod-1", "b00t", "hotrod/Deployment/location", (8081, 8082), "0.1.0", 7, "v7", "00ff"),
    Hello("pod-1", "b00t", "hotrod/Deployment/location"),
    Hello("pod-1", "b00t", None, release="0.1.0", position=7, version="v7"),
    Ack("n1", 8, "v8"),
    Nack("n1", ("routes[0]: no",), False, (RefusedRoute("k1", ("sandbox: missing",), "a/b/c"),)),
    Nack("n1", ("routes[0]: no",), False, (RefusedRoute("k1", ("sandbox: missing",)),)),
    Nack("n1", ("document: no",), True),
    Resync(),
    Traffic(3, (Count("k1", 1, 0), Count("k2", 0, 5)), True, "r1"),
    Traffic(4, ()),
    Traffic(5, (Count("k1", 1, 0, "a/b/c"), Count("k1", 1, 0))),
    Goodbye(),
]
FROM_CONTROLLER = [
    Snapshot("n1", 8, "v8", {"routes": [], "liveKeys": ["k1"]}, 2, False),
    Change(
        "n1",
        9,
        8,
        "v9",
        [{"routingKey": "k1"}],
        ("k2",),
        ("a",),
        ("b",),
        ("c",),
        ("d",),
        [{}],
        ("e",),
        [{"endpoint": "web"}],
        [{"endpoint": "api"}],
        None,
        "00ff",
        1,
        False,
    ),
    Change("n1", 9, 8, "v9", [], (), (), (), (), (), [], (), [], []),
    Change("n1", 9, 8, "v9", [], ({"routingKey": "k1"},), (), (), (), (), [], (), [], [], []),
    Current("n1", 0, "v1", "00"),
    Current("n1", MAX_POSITION, "v1"),
    Report("r1"),
    Counted(3),
    Refused("the token is for another workload"),
]


@pytest.mark.parametrize("message", FROM_PROXY, ids=lambda message: type(message).__name__)
def test_what_a_proxy_says_comes_back_as_it_was(message):
    assert read_from_proxy(encode(message)) == message
    assert read_from_proxy(encode(message).encode()) == message


@pytest.mark.parametrize("message", FROM_CONTROLLER, ids=lambda message: type(message).__name__)
def test_what_a_controller_says_comes_back_as_it_was(message):
    assert read_from_controller(encode(message)) == message


def test_shared_fields_are_encoded_once():
    keys = encode_value(["a", "b"])
    message = Change("n1", 9, 8, "v9", (), live_keys=("x",))
    read = read_from_controller(encode(message, {"liveKeys": keys}))
    assert isinstance(read, Change)
    assert read.live_keys == ("a", "b")
    snapshot = Snapshot("n1", 8, "v8", {})
    assert read_from_controller(encode(snapshot, {"document": '{"routes":[]}'})) == Snapshot(
        "n1", 8, "v8", {"routes": []}
    )


def test_unknown_types_and_fields_are_passed_over():
    assert read_from_proxy('{"type": "song", "nonce": 5}') is None
    assert read_from_proxy('{"type": "counted", "seq": 1}') is None  # not in this direction
    assert read_from_controller('{"type": "counted", "seq": 1, "mood": [1]}') == Counted(1)
    assert read_from_proxy('{"type": "nack", "nonce": "n", "faults": null}') == Nack("n", (), True)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"type": "counted", "seq": NaN}', "NaN is no JSON"),
        ('{"type": "counted", "seq": ' + "9" * 5000 + "}", "no JSON"),
        ("[]", "must be an object, is a list"),
        ('{"seq": 1}', "type: must be 1-64 printable characters, is missing"),
        ('{"type": 1}', "type: must be"),
        ('{"type": "counted", "seq": 1.0}', "seq: must be an integer"),
        ('{"type": "counted", "seq": true}', "seq: must be an integer"),
        ('{"type": "counted", "seq": 0}', "seq: must be an integer in 1-"),
        ('{"type": "report", "reply": ""}', "reply: must be"),
        ('{"type": "report", "reply": "a\\u0000"}', "reply: must be"),
        ('{"type": "snapshot", "nonce": "n", "position": 1, "version": "v", "document": []}', "document: must be an"),
        ('{"type": "snapshot", "nonce": "n", "position": -1, "version": "v", "document": {}}', "position: must be"),
        (json.dumps({"type": "current", "nonce": "n", "position": MAX_POSITION + 1, "version": "v"}), "position: must"),
        ('{"type": "current", "nonce": "n", "position": 1, "version": "v", "salt": "0G"}', "salt: must be"),
        (
            '{"type": "change", "nonce": "n", "position": 1, "from": 0, "version": "v", "liveKeys": [1]}',
            "liveKeys: must",
        ),
        ('{"type": "change", "nonce": "n", "position": 1, "from": 0, "version": "v", "routes": {}}', "routes: must be"),
        ('{"type": "change", "nonce": "n", "position": 1, "version": "v"}', "from: must be an integer"),
        ('{"type": "snapshot", "nonce": "n", "position": 1, "version": "v", "document": {}, "isLast": 1}', "isLast: "),
    ],
)
def test_what_a_controller_may_not_say(text, fault):
    with pytest.raises(WireError, match=fault.replace("[", r"\[")):
        read_from_controller(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"type": "hello"}', "proxy: must be an object"),
        ('{"type": "hello", "proxy": {"id": "a", "boot": "b", "workload": "c", "ports": [0]}}', "proxy.ports: must be"),
        ('{"type": "hello", "proxy": {"id": "a", "boot": "b"}}', "proxy.workload: must be"),
        ('{"type": "nack", "nonce": "n", "routes": ["k1"]}', "routes: must be a list of objects"),
        ('{"type": "nack", "nonce": "n", "routes": [{}]}', "routes.routingKey: must be"),
        ('{"type": "traffic", "seq": 1, "counts": [["k", 1]]}', "counts: must be"),
        ('{"type": "traffic", "seq": 1, "counts": [["k", true, 1]]}', "counts: must be"),
        ('{"type": "traffic", "seq": 1, "counts": [["k", 1, -1]]}', "counts: must be"),
        ('{"type": "traffic", "seq": 1, "counts": [["", 1, 1]]}', "counts: must be"),
        (
            json.dumps({"type": "traffic", "seq": 1, "counts": [["k", 1, 1]] * 2001}),
            "counts: must be a list of at most",
        ),
    ],
)
def test_what_a_proxy_may_not_say(text, fault):
    with pytest.raises(WireError, match=fault.replace("[", r"\[")):
        read_from_proxy(text)


def test_a_fault_names_the_nonce_that_it_can_be_refused_by():
    with pytest.raises(WireError) as caught:
        read_from_controller('{"type": "snapshot", "nonce": "n7", "position": "x"}')
    assert caught.value.nonce == "n7"
    with pytest.raises(WireError) as caught:
        read_from_controller('{"type": "snapshot", "nonce": 7}')
    assert caught.value.nonce is None


def test_a_message_that_is_too_large_is_not_parsed():
    text = '{"type": "counted", "seq": 1, "pad": "' + "x" * MAX_MESSAGE_BYTES + '"}'
    with pytest.raises(WireError, match="at most"):
        read_from_controller(text)


def test_what_is_sent_stays_within_the_bounds():
    nack = Nack("n", ("x" * 9999,) * 9999, False, (RefusedRoute("k", ("y" * 9999,) * 9999),) * 9999)
    read = read_from_proxy(encode(nack))
    assert isinstance(read, Nack)
    assert len(read.faults) == len(read.routes) == MAX_FAULTS
    refused = read_from_controller(encode(Refused("z" * 9999)))
    assert isinstance(refused, Refused)
