"""No two requests alike, whichever generator renders them, and both render the same form."""

import contextlib
import re
import shutil
import socketserver
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.heads import TAGGED, UNTAGGED, Heads, parse_templates, sandbox_keys, templates_text

KEYS = sandbox_keys(5)
WRK_SCRIPT = Path(__file__).parents[3] / "benchmarks" / "wrk.lua"


def _fields(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def _rendered(templates: tuple[str, ...], count: int) -> list[bytes]:
    heads = Heads(templates, KEYS, seed=1)
    return [heads.next() for _ in range(count)]


def test_templates_survive_the_file_that_carries_them_to_generators() -> None:
    assert parse_templates(templates_text(TAGGED)) == list(TAGGED)


@pytest.mark.parametrize("templates", [TAGGED, UNTAGGED])
def test_every_traceparent_and_baggage_value_is_its_own(templates: tuple[str, ...]) -> None:
    heads = _rendered(templates, 5000)
    for name in (b"traceparent", b"baggage", b"X-Request-Id"):
        assert len({dict(_fields(head))[name] for head in heads}) == len(heads)


def test_heads_are_requests_of_about_eight_fields() -> None:
    for head in _rendered(TAGGED, 8):
        assert head.startswith(b"GET /")
        assert head.index(b"\r\n\r\n") == len(head) - 4
        assert 7 <= len(_fields(head)) <= 9
        assert b"{" not in head
        assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01", dict(_fields(head))[b"traceparent"])


def test_only_tagged_requests_carry_a_key() -> None:
    assert all(b"sd-routing-key" not in head for head in _rendered(UNTAGGED, 100))
    for head in _rendered(TAGGED, 100):
        [key] = set(re.findall(rb"sd-routing-key=(\w+)", head))
        assert key.decode() in KEYS


def test_keys_are_drawn_evenly() -> None:
    drawn = Counter(re.findall(rb"sd-routing-key=(\w+)", head)[0] for head in _rendered(TAGGED, 5000))
    assert len(drawn) == len(KEYS)
    assert all(800 < count < 1200 for count in drawn.values())


def test_sandbox_keys_are_distinct_and_the_same_in_every_run() -> None:
    keys = sandbox_keys(1000)
    assert len(set(keys)) == 1000
    assert keys == sandbox_keys(1000)
    assert all(re.fullmatch("[a-z0-9]{13}", key) for key in keys)


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_wrk_sends_the_same_form(tmp_path: Path) -> None:
    (tmp_path / "heads").write_text(templates_text(TAGGED))
    (tmp_path / "keys").write_text("\n".join(KEYS))
    with _Recording() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        arguments = [str(tmp_path / "heads"), str(tmp_path / "keys"), "7"]
        command = ["wrk", "-t1", "-c1", "-d1s", "-s", str(WRK_SCRIPT), url, "--", *arguments]
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        server.shutdown()
    assert '"failed": 0, "refused": 0' in output
    assert len(server.heads) > 100
    assert {_form(head) for head in server.heads} == {_form(head) for head in _rendered(TAGGED, 8)}
    for name in (b"traceparent", b"baggage"):
        assert len({dict(_fields(head))[name] for head in server.heads}) == len(server.heads)


def _form(head: bytes) -> bytes:
    """A head without what differs from request to request."""
    for key in KEYS:
        head = head.replace(key.encode(), b"KEY")
    return re.sub(rb"[0-9a-f]{8,}|\d+", b"N", head)


class _Recording(socketserver.ThreadingTCPServer):
    """Answers every request and keeps its head. wrk connects once before it starts, only to see that it can."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.heads: list[bytes] = []


class _Connection(socketserver.StreamRequestHandler):
    server: _Recording

    def handle(self) -> None:
        head = b""
        with contextlib.suppress(OSError):  # wrk leaves in the middle of an answer
            while line := self.rfile.readline():
                head += line
                if line == b"\r\n":
                    self.server.heads.append(head)
                    head = b""
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
