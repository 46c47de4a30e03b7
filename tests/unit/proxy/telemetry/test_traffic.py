from __future__ import annotations

from proxy.telemetry.traffic import MAX_KEYS, KeyTraffic


def test_counts_are_taken_once() -> None:
    traffic = KeyTraffic()
    assert traffic.is_empty
    traffic.from_sandbox(b"a")
    traffic.from_baseline(b"a")
    traffic.from_sandbox(b"a")
    traffic.from_baseline(b"b")
    assert not traffic.is_empty
    assert traffic.take() == ({b"a": [2, 1], b"b": [0, 1]}, False)
    assert traffic.is_empty
    assert traffic.take() == ({}, False)


def test_strangers_are_bounded_and_what_is_lost_is_said() -> None:
    traffic = KeyTraffic()
    for number in range(MAX_KEYS + 5):
        traffic.from_baseline(b"stranger%d" % number)
    traffic.from_baseline(b"stranger0")  # known already
    traffic.from_sandbox(b"routed")  # bounded by the table
    traffic.from_baseline(b"routed")
    counts, is_lossy = traffic.take()
    assert is_lossy
    assert traffic.lost_total == 5
    assert len(counts) == MAX_KEYS + 1
    assert counts[b"stranger0"] == [0, 2]
    assert counts[b"routed"] == [1, 1]
    traffic.from_baseline(b"another")
    assert traffic.take() == ({b"another": [0, 1]}, False)


def test_loss_alone_is_something_to_say() -> None:
    traffic = KeyTraffic()
    traffic.is_lossy = True
    assert not traffic.is_empty
