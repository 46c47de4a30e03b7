from __future__ import annotations

import pytest

from proxy.routing.names import (
    Endpoint,
    Workload,
    is_dns_name,
    is_host,
    is_routing_key,
    is_sandbox_name,
    is_token,
    is_workload_part,
)

KEYS = {
    b"a": True,
    b"qwblp48fpmb30": True,
    b"A.b_c-9": True,
    b"a" * 63: True,
    b"a-" * 31 + b"a": True,
    b"a" * 64: False,
    b"a-" * 32: False,
    b"": False,
    b"-a": False,
    b"a-": False,
    b".a": False,
    b"a_": False,
    b"a b": False,
    b"a\n": False,
    b"\na": False,
    b"a%2": False,
    b"a\x00": False,
    "ä".encode(): False,
    "ä".encode("latin-1"): False,
    "٣".encode(): False,
    b"a/b": False,
}


@pytest.mark.parametrize(("value", "expected"), KEYS.items())
def test_routing_key(value: bytes, expected: bool) -> None:
    assert is_routing_key(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"sd-key", True),
        (b"!#$%&'*+-.^_`|~09azAZ", True),
        (b"", False),
        (b"a b", False),
        (b"a\n", False),
        (b"a=", False),
    ],
)
def test_token(value: bytes, expected: bool) -> None:
    assert is_token(value) is expected


HOSTS = {
    "location": True,
    "location.hotrod.svc.cluster.local": True,
    "location.hotrod.svc.cluster.local.": True,
    "_grpc._tcp.example": True,
    "compose_service": True,
    "a1": True,
    "1a": True,
    "10.0.0.1": True,
    "255.255.255.255": True,
    "::1": True,
    "2001:db8::1": True,
    "::ffff:10.0.0.1": True,
    "a" * 63 + ".example": True,
    "": False,
    ".": False,
    "a..b": False,
    ".a": False,
    "-a": False,
    "a-": False,
    "a b": False,
    "a\n": False,
    "a/b": False,
    "a:80": False,
    "[::1]": False,
    "fe80::1%eth0": False,
    "::1\n": False,
    ":::": False,
    "a" * 64: False,
    ".".join(["a" * 63] * 4): False,
    "ä": False,
    "\uff11.2.3.4": False,
    # Resolvers read these as addresses, some of them as loopback.
    "1": False,
    "127.1": False,
    "10.0.0.256": False,
    "10.0.0.01": False,
    "10.0.0.1.": False,
    "2130706433": False,
    "0x7f000001": False,
    "0x7f.1": False,
    "a.0x1": False,
    "a.0x": False,
    "user@host": False,
}


@pytest.mark.parametrize(("text", "expected"), HOSTS.items())
def test_host(text: str, expected: bool) -> None:
    assert is_host(text) is expected


def test_dns_name_is_no_address() -> None:
    assert is_dns_name("a.example")
    assert not is_dns_name("10.0.0.1")


def test_names_of_sandboxes_and_workload_parts() -> None:
    assert is_sandbox_name("team/pr-1_2.x")
    assert not is_sandbox_name("a b")
    assert not is_sandbox_name("")
    assert not is_sandbox_name("a" * 254)
    assert is_workload_part("Deployment")
    assert not is_workload_part("a/b")
    assert not is_workload_part("a\n")


def test_workload_is_its_text() -> None:
    workload = Workload.parse("hotrod/Deployment/location")
    assert workload == Workload("hotrod", "Deployment", "location")
    assert str(workload) == "hotrod/Deployment/location"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("location", "must be namespace/kind/name, is 'location'"),
        ("a/b/c/d", "must be namespace/kind/name"),
        ("/Deployment/x", "namespace must be 1-253 of"),
        ("a//x", "kind must be"),
        ("a/b/x;baseline", "name must be"),
        ("a/b/x\n", "name must be"),
    ],
)
def test_workload_faults(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=r"^" + fault):
        Workload.parse(text)


def test_endpoint_is_its_text() -> None:
    assert str(Endpoint("location", 80)) == "location:80"
    assert str(Endpoint("10.0.0.1", 80)) == "10.0.0.1:80"
    assert str(Endpoint("2001:db8::1", 80)) == "[2001:db8::1]:80"
