"""Who may do what: bearer tokens and their roles.

The file is a YAML list, one entry per token:

    - {name: ci, tokenSha256: <64 hex digits>, role: write, namespaces: [hotrod]}
    - {name: location, token: <the token itself>, role: proxy, workload: hotrod/Deployment/location}
    - {name: mesh, tokenSha256: <64 hex digits>, role: router}

`read` may look, `write` may change too, `proxy` may only take the feed of its workload, `router` only that of routers,
which holds all keys. With `namespaces`, a reader or writer sees and changes nothing outside them. Neither tokens nor
their hashes are ever said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

from controller.errors import ObjectError
from controller.grammar import NAME_RULE, is_name
from controller.reader import MISSING, Reader, named
from proxy.reloading import ReloadError
from proxy.routing.faults import TableError
from proxy.routing.names import Workload
from proxy.routing.text import parse_text

READ: Final = "read"
WRITE: Final = "write"
PROXY: Final = "proxy"
ROUTER: Final = "router"
_MORE: Final = ((WRITE, READ), (ROUTER, PROXY))  # a role, and another one for which it is enough

_ENTRY: Final = named("name role", "token tokenSha256 workload namespaces")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_TOKENS: Final = 100_000
_MAX_BYTES: Final = 64 << 20
_MIN_TOKEN: Final = 16  # characters: shorter ones are guessed


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `namespaces`: the only ones that they see; None: all."""

    name: str
    role: str
    namespaces: frozenset[str] | None = None
    workload: Workload | None = None

    def may(self, role: str) -> bool:
        """Whether this role is enough where that one is asked for. Whose feed it is good for, `may_attach` says."""
        return self.role == role or (self.role, role) in _MORE

    def may_attach(self, workload: Workload | None) -> bool:
        """As a proxy of this workload; None: as a router. Where there are no tokens, anybody may."""
        if self is ANYBODY:
            return True
        return self.role == (PROXY if workload is not None else ROUTER) and self.workload == workload

    def sees(self, namespace: str) -> bool:
        return self.namespaces is None or namespace in self.namespaces


ANYBODY: Final = Identity("anybody", WRITE)  # where there are no tokens: loopback


class Tokens:
    """The tokens of one file."""

    def __init__(self, entries: Mapping[bytes, Identity]) -> None:
        """`entries`: by the SHA-256 of the token."""
        self._entries: Final = entries

    def __len__(self) -> int:
        return len(self._entries)

    def identity(self, token: str) -> Identity | None:
        """Whose the token is. Cost: independent of how many there are. The time of a look-up says something of the
        digest at most, which nobody can choose, nor turn into a token."""
        return self._entries.get(sha256(token.encode("utf-8", "surrogateescape")).digest())


def read_tokens(raw: bytes) -> Tokens:
    """The tokens that the file's content lists.

    Raises: ObjectError with every fault; none quotes a token.
    """
    try:
        value = parse_text(raw)
    except TableError:  # its text may quote the file
        raise ObjectError(["is no YAML that is read: a list of tokens, without anchors or tags"]) from None
    reader = Reader()
    if not isinstance(value, list) or len(value) > _MAX_TOKENS:
        raise ObjectError([f"must be a list of at most {_MAX_TOKENS} tokens"])
    entries = [entry for index, each in enumerate(value) for entry in _entry(reader, each, f"[{index}]")]
    reader.unique([digest for digest, _ in entries], "tokens", lambda _: "the same token")
    reader.unique([identity.name for _, identity in entries], "tokens", lambda name: f"the name {name!a}", ".name")
    if reader.faults:
        raise ObjectError(reader.faults)
    return Tokens(dict(entries))


def _entry(reader: Reader, value: object, path: str) -> Iterator[tuple[bytes, Identity]]:
    if not isinstance(value, dict):
        reader.fault(path, "must be an object")
        return
    found = reader.fields(value, path, _ENTRY)
    if found is None:
        return
    name = _name(reader, found.get("name", MISSING), f"{path}.name")
    role = reader.choice(found.get("role", MISSING), f"{path}.role", (READ, WRITE, PROXY, ROUTER))
    digest = _digest(reader, found.get("token"), found.get("tokenSha256"), path)
    namespaces = None
    if "namespaces" in found:
        if role == PROXY:
            reader.fault(f"{path}.namespaces", "a proxy has a workload instead")
        elif role == ROUTER:
            reader.fault(f"{path}.namespaces", "a router gets what is in all of them")
        listed = reader.entries(found, "namespaces", path, partial(_name, reader), at_least=1)
        namespaces = frozenset(each for each in listed if each is not None)
    workload = None
    if (role == PROXY) != ("workload" in found):
        reader.fault(f"{path}.workload", "missing" if role == PROXY else "only a proxy has one")
    elif "workload" in found:
        try:
            workload = Workload.parse(str(found["workload"]))
        except ValueError as error:
            reader.fault(f"{path}.workload", str(error))
    if name is not None and role is not None and digest is not None:
        yield digest, Identity(name, role, namespaces, workload)


def _name(reader: Reader, value: object, path: str) -> str | None:
    return reader.text(value, path, is_name, NAME_RULE)


def _digest(reader: Reader, token: object, digest: object, path: str) -> bytes | None:
    if (token is None) == (digest is None):
        reader.fault(path, "must have either token or tokenSha256")
    elif token is not None:
        if isinstance(token, str) and len(token) >= _MIN_TOKEN and token.isascii() and token.isprintable():
            return sha256(token.encode()).digest()
        reader.fault(f"{path}.token", f"must be at least {_MIN_TOKEN} printable ASCII characters, quoted")
    elif isinstance(digest, str) and _SHA256.fullmatch(digest.lower()):
        return bytes.fromhex(digest)
    else:
        reader.fault(f"{path}.tokenSha256", "must be 64 hexadecimal digits, quoted")
    return None


class TokensFile:
    """The tokens that a file lists, as it was when `load` could read it last."""

    def __init__(self, path: str) -> None:
        self._path: Final = path
        self._tokens = Tokens({})

    def load(self) -> None:
        """Raises: ReloadError; then nothing has changed."""
        try:
            with open(self._path, "rb") as file:
                self._tokens = read_tokens(file.read(_MAX_BYTES))
        except OSError as error:
            raise ReloadError(f"{self._path}: can't be read: {error.strerror}") from None
        except ObjectError as error:
            raise ReloadError(f"{self._path}: {error}") from None

    def identity(self, token: str) -> Identity | None:
        return self._tokens.identity(token)
