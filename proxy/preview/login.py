"""The login form: how a browser, which cannot send `Authorization` by itself, gets its session cookie.

The form is the body of the 401 that a browser gets, and of a page of its own (`PATH`, on every preview's host). It is
posted to `PATH`; a token that is one sets the cookie and leads back to where the visitor wanted to go.

- A token never stands in a URL: the form is posted, its answer is never cached, and is no page that could leak it.
- No open redirect: it leads to a path of this host or to `/` (`local_path`).
- Posted from another page (`is_from_here`), it is refused: nobody is logged in unknowingly.
- The form's page runs no script, loads nothing, and stands in no frame.
"""

from __future__ import annotations

import html
import re
from base64 import b64encode
from hashlib import sha256
from typing import Final

from proxy.codec.edits import values_of
from proxy.codec.events import RequestHead

PATH: Final = b"/.well-known/pointsman/preview"
MAX_FORM_BYTES: Final = 16384
_MAX_FIELDS: Final = 10
_FORM_TYPE: Final = b"application/x-www-form-urlencoded"

# A path of this host. A second slash, or a backslash, which browsers take for one, would begin another host's name, and
# controls, which they leave out, could hide either (WHATWG URL, "path or authority state").
_LOCAL: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto;padding:0 1rem}"
    "input,button{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;margin:.25rem 0}"
)
_STYLE_HASH: Final = b64encode(sha256(_STYLE.encode()).digest())
PAGE_LINES: Final = (
    b"Content-Type: text/html; charset=utf-8",
    b"Cache-Control: no-store",
    b"Content-Security-Policy: default-src 'none'; style-src 'sha256-%b'; form-action 'self'; base-uri 'none';"
    b" frame-ancestors 'none'" % _STYLE_HASH,
    b"X-Content-Type-Options: nosniff",
    b"Referrer-Policy: same-origin",  # with no-referrer, browsers say `Origin: null` of our own form
)


def is_login(target: bytes) -> bool:
    return target.partition(b"?")[0] == PATH


def wants_page(head: RequestHead) -> bool:
    """Whether a browser shows the answer to somebody: a page is asked for, and not by a script's upgrade."""
    return not head.upgrade and any(b"text/html" in value.lower() for value in values_of(head, b"accept"))


def page(to: str, *, has_failed: bool = False) -> bytes:
    """The form. `to`: where it leads afterwards."""
    failed = "<p role=alert>This is no token that is in force.</p>" if has_failed else ""
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Preview: log in</title>"
        '<meta name=viewport content="width=device-width">'
        f"<style>{_STYLE}</style></head><body><h1>Preview</h1>{failed}"
        f'<form method=post action="{PATH.decode()}">'
        f'<input type=hidden name=to value="{html.escape(local_path(to))}">'
        "<label>Token<input type=password name=token required autofocus autocomplete=current-password></label>"
        "<button>Log in</button></form></body></html>\n"
    ).encode()


def local_path(to: str) -> str:
    """The path if it is one of this host and not the form's own, else `/`."""
    return to if _LOCAL.fullmatch(to) and not is_login(to.encode("ascii")) else "/"


def is_from_here(head: RequestHead, scheme: bytes, host: bytes) -> bool:
    """Whether the form was posted by a page of this host (or by no browser).

    Spec: Fetch Metadata (`Sec-Fetch-Site`, which no page can set), else RFC 6454's Origin, which every browser sends
    with a post from another page.
    """
    sites = values_of(head, b"sec-fetch-site")
    if sites:
        return all(site in (b"same-origin", b"none") for site in sites)
    return all(origin.lower() == scheme + b"://" + host.lower() for origin in values_of(head, b"origin"))


def read_form(head: RequestHead, body: bytes) -> tuple[bytes, str] | None:
    """The posted token, and where to go; None if it is no such form."""
    from urllib.parse import parse_qsl  # late: few log in

    kinds = values_of(head, b"content-type")
    if len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != _FORM_TYPE:
        return None
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:  # also UnicodeDecodeError
        return None
    fields = dict(pairs)
    if len(fields) != len(pairs) or "token" not in fields:
        return None
    return fields["token"].strip().encode("utf-8", "replace"), local_path(fields.get("to", "/"))
