"""What costs us and brings the peer nothing is paid from a budget (CHECKLIST 28-31), and honest traffic fills it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.h2script import (
    ACK,
    CONTINUATION,
    HEADERS,
    PADDED,
    PRIORITY,
    SETTINGS,
    H2DownstreamScript,
    H2UpstreamScript,
    data,
    frame,
    headers,
    ping,
    request,
    response,
    rst,
    settings,
    window,
)

pytestmark = pytest.mark.usefixtures("loop")

BUDGET, PER_SECOND = 20000, 2000
START = 1  # the SETTINGS that began the connection
FLOODS = [
    # the frame, what each costs
    ("PING", ping(), 1),
    ("PING ack", ping(ack=True), 1),
    ("SETTINGS", settings(), 1),
    ("SETTINGS of many", settings(*[(4, 65535)] * 2730), 2731),
    ("SETTINGS ack", frame(SETTINGS, ACK), 1),
    ("WINDOW_UPDATE", window(0, 1), 1),
    ("WINDOW_UPDATE of a stream", window(1, 1), 1),
    ("PRIORITY", frame(PRIORITY, 0, 9, b"12345"), 1),
    ("unknown", frame(99), 1),
    ("empty DATA", data(1), 1),
    ("DATA of padding", frame(0, PADDED, 1, b"\x05" + b"\0" * 5), 1),
]


def count(down: H2DownstreamScript | H2UpstreamScript, sent: bytes, at_most: int) -> int:
    """How many of these frames are taken before the connection ends."""
    transport = down.transport
    for number in range(at_most):
        transport.receive(sent)
        if transport.ending != "open":
            return number
        if number % 1000 == 0:
            down.peer.take()
    return at_most


@pytest.mark.parametrize(("sent", "cost"), [flood[1:] for flood in FLOODS], ids=[flood[0] for flood in FLOODS])
def test_a_flood(sent: bytes, cost: int) -> None:
    down = H2DownstreamScript()
    down.send(request(1, end=False, method="POST"))
    assert count(down, sent, BUDGET + 10) == (BUDGET - START) // cost
    assert down.peer.take()[-1] == "GOAWAY 1 ENHANCE_YOUR_CALM"
    assert down.up.is_cancelled


def test_a_flood_from_an_upstream() -> None:
    up = H2UpstreamScript()
    script = up.request()
    assert count(up, ping(), BUDGET + 10) >= BUDGET - START
    assert up.peer.take()[-1] == "GOAWAY 0 ENHANCE_YOUR_CALM"
    assert script.exchange.reason.name == "upstream_invalid"


@pytest.mark.parametrize(
    ("flood", "cost"),
    [
        (lambda number: request(number) + rst(number), 10),  # CVE-2023-44487
        (lambda number: request(number) + window(number, 0), 11),  # CVE-2025-8671
        (lambda number: request(number) + data(number, b"x"), 9),  # a byte earns one
        (lambda number: headers(number, ("x", "y"), end=True), 1),
    ],
    ids=["reset by the peer", "broken by its window", "broken by its data", "malformed"],
)
def test_a_flood_of_streams(flood: Callable[[int], bytes], cost: int) -> None:
    down = H2DownstreamScript()
    number = 1
    while down.transport.ending == "open" and number < 2 * BUDGET + 100:
        down.transport.receive(flood(number))
        number += 2
    assert (number - 1) // 2 == pytest.approx((BUDGET - START) / cost, abs=2)
    assert all(not upstream.has_request for upstream in down.used)


def test_streams_over_the_limit_are_refused_and_cost() -> None:
    down = H2DownstreamScript()
    for number in range(1, 201, 2):
        assert down.send(request(number)) == []
    assert down.send(request(201)) == ["RST 201 REFUSED_STREAM"]
    for number in range(203, 203 + 2 * BUDGET, 2):
        down.transport.receive(request(number))
        if down.transport.ending != "open":
            break
    assert (number - 201) // 2 == BUDGET - START
    assert len(down.used) == 100


def test_seconds_fill_the_budget_again() -> None:
    down = H2DownstreamScript()
    assert count(down, ping(), BUDGET - 10) == BUDGET - 10
    down.wait(1)
    assert count(down, ping(), BUDGET) == PER_SECOND + 10 - START
    assert down.transport.ending == "eof"


def test_but_never_over_the_brim() -> None:
    down = H2DownstreamScript()
    for _ in range(100):
        down.transport.receive(ping())
        down.wait(1)
    assert count(down, ping(), BUDGET * 2) == BUDGET


def test_a_peer_that_does_not_read_gets_none() -> None:
    down = H2DownstreamScript()
    count(down, ping(), BUDGET - 10)
    down.transport.fill()
    down.wait(1)
    assert count(down, ping(), BUDGET) == 10 - START


def test_what_is_earned_buys_no_unread_answers() -> None:
    """Data for a stream that is reset earns what pings cost; of a peer that reads nothing, their answers would be kept
    without end."""
    down = H2DownstreamScript()
    down.send(request(1, ("connection", "x"), end=False))
    down.transport.fill()
    pair = data(1, b"x") + ping()
    assert count(down, pair * 100, 10000) == pytest.approx(4194304 / 1700, rel=0.01)
    assert down.transport.ending != "open"


def test_what_is_read_is_not_counted() -> None:
    down = H2DownstreamScript()
    down.send(request(1, ("connection", "x"), end=False))
    pair = data(1, b"x") + ping()
    for _ in range(10):
        down.transport.fill()
        assert count(down, pair * 100, 1000) == 1000
        down.transport.read_all()
        down.peer.take()


def test_honest_traffic_earns_it() -> None:
    """Each piece of an answer may be met by two window updates and a ping, without end."""
    down = H2DownstreamScript()
    down.send(request(1))
    down.up.head(-1)
    for _ in range(BUDGET):
        down.up.exchange.response_body(b"x" * 10)
        down.transport.receive(window(0, 10) + window(1, 10) + ping())
    down.up.end()
    assert down.transport.ending == "open"
    down.assert_nothing_is_left()


def test_answered_requests_earn_it() -> None:
    """Calls that the peer resets behind the answer, as some do by habit, and pings."""
    down = H2DownstreamScript()
    for number in range(1, 2 * BUDGET, 2):
        down.transport.receive(request(number))
        down.up.answer(b"")
        down.transport.receive(rst(number) + ping() + window(0, 1))
    assert down.transport.ending == "open"


@pytest.mark.parametrize(("piece", "at_most"), [(b"", 64), (b"x" * 16384, 14)])
def test_a_block_without_an_end(piece: bytes, at_most: int) -> None:
    """CHECKLIST 29: so many frames, and so many bytes."""
    down = H2DownstreamScript()
    down.send(frame(HEADERS, 0, 1, b"\0"))
    assert count(down, frame(CONTINUATION, 0, 1, piece), 100) == at_most
    assert down.peer.take() == ["GOAWAY 0 ENHANCE_YOUR_CALM"]


def test_late_data_for_streams_that_are_over_costs_more() -> None:
    down = H2DownstreamScript()
    down.send(request(1))
    down.up.answer()
    assert count(down, data(1, b"x"), BUDGET) == pytest.approx(BUDGET // 9, rel=0.01)


def test_interim_answers_are_no_flood() -> None:
    up = H2UpstreamScript()
    script = up.request()
    for _ in range(100):
        up.send(response(1, status=103))
    up.send(response(1, end=True))
    assert script.calls.count("down.interim 103") == 100
