"""Which admin pages there are, and who may ask for them.

On loopback only. A browser on the same machine can reach loopback too, so a page of the web must not be able to drain a
sidecar: requests that a browser marks as coming from elsewhere (`Origin`) are refused, and so is a Host that is a name
(DNS rebinding).
"""

from __future__ import annotations

from typing import Final

from proxy.codec.events import RequestHead
from proxy.net.http_server import Answer

_GETS: Final = ("/livez", "/readyz", "/metrics", "/table")
_POSTS: Final = ("/explain", "/drain")
_PAGES: Final = "pages: /livez /readyz /metrics /table, POST a request head to /explain, POST /drain\n"
DRAINING: Final = Answer(202, b"draining\n")


def path_and_query(head: RequestHead) -> tuple[str, str]:
    path, _, query = head.target.decode("ascii").partition("?")
    return path, query


def refusal(head: RequestHead) -> Answer | None:
    """None: there is such a page, and it may be asked for like this."""
    path, _ = path_and_query(head)
    if _is_foreign(head):
        return Answer(403, b"refused: a request of a web page, or for another host than this one\n")
    if path in _POSTS:
        return None if head.method == b"POST" else Answer(405, f"{path} takes POST\n".encode())
    if path in _GETS:
        return None if head.method in (b"GET", b"HEAD") else Answer(405, f"{path} takes GET\n".encode())
    return Answer(404, _PAGES.encode())


def readiness(why_not: str | None) -> Answer:
    return Answer(200, b"ok\n") if why_not is None else Answer(503, f"not ready: {why_not}\n".encode())


def field(head: RequestHead, name: bytes) -> bytes:
    """The first value of a field; `name` in lower case."""
    for line in head.lines[1:]:
        spelled, _, value = line.partition(b":")
        if spelled.lower() == name:
            return value.strip(b" \t")
    return b""


def _is_foreign(head: RequestHead) -> bool:
    if field(head, b"origin") or field(head, b"sec-fetch-site") not in (b"", b"none", b"same-origin"):
        return True
    host = head.host.lower()
    name = host.partition(b"]")[0] if host.startswith(b"[") else host.partition(b":")[0]
    return bool(name) and name != b"localhost" and name.strip(b"[0123456789abcdef.:") != b""
