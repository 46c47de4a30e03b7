"""The preview gateway: the steps before a preview's request is decided like any other, in their order.

1. Its host must name a preview: below no domain it is somebody else's, and below one but no endpoint and key it is 421.
2. It must prove that its sender may see previews, each request by itself: else 401, before anything of the table is
   told. A tunnel asked for by a browser, whose cookies travel with any page's, must come from a page of the same key,
   since no other rule of browsers stops a WebSocket from being read by another site's page (RFC 6455 section 10.2).
3. There must be such an endpoint (421), and the key must be live: an unknown or a gone one is 424, whatever the policy
   for tagged requests, since a preview of the baseline would be a false green.
4. A service that lists its callers asks who this one is, as of any request.
5. Then its head becomes one for the endpoint's upstream under the key (`head`), which a service's place decides, or
   else the preview's own: on to the upstream.
"""

from __future__ import annotations

from typing import Final

from proxy import errors
from proxy.codec.edits import edit_fields, values_of
from proxy.codec.events import RequestHead, ResponseHead
from proxy.errors import Reason
from proxy.identity import Identities
from proxy.places import NO_PREVIEW_DECISION, Place, RouterPlaces
from proxy.preview.credentials import Credentials
from proxy.preview.head import enter
from proxy.preview.login import is_login
from proxy.preview.pages import LoginPage, Page
from proxy.routing.decision import CALLER_DECISION, Decision
from proxy.routing.key import KeySettings
from proxy.routing.previews import authority_of, bare_host

_SCHEMES: Final = (b"http", b"https")


class Arrival:
    """What becomes of a request for a preview's host: it goes on to a place, or is answered, in words or by a page."""

    __slots__ = ("decision", "page", "place")

    def __init__(self, place: Place | None, decision: Decision, page: Page | None = None) -> None:
        self.place = place
        self.decision = decision
        self.page = page


def _refused(reason: Reason) -> Decision:
    return Decision(reason, "none", None, None, reason.status)


_NO_PREVIEW: Final = Arrival(None, NO_PREVIEW_DECISION)
_NO_CALLER: Final = Arrival(None, CALLER_DECISION)
_OTHER_ORIGIN: Final = Arrival(None, _refused(errors.PREVIEW_ORIGIN))
_NOT_AUTHENTICATED: Final = _refused(errors.PREVIEW_NOT_AUTHENTICATED)
_LOGIN: Final = _refused(errors.PREVIEW_LOGIN)
_GOES_ON: Final = _refused(errors.ROUTE)  # not looked at


class Gateway:
    """One for a process."""

    __slots__ = ("_credentials", "_keys", "_places", "_scheme")

    def __init__(self, places: RouterPlaces, credentials: Credentials, keys: KeySettings, scheme: str) -> None:
        """`scheme`: what visitors' browsers speak to whatever stands before the gateway."""
        self._places: Final = places
        self._credentials: Final = credentials
        self._keys: Final = keys
        self._scheme: Final = scheme.encode("ascii")

    def arrive(self, head: RequestHead, peer: bytes, identities: Identities) -> Arrival | None:
        """What becomes of a request whose host no service has; None: it is no preview's either.

        Where it goes on, its head is changed.
        """
        previews = self._places.previews
        if previews is None:
            return None
        host = previews.hosts.find(head.host)
        if host is None:
            return None
        if not host.key:
            return _NO_PREVIEW
        stopped = self._authenticate(head, peer) if self._credentials.is_required else None
        if stopped is not None:
            return stopped
        dead = previews.why_dead(host.key)  # first: with a sandbox go its endpoints, too
        if dead is not None:
            return Arrival(None, dead)
        if host.upstream is None:
            return _NO_PREVIEW
        place = previews.find(host.upstream)
        if place is None:
            return _NO_PREVIEW
        if place.callers is not None and not identities.may_call(place.callers, head, peer):
            return _NO_CALLER
        enter(head, host.key, authority_of(host.upstream), self._keys, self._credentials, peer, self._scheme)
        return Arrival(place, _GOES_ON)

    def _authenticate(self, head: RequestHead, peer: bytes) -> Arrival | None:
        """Why the request is stopped; None: it is let in."""
        credentials = self._credentials
        if credentials.tokens is not None and is_login(head.target):
            return Arrival(None, _LOGIN, LoginPage(credentials, head.host, self._scheme))
        if credentials.has_bearer(head):
            return None
        if not credentials.has_ambient(head, bare_host(head.host), peer):
            return Arrival(None, _NOT_AUTHENTICATED, Page(credentials))
        if head.upgrade and not all(self._is_relative(head.host, each) for each in values_of(head, b"origin")):
            return _OTHER_ORIGIN
        return None

    def _is_relative(self, host: bytes, origin: bytes) -> bool:
        scheme, _, authority = origin.partition(b"://")
        previews = self._places.previews
        return previews is not None and scheme.lower() in _SCHEMES and previews.hosts.are_relatives(host, authority)

    def place_of(self, host: bytes) -> Place | None:
        """Where a request for this host arrives now, if it is a preview's, as long as its key is live."""
        previews = self._places.previews
        found = previews.hosts.find(host) if previews is not None else None
        if previews is None or found is None or found.upstream is None or previews.why_dead(found.key) is not None:
            return None
        return previews.find(found.upstream)

    def clean(self, head: ResponseHead) -> None:
        """A preview's answer, whose cookies are its own host's alone."""
        edit_fields(head, self._credentials.at_home)
