"""Answers of the gateway's own, each as the upstream of one exchange (`sides.Upstream`): 401, and the login form.

So an exchange streams a posted form to the gateway as it would to any upstream, and counts the answer the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy import errors
from proxy.answers import own_head
from proxy.codec.events import END, End, RequestHead, ResponseHead
from proxy.errors import Reason
from proxy.preview.credentials import Credentials
from proxy.preview.login import MAX_FORM_BYTES, PAGE_LINES, is_from_here, page, read_form, wants_page
from proxy.routing.names import Endpoint
from proxy.routing.previews import bare_host

if TYPE_CHECKING:
    from proxy.exchange import Exchange

_NOWHERE: Final = Endpoint("preview", 0)  # never connected to
_CHALLENGE: Final = b'WWW-Authenticate: Bearer realm="pointsman preview"'
_NOT_KEPT: Final = b"Cache-Control: no-store"


class Page:
    """An answer that waits for nothing: 401, with the form for a browser."""

    __slots__ = ("_credentials", "active_at_s", "endpoint", "is_reused")

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self.endpoint = _NOWHERE
        self.is_reused = False
        self.active_at_s = 0.0

    def send_head(self, head: RequestHead, exchange: Exchange) -> None:
        reason = errors.PREVIEW_NOT_AUTHENTICATED
        if self._credentials.tokens is not None and wants_page(head):
            to = head.target.decode("ascii") if head.method in (b"GET", b"HEAD") else "/"
            _answer(exchange, _form(401, page(to), reason), page(to))
        else:
            body = f"pointsman: {reason}: {reason.text}\n".encode()
            answer = own_head(401, reason, reason.name, body)
            answer.lines += (_CHALLENGE, _NOT_KEPT)
            _answer(exchange, answer, body)

    def send_body(self, data: bytes) -> None:
        """Of a request that was answered already."""

    def send_end(self, end: End) -> None:
        """The same."""

    def cancel(self) -> None:
        """Nothing is under way."""

    def pause_reading(self) -> None:
        """An answer is small, and said at once."""

    def resume_reading(self) -> None:
        """The same."""


class LoginPage(Page):
    """The form's own page, and what becomes of a form that was posted to it."""

    __slots__ = ("_body", "_exchange", "_head", "_host", "_is_answered", "_scheme")

    def __init__(self, credentials: Credentials, host: bytes, scheme: bytes) -> None:
        super().__init__(credentials)
        self._host = host
        self._scheme = scheme
        self._body = b""
        self._is_answered = False

    def send_head(self, head: RequestHead, exchange: Exchange) -> None:
        self._head = head
        self._exchange = exchange
        if head.method == b"POST":
            if exchange.request_ended:
                self.send_end(END)
            return
        self._is_answered = True
        if head.method in (b"GET", b"HEAD"):
            _answer(exchange, _form(200, page("/")), page("/"))
        else:
            self._refuse(405, errors.METHOD_NOT_ALLOWED, "the login form is posted", b"Allow: GET, HEAD, POST")

    def send_body(self, data: bytes) -> None:
        if self._is_answered:
            return
        if len(self._body) + len(data) > MAX_FORM_BYTES:
            self._is_answered = True
            self._body = b""
            self._refuse(413, errors.BAD_REQUEST, f"a form of more than {MAX_FORM_BYTES} bytes")
        else:
            self._body += data

    def send_end(self, end: End) -> None:
        if self._is_answered:
            return
        self._is_answered = True
        if not is_from_here(self._head, self._scheme, self._host):
            self._refuse(403, errors.PREVIEW_ORIGIN, "posted from another page")
            return
        form = read_form(self._head, self._body)
        if form is None:
            self._refuse(400, errors.BAD_REQUEST, "this is not what the login form posts")
            return
        token, to = form
        cookie = self._credentials.session(token, bare_host(self._host))
        if cookie is None:
            body = page(to, has_failed=True)
            _answer(self._exchange, _form(401, body, errors.PREVIEW_NOT_AUTHENTICATED), body)
            return
        lines = [
            b"HTTP/1.1 303 See Other",
            b"Content-Length: 0",
            b"Location: " + to.encode("ascii"),
            b"Set-Cookie: " + cookie,
            _NOT_KEPT,
        ]
        _answer(self._exchange, ResponseHead(303, lines, 0, True), b"")

    def _refuse(self, status: int, reason: Reason, text: str, *lines: bytes) -> None:
        body = f"pointsman: {reason}: {text}\n".encode()
        head = own_head(status, reason, reason.name, body)
        head.lines += (*lines, _NOT_KEPT)
        _answer(self._exchange, head, body)


def _form(status: int, body: bytes, reason: Reason | None = None) -> ResponseHead:
    """The head of a page with the form; `reason`: why it is shown in place of something else."""
    if reason is None:
        lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *PAGE_LINES]
        return ResponseHead(status, lines, len(body), True)
    head = own_head(status, reason, reason.name, body)
    head.lines = [line for line in head.lines if not line.startswith(b"Content-Type:")]
    head.lines += (*PAGE_LINES, _CHALLENGE)
    return head


def _answer(exchange: Exchange, head: ResponseHead, body: bytes) -> None:
    exchange.response_head(head)
    if body and exchange.head.method != b"HEAD":
        exchange.response_body(body)
    exchange.response_end(END)
