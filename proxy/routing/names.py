"""The words that tables and headers are made of, and their grammars.

Grammars are matched whole (`fullmatch`), on bytes where the word comes from a header and on text where it comes from a
document. No word that passes holds a control character, a space or a non-ASCII character, so all of them can stand in
header fields, log lines and metrics as they are.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from proxy.routing.faults import excerpt

# SPEC 3: 1-63 of A-Z a-z 0-9 . _ -, the first and the last alphanumeric.
_ROUTING_KEY: Final = re.compile(rb"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
# RFC 9110 section 5.6.2.
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# Kubernetes names fit; looser, because a table may come from another platform. No '/' in a workload's parts.
_WORKLOAD_PART: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
_SANDBOX: Final = re.compile(r"[A-Za-z0-9._/-]{1,253}")

# RFC 1123 section 2.1, with '_' (service records, compose files) and a trailing dot (no search list) allowed. A last
# label that is a number makes resolvers read an address in disguise ("127.1", "0x7f000001"), so it is refused.
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NUMBER: Final = r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)"
_DNS_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?!{_NUMBER}\.?\Z){_LABEL}\.?")
_MAX_DNS_NAME: Final = 254  # RFC 1035 section 2.3.4, with the trailing dot
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_IPV6_CHARACTERS: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}")


class Workload(NamedTuple):
    """What is routed to or forked: `namespace/kind/name`, e.g. `hotrod/Deployment/location`."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"

    def document(self) -> dict[str, object]:
        """As documents name a baseline (SPEC 5)."""
        return {"kind": self.kind, "namespace": self.namespace, "name": self.name}

    @classmethod
    def parse(cls, text: str) -> Workload:
        """The workload that the text names.

        Raises: ValueError, its text says what is wrong.
        """
        parts = text.split("/")
        if len(parts) != 3:
            raise ValueError(f"must be namespace/kind/name, is {excerpt(text)}")
        for field, part in zip(cls._fields, parts, strict=True):
            if not is_workload_part(part):
                raise ValueError(f"{field} must be {WORKLOAD_PART_RULE}, is {excerpt(part)}")
        return cls(*parts)


class Endpoint(NamedTuple):
    """One address: a DNS name, an IPv4 or an IPv6 literal (without brackets), and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def document(self) -> dict[str, object]:
        return {"host": self.host, "port": self.port}


ROUTING_KEY_RULE: Final = "1-63 of A-Z a-z 0-9 . _ -, first and last alphanumeric"
WORKLOAD_PART_RULE: Final = "1-253 of A-Z a-z 0-9 . _ -"
SANDBOX_RULE: Final = "1-253 of A-Z a-z 0-9 . _ / -"
HOST_RULE: Final = "a DNS name, an IPv4 or an IPv6 address (no brackets, no port)"


def is_routing_key(value: bytes) -> bool:
    """Whether the value is a routing key. Spec: SPEC 3."""
    # Generated keys are alphanumeric (of bytes that means ASCII): a third of the cost of the whole grammar.
    return (len(value) <= 63 and value.isalnum()) or _ROUTING_KEY.fullmatch(value) is not None


def is_token(value: bytes) -> bool:
    """Whether the value is a token. Spec: RFC 9110 section 5.6.2."""
    return _TOKEN.fullmatch(value) is not None


def is_workload_part(text: str) -> bool:
    return _WORKLOAD_PART.fullmatch(text) is not None


def is_sandbox_name(text: str) -> bool:
    return _SANDBOX.fullmatch(text) is not None


def is_dns_name(text: str) -> bool:
    """Whether the text is a DNS name and nothing that a resolver would read as an address."""
    return _DNS_NAME.fullmatch(text) is not None and len(text) <= _MAX_DNS_NAME


def is_host(text: str) -> bool:
    """Whether the text is a DNS name, a dotted IPv4 address or an IPv6 address.

    Spec: RFC 1123 section 2.1, RFC 4291 section 2.2. Zone identifiers (`%eth0`) are refused: link-local addresses are
    never connected to.
    """
    if ":" in text:
        return _is_ipv6(text)
    return is_dns_name(text) or _IPV4.fullmatch(text) is not None


def _is_ipv6(text: str) -> bool:
    if _IPV6_CHARACTERS.fullmatch(text) is None:
        return False
    from ipaddress import AddressValueError, IPv6Address  # late: few tables hold IPv6 literals

    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
