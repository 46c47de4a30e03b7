"""Requests that a browser makes for another site, refused: they matter where no token is asked for.

Without tokens the API is on loopback only, but a browser on this machine reaches loopback too. A page of the web must
not change where requests go: what carries the `Origin` of another page than ours (`ui`), or says that it comes from
another site, is refused; so is a Host that is a name, since an attacker's name may point at 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address


def foreign(headers: Mapping[str, str], scheme: str) -> str | None:
    """Why the request is refused; None: it is not. `scheme`: by which it came."""
    host = headers.get("Host", "")
    origin = headers.get("Origin")
    if origin is not None and origin.lower() != f"{scheme}://{host.lower()}":
        return "requests of web pages are refused (Origin)"
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return "requests of web pages are refused (Sec-Fetch-Site)"
    if not _is_own(host):
        return f"the host must be an address or localhost, is {host[:100]!a}"
    return None


def _is_own(host: str) -> bool:
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        if not bracket:
            return False
        port = port.removeprefix(":")
    else:
        name, _, port = host.partition(":")
    if port and not (port.isascii() and port.isdecimal()):
        return False
    if name.lower() == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
