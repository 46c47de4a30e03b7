"""What workers know of each other: whose turn it is, and which connections are their own."""

from __future__ import annotations

from proxy.workers.board import Board, Siblings, Turns

HERE = ("127.0.0.1", 16006)
ELSEWHERE = ("127.0.0.1", 8081)
OURS = ("127.0.0.1", 40000)


class Crew:
    """Workers with so many connections, each on a map of its own of the same memory."""

    def __init__(self, *connections: int) -> None:
        self.connections = list(connections)
        board = Board(len(connections))
        self.boards = [Board(len(connections), board.fd) for _ in connections]
        self.turns = [
            Turns(board, number, lambda number=number: self.connections[number - 1])  # type: ignore[misc]
            for number, board in enumerate(self.boards, 1)
        ]
        for number, turns in enumerate(self.turns):
            self.boards[0].present[number] = 1
            turns.note()

    def whose(self, starting: int = 0) -> list[bool]:
        return [turns.is_ours(starting) for turns in self.turns]


def test_it_is_the_turn_of_who_has_least() -> None:
    assert Crew(0, 0).whose() == [True, True]
    assert Crew(1, 0).whose() == [False, True]
    assert Crew(3, 2, 3).whose() == [False, True, False]
    assert Crew(100, 89).whose() == [True, True], "an eighth more is no more"
    assert Crew(101, 89).whose() == [False, True]
    assert Crew(7).whose() == [True]


def test_who_is_gone_or_silent_has_no_turn() -> None:
    crew = Crew(5, 0, 4)
    crew.boards[2].present[1] = 0
    assert crew.whose() == [False, True, True]
    crew.boards[2].present[2] = 0
    assert crew.whose()[0]


def test_connections_that_start_count() -> None:
    crew = Crew(0, 0)
    assert not crew.turns[0].is_ours(1)
    crew.turns[1].note(1)
    assert crew.turns[0].is_ours(1)


def test_a_replacement_begins_with_nothing() -> None:
    crew = Crew(5, 5)
    siblings = [Siblings(board, number) for number, board in enumerate(crew.boards, 1)]
    siblings[1].opened(OURS, HERE)
    assert siblings[0].leads_here(OURS, [HERE])
    crew.boards[0].forget(2)
    assert not siblings[0].leads_here(OURS, [HERE])
    assert list(crew.boards[1].connections) == [5, 0]
    assert list(crew.boards[1].present) == [1, 0]


class TestSiblings:
    def setup_method(self) -> None:
        first = Board(3)
        self.all = [Siblings(Board(3, first.fd), number) for number in (1, 2, 3)]

    def known(self, peer: object, *here: object) -> list[bool]:
        return [siblings.leads_here(peer, here) for siblings in self.all]

    def test_of_the_others_only(self) -> None:
        """One's own are found in the process itself."""
        self.all[1].opened(OURS, HERE)
        assert self.known(OURS, HERE, None) == [True, False, True]
        assert self.known(("127.0.0.1", 40001), HERE) == [False] * 3
        assert self.known(("127.0.0.2", 40000), HERE) == [False] * 3
        assert self.known("", HERE) == [False] * 3

    def test_one_port_of_several_connections(self) -> None:
        """On loopback the other end tells, also the one before a REDIRECT."""
        self.all[0].opened(OURS, ELSEWHERE)
        assert self.known(OURS, HERE, None) == [False] * 3
        assert self.known(OURS, HERE, ELSEWHERE) == [False, True, True]
        self.all[0].opened(OURS, HERE)
        assert self.known(OURS, HERE, None) == [False, True, True]

    def test_beyond_loopback_a_balancer_may_have_led_it_here(self) -> None:
        self.all[0].opened(("10.0.0.1", 40000), ("10.0.0.5", 80))
        assert self.known(("10.0.0.1", 40000), ("10.0.0.1", 16006), None) == [False, True, True]

    def test_ipv6(self) -> None:
        self.all[2].opened(("::1", 40000, 0, 0), ("::1", 16006, 0, 0))
        assert self.known(("::1", 40000, 0, 0), ("::1", 16006, 0, 0)) == [True, True, False]
        self.all[2].opened(("fe80::1%lo", 40000, 0, 1), ("fe80::2%lo", 80, 0, 1))
        assert self.known(("fe80::1%lo", 40000, 0, 1), HERE) == [True, True, False]

    def test_what_ended_is_forgotten(self) -> None:
        remotes = [("127.0.0.1", port) for port in (1, 2, 3)]
        for remote in remotes:
            self.all[0].opened(OURS, remote)
        self.all[0].lost(OURS, remotes[0])
        assert [self.known(OURS, remote)[1] for remote in remotes] == [False, True, True]
        self.all[0].lost(OURS, remotes[2])
        self.all[0].lost(OURS, remotes[2])
        assert [self.known(OURS, remote)[1] for remote in remotes] == [False, True, False]

    def test_more_than_fit(self) -> None:
        """They go unnoticed, and do not disturb the others."""
        remotes = [("127.0.0.1", port) for port in range(1, 10)]
        for remote in remotes:
            self.all[0].opened(OURS, remote)
        assert [self.known(OURS, remote)[1] for remote in remotes] == [True] * 4 + [False] * 5
        assert not self.known(("127.0.0.1", 40001), remotes[5])[1]
        for remote in reversed(remotes):
            self.all[0].lost(OURS, remote)
        assert not any(self.known(OURS, remote)[1] for remote in remotes)
