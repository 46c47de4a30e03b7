from __future__ import annotations

from ipaddress import ip_network

import pytest

from proxy.identity import Identities, Peers
from proxy.routing.callers import Callers
from tests.support.exchange import request_head

WEB = Callers(["cluster.local/ns/hotrod/sa/web"])
NAMED = "X-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/hotrod/sa/web"
NETWORKS = (ip_network("127.0.0.6/32"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        (b"127.0.0.6", True),
        (b"::ffff:127.0.0.6", True),
        (b"fd00::1", True),
        (b"fd00::1%eth0", True),
        (b"127.0.0.1", False),
        (b"10.0.0.1", False),
        (b"fe80::1", False),
        (b"unknown", False),
    ],
)
def test_who_is_believed(peer: bytes, may: bool) -> None:
    identities = Identities(NETWORKS)
    for _ in range(2):  # also from memory
        assert identities.may_call(WEB, request_head(NAMED), peer) is may


def test_nobody_is_believed_by_default() -> None:
    assert not Identities().may_call(WEB, request_head(NAMED), b"127.0.0.1")


def test_a_caller_whom_nobody_names() -> None:
    assert not Identities(NETWORKS).may_call(WEB, request_head(), b"127.0.0.6")
    assert not Identities(NETWORKS).may_call(Callers(["*"]), request_head(), b"127.0.0.6")


def test_many_peers_are_remembered_within_bounds() -> None:
    peers = Peers(NETWORKS)
    for number in range(10_000):
        assert not peers.include(b"10.0.%d.%d" % divmod(number, 256))
    assert len(peers._known) < 5000
