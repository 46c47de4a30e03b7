"""Tokens and roles."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from controller.access import ANYBODY, Identity, TokensFile, read_tokens
from controller.errors import ObjectError
from proxy.reloading import ReloadError
from proxy.routing.names import Workload

TOKEN = "0123456789abcdef"
DIGEST = sha256(TOKEN.encode()).hexdigest()


def faults(text: str) -> list[str]:
    with pytest.raises(ObjectError) as caught:
        read_tokens(text.encode())
    assert TOKEN not in str(caught.value)
    assert DIGEST not in str(caught.value)
    return caught.value.faults


def test_whose_a_token_is() -> None:
    tokens = read_tokens(
        f"- {{name: by-hash, tokenSha256: {DIGEST.upper()}, role: write, namespaces: [a, b]}}\n"
        "- {name: plain, token: another-token-of-mine, role: proxy, workload: ns/Deployment/x}\n".encode()
    )
    assert tokens.identity(TOKEN) == Identity("by-hash", "write", frozenset(["a", "b"]))
    assert tokens.identity("another-token-of-mine") == Identity(
        "plain", "proxy", None, Workload("ns", "Deployment", "x")
    )
    for other in ("", DIGEST, TOKEN + "x", TOKEN[:-1], TOKEN.upper(), "\udcff"):
        assert tokens.identity(other) is None
    assert len(tokens) == 2
    assert len(read_tokens(b"[]")) == 0


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        (f"token: {TOKEN}, role: read", "[0].name"),
        (f"name: A, token: {TOKEN}, role: read", "[0].name"),
        (f"name: a, token: {TOKEN}", "[0].role"),
        (f"name: a, token: {TOKEN}, role: admin", "[0].role"),
        ("name: a, role: read", "[0]"),
        (f"name: a, token: {TOKEN}, tokenSha256: {DIGEST}, role: read", "[0]"),
        ("name: a, token: short, role: read", "[0].token"),
        ("name: a, token: 1234567890123456789, role: read", "[0].token"),
        ("name: a, tokenSha256: abc, role: read", "[0].tokenSha256"),
        (f"name: a, tokenSha256: '{DIGEST}0', role: read", "[0].tokenSha256"),
        (f"name: a, token: {TOKEN}, role: proxy", "[0].workload"),
        (f"name: a, token: {TOKEN}, role: proxy, workload: x", "[0].workload"),
        (f"name: a, token: {TOKEN}, role: read, workload: a/b/c", "[0].workload"),
        (f"name: a, token: {TOKEN}, role: proxy, workload: a/b/c, namespaces: [x]", "[0].namespaces"),
        (f"name: a, token: {TOKEN}, role: router, workload: a/b/c", "[0].workload"),
        (f"name: a, token: {TOKEN}, role: router, namespaces: [x]", "[0].namespaces"),
        (f"name: a, token: {TOKEN}, role: read, namespaces: []", "[0].namespaces"),
        (f"name: a, token: {TOKEN}, role: read, namespaces: ['*']", "[0].namespaces[0]"),
        (f"name: a, token: {TOKEN}, role: read, rolle: read", "[0].rolle"),
    ],
)
def test_each_fault_by_its_path(entry: str, path: str) -> None:
    assert [fault.partition(":")[0] for fault in faults(f"- {{{entry}}}\n")] == [path]


def test_what_is_no_list() -> None:
    for text in ("a: b", "", "- [", "5"):
        assert len(faults(text)) == 1
    assert "must be an object" in faults("- text\n")[0]
    twice = f"- {{name: a, token: {TOKEN}, role: read}}\n- {{name: a, tokenSha256: {DIGEST}, role: write}}\n"
    assert len(faults(twice)) == 2  # the token, and the name


def test_what_roles_are_for() -> None:
    may = {
        (role, asked)
        for role in ("read", "write", "proxy", "router")
        for asked in ("read", "write", "proxy")
        if Identity("x", role).may(asked)
    }
    assert may == {
        ("read", "read"),
        ("write", "write"),
        ("write", "read"),
        ("proxy", "proxy"),
        ("router", "proxy"),  # the feed's page; `may_attach` tells them apart
    }
    assert ANYBODY.sees("any")
    assert not Identity("x", "read", frozenset(["a"])).sees("b")


def test_whose_feed_a_token_is_good_for() -> None:
    here, there = Workload("ns", "Deployment", "here"), Workload("ns", "Deployment", "there")
    may = {
        (who.name, where)
        for who in (
            Identity("proxy", "proxy", None, here),
            Identity("router", "router"),
            Identity("reader", "read"),
            Identity("writer", "write"),
        )
        for where in (here, there, None)
        if who.may_attach(where)
    }
    assert may == {("proxy", here), ("router", None)}
    assert ANYBODY.may_attach(here)
    assert ANYBODY.may_attach(None)
    tokens = read_tokens(f"- {{name: mesh, token: {TOKEN}, role: router}}".encode())
    assert tokens.identity(TOKEN) == Identity("mesh", "router")


def test_a_file_that_is_broken_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"- {{name: a, token: {TOKEN}, role: read}}\n")
    tokens = TokensFile(str(path))
    tokens.load()
    for break_it in (lambda: path.write_text("- x"), path.unlink):
        break_it()
        with pytest.raises(ReloadError):
            tokens.load()
        assert tokens.identity(TOKEN) is not None
