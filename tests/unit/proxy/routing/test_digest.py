"""Tables that name keys by digest: the same decisions as with the keys themselves, and no key revealed."""

from __future__ import annotations

import json

import pytest

from proxy.routing.decision import Decider, Policy
from proxy.routing.digest import digests, is_digest, is_salt, key_digest
from proxy.routing.explain import explain, routing_inputs
from proxy.routing.faults import TableError
from proxy.routing.gone import NOTHING_GONE, GoneMemory, remember
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint, Workload, is_routing_key
from proxy.routing.table import GoneRoute, Mapping, Route, RoutingTable
from proxy.routing.wire import read_document

ME = Workload("hotrod", "Deployment", "location")
SALT = b"\x01salt"
SETTINGS = KeySettings()
READER = KeyReader(SETTINGS)
KEYS = ("routed", "elsewhere", "taken", "gone", "left", "stranger")


def name(key: bytes) -> bytes:
    return key_digest(key, SALT)


def table(salt: bytes | None) -> RoutingTable:
    def named(*keys: bytes) -> list[bytes]:
        return [key if salt is None else key_digest(key, salt) for key in keys]

    return RoutingTable(
        "1",
        [Route("routed", "pr-1", ME, (Mapping(8081, None, "preserve", (Endpoint("fork", 1),)),))],
        named(b"elsewhere", b"taken"),
        named(b"gone"),
        [GoneRoute("taken", ME)],
        salt=salt,
    )


def test_a_digest_is_a_grammatical_key() -> None:
    assert is_routing_key(name(b"k"))
    assert is_digest(name(b"k").decode())
    assert name(b"k") == name(b"k") != name(b"l")
    assert key_digest(b"k", b"other") != name(b"k")


@pytest.mark.parametrize("text", ["", "0", "0G", "AA", "00\n", "0" * 130])
def test_what_is_no_salt(text: str) -> None:
    assert not is_salt(text)
    assert is_salt("00" * 64)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("strict", ["", ",sd-strict=1"])
def test_keys_and_digests_decide_alike(key: str, strict: str) -> None:
    decider = Decider(ME, Policy())
    reading = READER.read((f"sd-routing-key={key}{strict}".encode(),), (), ())
    plain, hashed = table(None), table(SALT)
    with_keys = plain.view(ME, GoneMemory({b"left": 9.0}))
    with_digests = hashed.view(ME, GoneMemory({name(b"left"): 9.0}))
    one, other = (decider.decide(reading, view, 8081) for view in (with_keys, with_digests))
    assert (one.reason, one.kind, one.status, one.sandbox) == (other.reason, other.kind, other.status, other.sandbox)


def test_a_digest_is_not_the_key_that_it_stands_for() -> None:
    decider = Decider(ME, Policy())
    reading = READER.read((b"sd-routing-key=" + name(b"gone"),), (), ())
    assert decider.decide(reading, table(SALT).view(ME), 8081).reason.name == "unknown_key"


def test_the_document_holds_digests_and_reads_back() -> None:
    document = json.loads(json.dumps(table(SALT).document()))
    assert document["keyDigest"] == {"salt": SALT.hex()}
    assert "elsewhere" not in json.dumps(document["liveKeys"] + document["goneKeys"])
    again = read_document(document)
    assert again.document() == document
    assert again.live == {name(b"routed"), name(b"elsewhere"), name(b"taken")}
    assert again.gone == {name(b"gone")}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"keyDigest": {"salt": "xx"}}, "keyDigest.salt: must be lowercase hex"),
        ({"keyDigest": {}}, "keyDigest.salt: missing"),
        ({"keyDigest": "00"}, "keyDigest: must be an object"),
        ({"keyDigest": None}, "keyDigest: must be an object"),
        ({"keyDigest": {"salt": "00"}, "liveKeys": ["pr-1"]}, "liveKeys[0]: must be a digest of a key"),
        ({"keyDigest": {"salt": "00"}, "goneKeys": ["A" * 24]}, "goneKeys[0]: must be a digest of a key"),
    ],
)
def test_faults(fields: dict[str, object], fault: str) -> None:
    document = {"apiVersion": "pointsman.dev/v1alpha1", "kind": "RoutingTable", "version": "1", "routes": []}
    with pytest.raises(TableError) as caught:
        read_document(document | fields)
    assert any(found.startswith(fault) for found in caught.value.faults)


def test_memory_goes_by_names_and_forgets_them_with_another_salt() -> None:
    before = table(SALT)
    memory = remember(before, RoutingTable("2", salt=SALT), NOTHING_GONE, 0.0)
    assert memory.keys.keys() == {name(b"routed"), name(b"elsewhere"), name(b"taken")}
    other = remember(RoutingTable("2", salt=SALT), RoutingTable("3", salt=b"other"), memory, 1.0)
    assert other.keys == {}
    assert other.routes == memory.routes  # our own routes' keys are known
    assert remember(before, RoutingTable("2"), NOTHING_GONE, 0.0).keys == {}


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("elsewhere", "live key, no route for this workload (known by its digest"),
        ("taken", "live key, its route was taken away within the hour (known by its digest"),
        ("gone", "gone key (by the table) (known by its digest"),
        ("left", "gone key (it left this proxy's table) (known by its digest"),
        ("stranger", "unknown key"),
        ("routed", "live key, sandbox pr-1 forks this workload"),
    ],
)
def test_explain_says_how_a_key_is_known(key: str, words: str) -> None:
    inputs = routing_inputs([(b"baggage", b"sd-routing-key=" + key.encode())], SETTINGS)
    view = table(SALT).view(ME, GoneMemory({name(b"left"): 9.0}))
    found = explain(inputs, READER, Decider(ME, Policy()), None, 8081, view)
    assert found.known.startswith(words)


def test_many_digests_at_once() -> None:
    one, two = name(b"k"), name(b"m")
    assert digests([]) == []
    assert digests([one.decode(), two.decode()]) == [one, two]
    for bad in ("", one.decode() + "a", one.decode()[:-1], one.decode().upper(), f"{one.decode()},{two.decode()}"):
        assert digests([one.decode(), bad]) is None
        assert digests([bad]) is None
    assert digests([f"{one.decode()},{two.decode()}", ""]) is None
    assert digests([one.decode() + "\n"]) is None
