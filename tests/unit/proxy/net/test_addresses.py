"""Where nobody is ever connected to, in every spelling (SPEC 4)."""

from __future__ import annotations

import socket
from ipaddress import ip_network

import pytest

from proxy.net.addresses import DestinationPolicy, is_address
from proxy.routing.names import Endpoint

LINK_LOCAL = ["169.254.0.1", "169.254.169.254", "169.254.170.2", "169.254.255.255", "fe80::1", "febf:ffff::1"]
METADATA = {
    "AWS": "fd00:ec2::254",
    "AWS EKS pod identity": "fd00:ec2::23",
    "Google Cloud": "fd20:ce::254",
    "Oracle Cloud": "fd00:c1::a9fe:a9fe",
    "Scaleway": "fd00:42::42",
    "Azure wire server": "168.63.129.16",
    "Alibaba Cloud": "100.100.100.200",
}
NOBODY = ["0.0.0.0", "::", "224.0.0.1", "239.255.255.255", "ff02::1"]
SPELLED_ODDLY = {
    "a mapped link-local": "::ffff:169.254.169.254",
    "the same in hexadecimal": "::ffff:a9fe:a9fe",
    "the same with capitals and zeros": "0:0:0:0:0:FFFF:A9FE:A9FE",
    "mapped metadata": "::ffff:100.100.100.200",
    "metadata with zeros": "fd00:0ec2:0000::0254",
    "metadata with capitals": "FD00:EC2::254",
    "metadata with a zone": "fd00:ec2::254%eth0",
    "link-local with a zone": "fe80::1%eth0",
    "link-local with a zone that is a number": "fe80::1%2",
    "mapped link-local with a zone": "::ffff:169.254.169.254%eth0",
    "mapped unspecified": "::ffff:0.0.0.0",
}


def box(port: int) -> Endpoint:
    return Endpoint("box", port)


ORDINARY = ["10.1.2.3", "192.168.0.1", "169.253.255.255", "169.255.0.0", "100.100.100.201", "fd00:ec2::255", "fec0::1"]
LOOPBACK = ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]


@pytest.mark.parametrize("host", [*LINK_LOCAL, *METADATA.values(), *NOBODY, *SPELLED_ODDLY.values()])
def test_refused_whatever_the_port(host: str) -> None:
    policy = DestinationPolicy()
    assert policy.is_refused(host, box(80))
    assert policy.is_refused(host, box(8080))
    assert policy.is_refused(host, box(80)), "the second time from the cache"


@pytest.mark.parametrize("host", [*ORDINARY, *LOOPBACK])
def test_allowed(host: str) -> None:
    """Loopback too: the table is a file, whose author is on this machine."""
    policy = DestinationPolicy()
    policy.add_own([("127.0.0.1", 8080), ("10.9.9.9", 80)])
    assert not policy.is_refused(host, box(80))


@pytest.mark.parametrize(
    ("listening", "refused", "allowed"),
    [
        ("127.0.0.1", ["127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"], ["127.0.0.2", "::1", "10.0.0.1"]),
        ("::1", ["::1", "0:0:0:0:0:0:0:1"], ["127.0.0.1", "::2"]),
        ("10.0.0.1", ["10.0.0.1", "::ffff:10.0.0.1"], ["127.0.0.1", "10.0.0.2"]),
        ("fd00::1", ["fd00::1", "FD00:0::0:1", "fd00::1%eth0"], ["fd00::2", "::1"]),
        ("0.0.0.0", ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::ffff:127.0.0.1", "0.0.0.0", "::1"], ["10.0.0.1"]),
        ("::", ["::1", "127.0.0.1", "::ffff:127.0.0.1", "::"], ["fd00::1", "10.0.0.1"]),
    ],
)
def test_its_own_listeners(listening: str, refused: list[str], allowed: list[str]) -> None:
    """A wildcard is reached over loopback. What reaches it otherwise is recognised when it arrives (`is_looped`)."""
    policy = DestinationPolicy()
    policy.add_own([(listening, 8080)])
    assert [host for host in refused if not policy.is_refused(host, box(8080))] == []
    assert [host for host in allowed if policy.is_refused(host, box(8080))] == []
    unspecified = ("0.0.0.0", "::")
    assert [host for host in refused if host not in unspecified and policy.is_refused(host, box(8081))] == []


CIDRS = [ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("169.254.0.0/16"), ip_network("0.0.0.0/0")]


def test_an_allow_list() -> None:
    """Nothing outside of it, loopback neither; what is refused always stays so (SPEC 4)."""
    policy = DestinationPolicy(allowed=CIDRS[:2])
    policy.add_own([("10.9.9.9", 80)])
    allowed = ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1", "10.9.9.8"]
    refused = ["11.0.0.1", "127.0.0.1", "::1", "fc00::1", "10.9.9.9", "fd00:ec2::254", "::ffff:11.0.0.1"]
    assert [host for host in allowed if policy.is_refused(host, box(80))] == []
    assert [host for host in refused if not policy.is_refused(host, box(80))] == []


@pytest.mark.parametrize("host", [*LINK_LOCAL, *METADATA.values(), *NOBODY])
def test_an_allow_list_opens_nothing_that_is_refused_always(host: str) -> None:
    assert DestinationPolicy(allowed=CIDRS).is_refused(host, box(80))


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback(host: str) -> None:
    """Only for tables from a file, or where the list names it."""
    assert DestinationPolicy(loopback=False).is_refused(host, box(80))
    listed = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
    assert not DestinationPolicy(allowed=listed, loopback=False).is_refused(host, box(80))


@pytest.mark.parametrize(
    "host", ["64:ff9b::a9fe:a9fe", "64:ff9b::6464:64c8", "2002:a9fe:a9fe::1", "::ffff:169.254.169.254"]
)
def test_an_ipv4_address_within_an_ipv6_one(host: str) -> None:
    assert DestinationPolicy().is_refused(host, box(80))
    assert not DestinationPolicy().is_refused("64:ff9b::a00:1", box(80))


def test_baselines_are_the_operators_own() -> None:
    """One that is this proxy itself is noticed when its connection arrives, and answered with 508 (SPEC 4)."""
    policy = DestinationPolicy([box(80), box(8080)], CIDRS[:1], loopback=False)
    policy.add_own([("127.0.0.1", 8080)])
    assert not policy.is_refused("127.0.0.1", box(80))
    assert not policy.is_refused("169.254.10.1", box(80))
    assert not policy.is_refused("127.0.0.1", box(8080))
    assert policy.is_refused("127.0.0.1", Endpoint("other", 8080))
    assert policy.is_refused("127.0.0.1", box(81))


def test_a_wildcard_listener_by_the_machines_own_address() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("no address but loopback on this machine")
        own = probe.getsockname()[0]
    policy = DestinationPolicy()
    policy.add_own([("0.0.0.0", 8080)])
    assert policy.is_refused(own, box(8080))
    assert not policy.is_refused(own, box(8081))
    assert not policy.is_refused("192.0.2.1", box(8080))


def test_all_of_several_listeners() -> None:
    policy = DestinationPolicy()
    policy.add_own([("127.0.0.1", 8080), ("::1", 8080)])
    policy.add_own([("127.0.0.1", 9090)])
    cases = [("127.0.0.1", 8080), ("::1", 8080), ("127.0.0.1", 9090), ("::1", 9090)]
    assert [policy.is_refused(host, box(port)) for host, port in cases] == [True, True, True, False]


def test_a_listener_that_opens_later_is_known_at_once() -> None:
    policy = DestinationPolicy()
    assert not policy.is_refused("127.0.0.1", box(9090))
    policy.add_own([("127.0.0.1", 9090)])
    assert policy.is_refused("127.0.0.1", box(9090))


def test_many_destinations() -> None:
    """More than the cache holds."""
    policy = DestinationPolicy()
    policy.add_own([("127.0.0.1", 8080)])
    for number in range(10_000):
        assert not policy.is_refused(f"10.0.{number >> 8}.{number & 255}", box(8080))
    assert policy.is_refused("127.0.0.1", box(8080))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:1.2.3.4", True),
        ("localhost", False),
        # Resolvers take these for addresses; so they are resolved, and what comes out is checked.
        ("127.1", False),
        ("2852039166", False),
        ("0xa9fea9fe", False),
        ("0251.0376.0251.0376", False),
        ("169.254.43518", False),
        ("1.2.3.4.", False),
        ("[::1]", False),
        ("", False),
    ],
)
def test_is_address(host: str, expected: bool) -> None:
    assert is_address(host) is expected
