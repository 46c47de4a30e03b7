"""The client's transport, against a server that says what a script tells it to: errors, connections, streams, tokens.

What a real controller says is tested in `test_cli.py`.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from pointsman.cli.exits import code_of
from pointsman.client import Answer, ApiError, Client, Unreachable, path_of
from tests.support.origin import Origin, RawOrigin, Server, says
from tests.support.origin import running as running_servers

S = TypeVar("S", bound=Server)

JSON = ("Content-Type", "application/json")
PROBLEM = ("Content-Type", "application/problem+json")


@contextmanager
def running(server: S) -> Iterator[S]:
    with running_servers(server):
        yield server


def answering(status: int, *headers: tuple[str, str], body: object = None) -> Origin:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Origin("controller", lambda received: (status, list(headers), raw))


def client(origin: Origin | RawOrigin, path: str = "", **options: str) -> Client:
    return Client(f"http://127.0.0.1:{origin.port}{path}", **options)


def get(origin: Origin | RawOrigin, **options: float) -> Answer:
    with client(origin) as api:
        return api.call("GET", "/", **options)  # type: ignore[arg-type]


class TestRequests:
    def test_what_is_sent(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("first\n")
        with running(answering(200, JSON, body={"a": 1})) as origin:
            api = client(origin, "/base/", token_file=str(tmp_path / "token"))
            answer = api.call("PUT", path_of("api", "a/b c"), {"x": "ü"}, query={"dryRun": "All"})
            (tmp_path / "token").write_text("second")
            api.call("GET", "/y")
            api.close()
        assert (answer.status, answer.document) == (200, {"a": 1})
        put, get = origin.requests
        assert (put.method, put.target) == (b"PUT", b"/base/api/a%2Fb%20c?dryRun=All")
        assert json.loads(put.body) == {"x": "ü"}
        assert put.values(b"content-type") == [b"application/json"]
        assert put.values(b"authorization") == [b"Bearer first"]
        assert get.values(b"authorization") == [b"Bearer second"]
        assert origin.connections == 1

    def test_a_kept_connection_that_was_closed_is_opened_again(self) -> None:
        with running(answering(200, JSON, body=[])) as origin:
            api = client(origin)
            api.call("GET", "/")
            origin.drop_connections()
            api.call("GET", "/")
            assert origin.connections == 2
            origin.drop_connections()
            with pytest.raises(Unreachable):
                api.call("POST", "/", {})  # may have been done: not ours to do twice
            api.close()
        assert [received.method for received in origin.requests] == [b"GET", b"GET"]

    def test_a_new_connection_that_is_closed_is_no_controller(self) -> None:
        with running(RawOrigin(says(b""))) as origin, pytest.raises(Unreachable, match="closed connection without"):
            get(origin)
        assert origin.connections == 1

    def test_nothing_listens(self) -> None:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{holder.getsockname()[1]}"
            with pytest.raises(Unreachable, match="can't be reached: Connection refused"):
                Client(url).call("GET", "/")

    def test_no_answer_in_time(self) -> None:
        with (
            running(RawOrigin(says(b"", then="wait"))) as origin,
            pytest.raises(Unreachable, match="no answer in time"),
        ):
            get(origin, timeout_s=0.05)

    @pytest.mark.parametrize("token", ["", "two tokens", "a\nb", "ü"])
    def test_a_token_that_is_none_is_not_sent(self, tmp_path: Path, token: str) -> None:
        path = tmp_path / "token"
        path.write_text(token, encoding="utf-8")
        with running(answering(200, JSON, body={})) as origin:
            for file in (path, tmp_path / "missing"):
                with pytest.raises(Unreachable, match=str(file)) as refused:
                    client(origin, token_file=str(file)).call("GET", "/")
                assert token.strip() == "" or token not in str(refused.value)
        assert origin.requests == []


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code"),
        [(400, 2), (401, 7), (403, 7), (404, 6), (409, 5), (412, 5), (413, 2), (415, 2), (422, 2), (429, 1), (500, 1)],
    )
    def test_problems(self, status: int, code: int) -> None:
        problem = {"title": "No", "status": status, "detail": "not so", "faults": ["spec.a: no", "spec.b: no"]}
        with running(answering(status, PROBLEM, body=problem)) as origin, pytest.raises(ApiError) as refused:
            get(origin)
        assert (refused.value.status, refused.value.detail) == (status, "not so")
        assert refused.value.faults == ("spec.a: no", "spec.b: no")
        assert str(refused.value) == f"not so: spec.a: no; spec.b: no ({status})"
        assert code_of(refused.value) == code

    def test_a_problem_that_says_little(self) -> None:
        with running(answering(404, PROBLEM, body={"faults": "x"})) as origin, pytest.raises(ApiError) as refused:
            get(origin)
        assert str(refused.value) == "Not Found (404)"

    @pytest.mark.parametrize(
        ("status", "headers", "body"),
        [
            (404, ("Content-Type", "text/html"), b"<h1>Not Found</h1>"),
            (404, JSON, {"detail": "Not Found"}),
            (302, ("Location", "http://127.0.0.1:1/"), b""),
            (200, ("Content-Type", "text/html"), b"hello"),
            (200, JSON, b"{"),
            (502, PROBLEM, b"<html>"),
            (500, PROBLEM, []),
        ],
    )
    def test_what_no_controller_says(self, status: int, headers: tuple[str, str], body: object) -> None:
        """A proxy's or another server's answer is not taken for one: its 404 does not mean that an object is gone."""
        with running(answering(status, headers, body=body)) as origin, pytest.raises(Unreachable) as refused:
            get(origin)
        assert f"answered {status}" in str(refused.value)
        assert code_of(refused.value) == 1


def streaming(*pieces: bytes) -> RawOrigin:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/jsonl\r\nTransfer-Encoding: chunked\r\n\r\n"
    return RawOrigin(says(head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces), then="wait"))


class TestLines:
    def test_lines_come_as_they_are_said(self) -> None:
        with running(streaming(b'{"a"', b": 1}\n\n{", b"}\n")) as origin:
            found = client(origin).lines("/", silence_s=5)
            assert [next(found) for _ in range(3)] == [b'{"a": 1}\n', b"\n", b"{}\n"]
            found.close()  # type: ignore[attr-defined]

    def test_silence(self) -> None:
        with running(streaming(b"{}\n")) as origin:
            found = client(origin).lines("/", silence_s=0.05)
            next(found)
            with pytest.raises(Unreachable, match="no answer in time"):
                next(found)

    def test_another_thread_ends_it(self) -> None:
        with running(streaming(b"{}\n")) as origin:
            api = client(origin)
            found = api.lines("/", silence_s=30)
            next(found)
            api.shut()
            with pytest.raises(Unreachable):
                next(found)

    def test_an_error_in_place_of_lines(self) -> None:
        with running(answering(403, PROBLEM, body={"title": "No"})) as origin, pytest.raises(ApiError, match="No"):
            next(client(origin).lines("/", silence_s=5))


class TestStart:
    """A command that lists is called by people and in loops, so it must not import what it does not use."""

    def modules(self) -> set[str]:
        with running(answering(200, JSON, body={"items": []})) as origin:
            code = (
                "import sys; from pointsman.__main__ import main;"
                f"code = main(['sandbox', 'list', '--controller', 'http://127.0.0.1:{origin.port}']);"
                "print(*sorted(sys.modules)); sys.exit(code)"
            )
            found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert found.returncode == 0, found.stderr
        return set(found.stdout.split())

    def test_what_it_imports(self) -> None:
        modules = self.modules()
        assert "pointsman.client" in modules
        heavy = {
            "aiohttp",
            "asyncio",
            "yaml",
            "uvloop",
            "argparse",
            "controller.schema",
            "proxy.exchange",
            "proxy.flags",
        }
        assert modules & heavy == set()
