"""What a preview's host names."""

from __future__ import annotations

import pytest

from proxy.routing.authority import split_authority
from proxy.routing.names import Endpoint
from proxy.routing.previews import PreviewHosts, authority_of
from proxy.routing.table import Preview

WEB, API, OLD, OTHER = (Endpoint(host, 80) for host in ("web", "api", "old", "other"))
HOSTS = PreviewHosts(
    [
        Preview("preview.example", "web", WEB),
        Preview("preview.example", "api-v2", API),
        Preview("preview.example", "web", OLD, "pr-1"),
        Preview("preview.example", "xn", OTHER),
        Preview("p.other.example", "web", OTHER, "pr-1"),
    ]
)


@pytest.mark.parametrize(
    ("host", "key", "upstream"),
    [
        ("web--k.preview.example", "k", WEB),
        ("web--pr-1.preview.example", "pr-1", OLD),
        ("web--pr-1.p.other.example", "pr-1", OTHER),
        ("web--pr-2.p.other.example", "pr-2", None),
        ("api-v2--pr--1.preview.example", "pr--1", API),  # split at the first
        ("WEB--K.Preview.Example", "k", WEB),
        ("web--k.preview.example.", "k", WEB),
        ("web--k.preview.example:8443", "k", WEB),
        ("web--k.preview.example.:80", "k", WEB),
        ("no--k.preview.example", "k", None),
        ("--k.preview.example", "k", None),
        (f"web--{'k' * 58}.preview.example", "k" * 58, WEB),
        (f"web--{'k' * 59}.preview.example", "", None),  # a label of 64
        ("web.preview.example", "", None),
        ("web-k.preview.example", "", None),
        ("web--.preview.example", "", None),
        ("web---k.preview.example", "", None),
        ("web--k-.preview.example", "", None),
        ("web--k_1.preview.example", "", None),
        ("web--k%2e.preview.example", "", None),
        ("xn--k.preview.example", "", None),
        (".preview.example", "", None),
    ],
)
def test_below_a_domain(host: str, key: str, upstream: Endpoint | None) -> None:
    found = HOSTS.find(host.encode())
    assert found is not None
    assert (found.key, found.upstream) == (key.encode(), upstream)
    assert HOSTS.stands_below(host.encode())


@pytest.mark.parametrize(
    "host",
    [
        "",
        "web",
        "preview.example",
        "a.web--k.preview.example",
        "web--k.preview.example..",
        "web--k.preview.example:x",
        "web--k.preview.example.evil.test",
        "web--k.xpreview.example",
        "[::1]:80",
        "web--k.preview.example,other",
    ],
)
def test_another_host(host: str) -> None:
    assert HOSTS.find(host.encode()) is None
    if split_authority(host.encode()) is not None:
        assert not HOSTS.stands_below(host.encode())


def test_relatives() -> None:
    of = HOSTS.are_relatives
    assert of(b"web--k.preview.example", b"API-v2--K.preview.example:8080")
    assert of(b"web--k.preview.example", b"unknown--k.preview.example")
    assert not of(b"web--k.preview.example", b"web--other.preview.example")
    assert not of(b"web--pr-1.preview.example", b"web--pr-1.p.other.example")
    assert not of(b"web.preview.example", b"web.preview.example")
    assert not of(b"evil.test", b"evil.test")


def test_none() -> None:
    assert not PreviewHosts([])
    assert HOSTS


@pytest.mark.parametrize(
    ("upstream", "authority"),
    [(Endpoint("web", 80), b"web"), (Endpoint("web", 81), b"web:81"), (Endpoint("::1", 80), b"[::1]")],
)
def test_the_upstreams_authority(upstream: Endpoint, authority: bytes) -> None:
    assert authority_of(upstream) == authority
