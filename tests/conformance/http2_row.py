"""A row of the tables of HTTP/2: what a client sends on a good connection, and what must become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.support.http2 import Code, data, get, post
from tests.support.http2_peer import Peer, connected

CONNECTION: Final = "connection"  # GOAWAY with the code, and the end
STREAM: Final = "stream"  # RST_STREAM with the code; everything else goes on
EITHER: Final = "stream or connection"  # where the RFC leaves it open
IGNORED: Final = "ignored"  # nothing happens
ANSWERED: Final = "answered"  # a response, with the status

Sent = bytes | Callable[[Peer], bytes]


@dataclass(frozen=True, slots=True)
class Row:
    """`stream`: the one that is reset or answered. `code`: an error code, or a status where it is answered."""

    name: str
    level: str
    code: int
    sent: Sent
    stream: int = 5


def connection(name: str, code: Code, *sent: bytes) -> Row:
    return Row(name, CONNECTION, code, b"".join(sent))


def stream(name: str, code: Code, *sent: bytes, of: int = 5) -> Row:
    return Row(name, STREAM, code, b"".join(sent), of)


def either(name: str, code: Code, sent: Sent) -> Row:
    return Row(name, EITHER, code, sent)


def ignored(name: str, *sent: bytes) -> Row:
    return Row(name, IGNORED, Code.NO_ERROR, b"".join(sent))


def answered(name: str, status: int, *sent: bytes, of: int = 5) -> Row:
    return Row(name, ANSWERED, status, b"".join(sent), of)


def check(port: int, row: Row) -> None:
    """Sends the row on a connection that has an answered stream 1 and, on stream 3, a request whose body is under way.

    That request ends well unless the whole connection must end, and so does one that comes after it.
    """
    with connected(port) as peer:
        peer.send(post(3, "/bystander"), data(3, b"half of "))
        peer.sync()
        peer.send(row.sent if isinstance(row.sent, bytes) else row.sent(peer))
        if row.level in (STREAM, EITHER):
            peer.until(lambda: peer.stream(row.stream).reset is not None or peer.goaways, f"a reset of {row.stream}")
        elif row.level == ANSWERED:
            assert peer.over(row.stream).status == row.code, peer.heard()
        if row.level == CONNECTION or (row.level == EITHER and peer.goaways):
            assert peer.end() == row.code, peer.heard()
            assert not peer.was_reset
            assert not any(each.is_over for number, each in peer.streams.items() if number not in (1, row.stream))
            return
        if row.level in (STREAM, EITHER):
            assert peer.stream(row.stream).reset == row.code, peer.heard()
        goes_on(peer, row)


def goes_on(peer: Peer, row: Row) -> None:
    """The bystander and a request behind the row are answered, and nothing else is reset."""
    after = 999 if row.stream < 999 else row.stream + 2
    peer.send(data(3, b"a body", end=True), get(after, "/after"))
    assert peer.over(3).status == 200, peer.heard()
    assert peer.over(after).status == 200, peer.heard()
    peer.sync()
    assert not peer.goaways
    resets = {number for number, each in peer.streams.items() if each.reset not in (None, Code.NO_ERROR)}
    assert resets == ({row.stream} if row.level in (STREAM, EITHER) else set()), peer.heard()
