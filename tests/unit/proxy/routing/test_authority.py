from __future__ import annotations

import pytest

from proxy.routing.authority import host_name, named, split_authority


@pytest.mark.parametrize(
    ("authority", "parts"),
    [
        (b"location", (b"location", None)),
        (b"LOCATION.Hotrod", (b"location.hotrod", None)),
        (b"location.hotrod.", (b"location.hotrod", None)),
        (b"Location.:8081", (b"location", 8081)),
        (b"location..", None),  # an empty label (RFC 1034 section 3.1)
        (b"location..:80", None),
        (b".", None),
        (b"location:", (b"location", None)),
        (b"location:080", (b"location", 80)),
        (b"location:65535", (b"location", 65535)),
        (b"location:65536", None),
        (b"location:0", None),
        (b"location:000", None),
        (b"location:123456789", None),
        (b"location:8o", None),
        (b"location:+80", None),
        (b"location:80:81", None),
        (b"10.0.0.1:80", (b"10.0.0.1", 80)),
        (b"[::1]", (b"::1", None)),
        (b"[0:0:0:0:0:0:0:1]:80", (b"::1", 80)),
        (b"[2001:DB8::A]", (b"2001:db8::a", None)),
        (b"[::1]80", None),
        (b"[::1", None),
        (b"[location]", None),
        (b"::1", None),
        (b"", None),
        (b":80", None),
        (b"a:1,b:2", None),  # a gRPC client that names several
    ],
)
def test_split(authority: bytes, parts: tuple[bytes, int | None] | None) -> None:
    assert split_authority(authority) == parts


@pytest.mark.parametrize(("name", "port"), [(b"location", None), (b"location", 80), (b"::1", None), (b"::1", 8081)])
def test_what_is_named_is_split_into_the_same(name: bytes, port: int | None) -> None:
    assert split_authority(named(name, port)) == (name, port)


def test_no_address_after_all() -> None:
    assert host_name(b"A:z") == b"a:z"
    assert split_authority(b"[A:z]") == (b"a:z", None)
