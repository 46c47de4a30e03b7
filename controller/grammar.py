"""The words of sandboxes and route groups, their grammars, and how a fault names them.

Every grammar is matched whole. Kubernetes' own rules where it has them: what a file may say, a cluster takes too.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.routing.names import is_host, is_routing_key

NAME_RULE: Final = "1-63 of a-z 0-9 -, first and last alphanumeric (RFC 1123)"
LABEL_KEY_RULE: Final = "1-63 of A-Z a-z 0-9 - _ ., first and last alphanumeric, a DNS name and / before it or not"
LABEL_VALUE_RULE: Final = "at most 63 of A-Z a-z 0-9 - _ ., first and last alphanumeric"
GLOB_RULE: Final = "a label's value, in which * stands for any characters and ? for one"
ENDPOINT_NAME_RULE: Final = "1-60 of a-z 0-9 -, first and last alphanumeric, without '--', not 'xn'"
TARGET_RULE: Final = "HOST or HOST:PORT, with or without http:// or grpc://"
LOCAL_TARGET_RULE: Final = "HOST:PORT with a name or an address ([::1]:8080)"
IMAGE_RULE: Final = "an image like registry.example/app:tag, at most 512 characters"
ENV_NAME_RULE: Final = "an environment variable's name, 1-253 of A-Z a-z 0-9 _ - ., no digit first"
TOKEN_RULE: Final = "1-253 printable ASCII characters without spaces"
SHORT_RULE: Final = "1-512 printable characters"

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123 section 2.1, lower case as in Kubernetes
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_GLOB: Final = re.compile(r"[A-Za-z0-9_.*?-]{0,63}")
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
_ENV_NAME: Final = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]{0,252}")
_TOKEN: Final = re.compile(r"[!-~]{1,253}")
_SCHEME: Final = re.compile(r"(?:http|grpc)://")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    prefix, slash, name = text.rpartition("/")
    if slash and not (len(prefix) <= 253 and all(map(is_name, prefix.split(".")))):
        return False
    return _LABEL.fullmatch(name) is not None


def is_label_value(text: str) -> bool:
    return not text or _LABEL.fullmatch(text) is not None


def is_glob(text: str) -> bool:
    return _GLOB.fullmatch(text) is not None


def is_key(text: str) -> bool:
    """A routing key. Spec: SPEC 3."""
    return is_routing_key(text.encode("ascii", "replace"))  # '?' is in no key


def is_host_part(key: str) -> bool:
    """Whether a routing key can stand in a host's first label. Spec: SPEC 4, preview gateway."""
    return is_name(key)


def is_endpoint_name(text: str) -> bool:
    return is_name(text) and len(text) <= 60 and "--" not in text and text != "xn"


def is_local_target(text: str) -> bool:
    return _is_authority(text, port_needed=True)


def is_target(text: str) -> bool:
    return _is_authority(_SCHEME.sub("", text, count=1) if _SCHEME.match(text) else text, port_needed=False)


def _is_authority(text: str, *, port_needed: bool) -> bool:
    """HOST:PORT or HOST; an IPv6 address stands in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        if port_needed:
            return False
        host, port = text, "80"
    if _PORT.fullmatch(port) is None or int(port) > 65535:
        return False
    if host.startswith("[") and host.endswith("]"):
        return ":" in host and is_host(host[1:-1])
    return ":" not in host and is_host(host)


def is_image(text: str) -> bool:
    return _IMAGE.fullmatch(text) is not None


def is_env_name(text: str) -> bool:
    return _ENV_NAME.fullmatch(text) is not None


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def is_short(text: str) -> bool:
    return 0 < len(text) <= 512 and text.isprintable()
