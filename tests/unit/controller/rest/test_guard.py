"""Requests that browsers make for others."""

from __future__ import annotations

import pytest

from controller.rest.guard import foreign


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:16030", "[::1]", "[::1]:1", "localhost", "LocalHost:80", "10.0.0.1"]
)
def test_own_hosts(host: str) -> None:
    assert foreign({"Host": host}, "http") is None
    assert foreign({"Host": host, "Sec-Fetch-Site": "same-origin"}, "http") is None


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1:80:80", "[::1", "::1"),
        *("[::1]x", "127.0.0.1:x", "0x7f000001", "localhost:", "[evil.example]:80"),
    ],
)
def test_others(host: str) -> None:
    if host != "localhost:":  # an empty port is none
        assert foreign({"Host": host}, "http") is not None
    assert foreign({}, "http") is not None


@pytest.mark.parametrize("site", ["cross-site", "same-site", ""])
def test_what_browsers_say(site: str) -> None:
    assert "Sec-Fetch-Site" in str(foreign({"Host": "localhost", "Sec-Fetch-Site": site}, "http"))


@pytest.mark.parametrize("host", ["127.0.0.1:16030", "[::1]:16030", "localhost:16030", "localhost"])
def test_the_page_that_is_ours(host: str) -> None:
    assert foreign({"Host": host, "Origin": f"http://{host}"}, "http") is None
    assert foreign({"Host": host, "Origin": f"https://{host}", "Sec-Fetch-Site": "same-origin"}, "https") is None


@pytest.mark.parametrize(
    ("origin", "why"),
    [
        ("https://127.0.0.1:16030", "another scheme"),
        ("http://127.0.0.1:16031", "another port: a page of another program on this machine"),
        ("http://127.0.0.1", "the port left out is another one"),
        ("http://localhost:16030", "another name for the same machine is another origin"),
        ("http://127.0.0.1:16030.evil.example", ""),
        ("http://127.0.0.1:16030/", "an origin has no path"),
        ("null", ""),
        ("", ""),
        ("https://evil.example", ""),
    ],
)
def test_pages_that_are_not(origin: str, why: str) -> None:
    assert "Origin" in str(foreign({"Host": "127.0.0.1:16030", "Origin": origin}, "http"))


def test_a_name_that_points_here_is_no_origin_of_ours() -> None:
    """DNS rebinding: for the browser all of it is one site."""
    found = foreign(
        {"Host": "evil.example:16030", "Origin": "http://evil.example:16030", "Sec-Fetch-Site": "same-origin"}, "http"
    )
    assert "host" in str(found)
