"""Who may see previews, and what proves it. Pure: the tokens' file is read elsewhere.

Three proofs, any one of which is enough:

- the field that a forward-auth or OIDC proxy sets, believed from its addresses alone;
- `Authorization: Bearer` with one of the tokens;
- a session cookie, which the login form sets (`login`). It holds no token but an end, the name of a key, and the key's
  signature over host and end. The key is made of the token: so it opens this one host only, ends by itself and with its
  token, and every replica can check it. By the name a head full of cookies is not tried with each token. Where browsers
  come by https the cookie's name begins with `__Host-` (RFC 6265bis section 4.1.3.2): then no other preview's page can
  put one in its place.

All three are taken out of what goes on, whoever sent them; an `Authorization` that holds no token is the application's
and stays. Tokens and signatures are compared in constant time, tokens each with all.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from proxy.codec.edits import values_of
from proxy.codec.events import RequestHead
from proxy.identity import Peers
from proxy.routing.baggage import OWS

_COOKIE: Final = b"pointsman-preview"
_SESSION_KEY: Final = b"pointsman preview session 1"
_BEARER: Final = b"bearer"
_MAX_END_DIGITS: Final = 12
_AUTHORIZATION: Final = (b"authorization", b"proxy-authorization")


class Tokens:
    """Those that are in force; swapped as a whole."""

    __slots__ = ("_by_digest", "_by_name", "_tokens")

    def __init__(self, tokens: Sequence[bytes] = ()) -> None:
        self._tokens: tuple[bytes, ...] = ()
        # The keys that sign sessions: by their token's digest, and by their name.
        self._by_digest: dict[bytes, bytes] = {}
        self._by_name: dict[bytes, bytes] = {}
        self.replace(tokens)

    def __len__(self) -> int:
        return len(self._by_digest)

    def replace(self, tokens: Sequence[bytes]) -> None:
        self._tokens = tuple(tokens)
        self._by_digest = {sha256(token).digest(): hmac.digest(token, _SESSION_KEY, "sha256") for token in tokens}
        self._by_name = {_key_name(key): key for key in self._by_digest.values()}

    def session_key(self, token: bytes) -> bytes | None:
        """The key that signs this token's sessions; None if it is no token."""
        given = sha256(token).digest()
        found: bytes | None = None
        for digest, key in self._by_digest.items():
            if hmac.compare_digest(digest, given):
                found = key
        return found

    def are_told(self, text: bytes) -> bool:
        """Whether one of the tokens stands in this text, however it is said."""
        return any(token in text for token in self._tokens)

    def signs(self, name: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the session key of this name is a token's and made this signature."""
        key = self._by_name.get(name)
        return key is not None and hmac.compare_digest(_signature(key, message), signature)


class Credentials:
    """What is asked for, and whether a request has it."""

    __slots__ = (
        "_clock",
        "_dashed_header",
        "_header",
        "_is_secure",
        "_lifetime_s",
        "_peers",
        "cookie_name",
        "is_required",
        "tokens",
    )

    def __init__(
        self,
        *,
        is_required: bool,
        header: bytes | None,
        networks: Sequence[IPv4Network | IPv6Network],
        tokens: Tokens | None,
        is_secure: bool,
        lifetime_s: float,
        clock: Callable[[], float],
    ) -> None:
        """`header`: lowercase. `tokens`: None where no file is configured. `is_secure`: browsers come by https.
        `clock`: seconds since 1970."""
        self.is_required: Final = is_required
        self.tokens: Final = tokens
        self.cookie_name: Final = b"__Host-" + _COOKIE if is_secure else _COOKIE
        self._header: Final = header
        self._dashed_header: Final = dashed(header) if header is not None else None
        self._peers: Final = Peers(networks)
        self._is_secure: Final = is_secure
        self._lifetime_s: Final = lifetime_s
        self._clock: Final = clock

    @property
    def can_be_met(self) -> bool:
        """Whether there is any way to be let in."""
        return not self.is_required or self._header is not None or self.tokens is not None

    def has_bearer(self, head: RequestHead) -> bool:
        """Whether the request proves itself by what no web page can make a browser send."""
        return any(self._is_bearer(value) for value in values_of(head, b"authorization"))

    def has_ambient(self, head: RequestHead, host: bytes, peer: bytes) -> bool:
        """Whether it proves itself by what a browser, or the proxy before us, adds to every request by itself."""
        header = self._header
        if header is not None and self._peers.include(peer) and any(values_of(head, header)):
            return True
        return any(self._is_session(value, host) for value in self._cookies(head))

    def without(self, name: bytes, value: bytes) -> bytes | None:
        """What goes on of a field; None: nothing. `name` is lowercase, with `-` for `_`."""
        if name == self._dashed_header:
            return None
        if name in _AUTHORIZATION:
            return None if self.tokens is not None and self.tokens.are_told(value) else value
        if name == b"cookie" and self.tokens is not None and self.cookie_name in value:
            crumbs = value.split(b";")
            kept = [crumb for crumb in crumbs if crumb.partition(b"=")[0].strip(OWS) != self.cookie_name]
            if len(kept) < len(crumbs):
                return b";".join(kept).strip(OWS) or None
        return value

    def at_home(self, name: bytes, value: bytes) -> bytes | None:
        """What becomes of a field of a preview's answer: its cookies are its own host's, and none is ours."""
        if name != b"set-cookie":
            return value
        if value.partition(b"=")[0].strip(OWS) == self.cookie_name and self.tokens is not None:
            return None
        parts = value.split(b";")
        kept = [part for part in parts if part.partition(b"=")[0].strip(OWS).lower() != b"domain"]
        return b";".join(kept) if len(kept) < len(parts) else value

    def session(self, token: bytes, host: bytes) -> bytes | None:
        """The `Set-Cookie` that opens `host` (a bare one) for whoever has this token; None if it is no token."""
        tokens = self.tokens
        key = tokens.session_key(token) if tokens is not None else None
        if key is None:
            return None
        end = b"%d" % int(self._clock() + self._lifetime_s)
        value = b".".join((end, _key_name(key), _signature(key, _message(host, end))))
        secure = b"; Secure" if self._is_secure else b""
        lifetime = b"%d" % int(self._lifetime_s)
        return b"%b=%b; Path=/; Max-Age=%b; HttpOnly; SameSite=Lax%b" % (self.cookie_name, value, lifetime, secure)

    def _is_bearer(self, value: bytes) -> bool:
        scheme, _, token = value.partition(b" ")
        tokens = self.tokens
        return tokens is not None and scheme.lower() == _BEARER and tokens.session_key(token.strip(OWS)) is not None

    def _cookies(self, head: RequestHead) -> list[bytes]:
        """The values of all cookies of our name: other pages may have set some beside ours."""
        values = []
        for line in values_of(head, b"cookie"):
            for crumb in line.split(b";"):
                name, _, value = crumb.partition(b"=")
                if name.strip(OWS) == self.cookie_name:
                    values.append(value.strip(OWS))
        return values

    def _is_session(self, value: bytes, host: bytes) -> bool:
        end, _, rest = value.partition(b".")
        name, _, signature = rest.partition(b".")
        tokens = self.tokens
        if tokens is None or not end.isdigit() or len(end) > _MAX_END_DIGITS or int(end) <= self._clock():
            return False
        return tokens.signs(name, _message(host, end), signature)


def _key_name(session_key: bytes) -> bytes:
    """What a cookie calls the key that signed it; says no more of it than the signature does."""
    return sha256(session_key).hexdigest()[:16].encode("ascii")


def _message(host: bytes, end: bytes) -> bytes:
    return host + b"\n" + end


def _signature(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256").hex().encode("ascii")


def dashed(name: bytes) -> bytes:
    """A field's name as CGI and what is made like it read it, where `_` and `-` are one (RFC 3875 section 4.1.18)."""
    return name.replace(b"_", b"-")
