from __future__ import annotations

from pathlib import Path

import pytest

from proxy.admintokens import AdminTokens
from proxy.codec.events import RequestHead
from proxy.reloading import ReloadError

TOKEN = "a-token-of-the-team"
OTHER = "another-token-of-it"


def head(*authorizations: str) -> RequestHead:
    lines = [f"Authorization:{value}".encode() for value in authorizations]
    return RequestHead(b"GET", b"/table", [b"GET /table HTTP/1.1", b"Host: localhost", *lines], False)


@pytest.fixture
def tokens(tmp_path: Path) -> AdminTokens:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\n{OTHER}\n")
    return AdminTokens(str(path), "--admin-token-file")


@pytest.mark.parametrize(
    "value", [f"Bearer {TOKEN}", f" Bearer {OTHER}", f" bearer {TOKEN} ", f"BEARER  {TOKEN}", f"\tBearer \t{TOKEN}\t"]
)
def test_shown(tokens: AdminTokens, value: str) -> None:
    assert tokens.are_shown_by(head(value))
    assert tokens.are_shown_by(head("Basic YTpi", value))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN} {TOKEN}",
        f"Bearer {TOKEN},{OTHER}",
    ],
)
def test_not_shown(tokens: AdminTokens, value: str) -> None:
    assert not tokens.are_shown_by(head(value))
    assert not tokens.are_shown_by(head())


def test_a_token_is_replaced(tokens: AdminTokens, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"{OTHER}\n# and no more\n")
    tokens.reloading.look()
    assert tokens.are_shown_by(head(f"Bearer {TOKEN}")), "not before the file stands still"
    tokens.reloading.look()
    assert not tokens.are_shown_by(head(f"Bearer {TOKEN}"))
    assert tokens.are_shown_by(head(f"Bearer {OTHER}"))


@pytest.mark.parametrize(("content", "fault"), [("# none\n", "holds no token"), ("short\n", "line 1: ")])
def test_a_bad_file(tokens: AdminTokens, tmp_path: Path, content: str, fault: str) -> None:
    """At the start it is refused, later the tokens before it stay."""
    path = tmp_path / "tokens"
    path.write_text(content)
    with pytest.raises(ReloadError, match=fault) as caught:
        AdminTokens(str(path), "--admin-token-file")
    assert str(caught.value).startswith(f"--admin-token-file: {path}: ")
    tokens.reloading.look()
    tokens.reloading.look()
    assert tokens.reloading.fault is not None
    assert tokens.are_shown_by(head(f"Bearer {TOKEN}"))
