from __future__ import annotations

import subprocess
import sys

import pytest

from pointsman.adminclient import admin_url


@pytest.mark.parametrize("url", ["http://127.0.0.1:16020", "http://localhost", "http://[::1]:1/"])
def test_an_address(url: str) -> None:
    assert admin_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:16020", "https://a", "http://", "http://a:x", "http://a:0", "http://a/x", "http://a?x", "http://b:c@a"],
)
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="must be http://HOST:PORT"):
        admin_url(url)


def test_explain_starts_without_an_event_loop() -> None:
    """It costs 30 ms, and nobody waits here."""
    code = "import sys, pointsman.explain; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
