"""Which admin pages there are, and who may ask for them.

A browser on the same machine can reach loopback too, so a page of the web must not be able to drain a sidecar: requests
that a browser marks as coming from elsewhere (`Origin`) are refused, and so is a Host that is a name (DNS rebinding),
unless a token comes with it, which no page of the web has.

With a token configured (`proxy.admintokens`), and so always beyond loopback, `/table`, `/explain`, `/probe` and
`/drain` ask for it. The other pages never do: they change nothing, hold no key, and kubelet, which asks, has none.

The same pages are `--health-listen`'s (`health`), for kubelet and Prometheus: there they may be asked for under any
name, since there is nothing else that a web page could do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from typing import Final

from proxy.admintokens import AdminTokens
from proxy.codec.events import RequestHead
from proxy.net.http_server import Answer, Handler

_OPEN: Final = ("/livez", "/readyz", "/metrics")
_GETS: Final = (*_OPEN, "/table")
_POSTS: Final = ("/explain", "/probe", "/drain")
_PAGES: Final = "pages: /livez /readyz /metrics /table, POST a request head to /explain, POST /probe, POST /drain\n"
DRAINING: Final = Answer(202, b"draining\n")
_NEEDS_TOKEN: Final = Answer(
    401,
    b"this page needs Authorization: Bearer, with a token of --admin-token-file\n",
    fields=(b'WWW-Authenticate: Bearer realm="pointsman"',),
)


def path_and_query(head: RequestHead) -> tuple[str, str]:
    path, _, query = head.target.decode("ascii").partition("?")
    return path, query


def refusal(head: RequestHead, tokens: AdminTokens | None) -> Answer | None:
    """None: there is such a page, and it may be asked for like this."""
    path, _ = path_and_query(head)
    has_token = tokens is not None and tokens.are_shown_by(head)
    if _is_of_a_page(head) or not (has_token or _is_plain_host(head)):
        return Answer(403, b"refused: a request of a web page, or for another host than this one\n")
    refused = _wrong(head, path, _GETS, _POSTS, _PAGES)
    if refused is None and tokens is not None and not has_token and path not in _OPEN:
        return _NEEDS_TOKEN
    return refused


def _wrong(head: RequestHead, path: str, gets: Collection[str], posts: Collection[str], pages: str) -> Answer | None:
    if path in posts:
        return None if head.method == b"POST" else Answer(405, f"{path} takes POST\n".encode())
    if path in gets:
        return None if head.method in (b"GET", b"HEAD") else Answer(405, f"{path} takes GET\n".encode())
    return Answer(404, pages.encode())


def health(page: Handler) -> Handler:
    """The pages of `--health-listen`. `page` answers what is not refused."""

    def answer(head: RequestHead, body: bytes) -> Answer | Awaitable[Answer]:
        path, _ = path_and_query(head)
        return _wrong(head, path, _OPEN, (), "pages: /livez /readyz /metrics\n") or page(head, body)

    return answer


def readiness(why_not: str | None) -> Answer:
    return Answer(200, b"ok\n") if why_not is None else Answer(503, f"not ready: {why_not}\n".encode())


def field(head: RequestHead, name: bytes) -> bytes:
    """The first value of a field; `name` in lower case."""
    for line in head.lines[1:]:
        spelled, _, value = line.partition(b":")
        if spelled.lower() == name:
            return value.strip(b" \t")
    return b""


def _is_of_a_page(head: RequestHead) -> bool:
    return bool(field(head, b"origin")) or field(head, b"sec-fetch-site") not in (b"", b"none", b"same-origin")


def _is_plain_host(head: RequestHead) -> bool:
    """Whether the host is an address, localhost, or none at all."""
    host = head.host.lower()
    name = host.partition(b"]")[0] if host.startswith(b"[") else host.partition(b":")[0]
    return name == b"localhost" or name.strip(b"[0123456789abcdef.:") == b""
