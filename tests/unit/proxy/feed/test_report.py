from __future__ import annotations

from proxy.feed.messages import MAX_COUNTS, Count, Traffic
from proxy.feed.report import _MAX_KEPT, Reporter
from proxy.telemetry.traffic import MAX_KEYS, KeyTraffic


def test_nothing_is_sent_of_nothing() -> None:
    reporter = Reporter(KeyTraffic())
    assert reporter.due() == reporter.again() == reporter.last() == []
    assert reporter.is_all_counted


def test_a_message_is_kept_until_it_has_arrived_and_the_next_waits_for_it() -> None:
    traffic = KeyTraffic()
    reporter = Reporter(traffic)
    traffic.from_sandbox(b"a")
    first = Traffic(1, (Count("a", 1, 0),))
    assert reporter.due() == [first]
    traffic.from_baseline(b"b")
    assert reporter.due() == []
    assert reporter.again() == [first]
    assert not reporter.is_all_counted
    reporter.counted(0)
    assert reporter.again() == [first]
    reporter.counted(1)
    assert reporter.is_all_counted
    assert reporter.due() == [Traffic(2, (Count("b", 0, 1),))]


def test_a_question_is_answered_at_once_also_with_nothing() -> None:
    traffic = KeyTraffic()
    reporter = Reporter(traffic)
    traffic.from_sandbox(b"a")
    reporter.due()
    traffic.from_sandbox(b"a")
    assert reporter.asked("r") == [Traffic(2, (Count("a", 1, 0),), reply="r")]
    assert reporter.asked("s") == [Traffic(3, (), reply="s")]
    assert [message.seq for message in reporter.again()] == [1, 2, 3]
    reporter.counted(3)
    assert reporter.is_all_counted


def test_many_keys_take_several_messages() -> None:
    traffic = KeyTraffic()
    for number in range(MAX_KEYS + 1):
        traffic.from_baseline(b"k%d" % number)
    messages = Reporter(traffic).asked("r")
    assert [len(message.counts) for message in messages] == [MAX_COUNTS] * (MAX_KEYS // MAX_COUNTS)
    assert [message.lost for message in messages] == [True, *[False] * (len(messages) - 1)]
    assert [message.reply for message in messages] == [*[None] * (len(messages) - 1), "r"]


def test_one_who_asks_and_never_counts_fills_no_memory() -> None:
    traffic = KeyTraffic()
    reporter = Reporter(traffic)
    for _ in range(_MAX_KEPT + 50):
        traffic.from_baseline(b"a")
        reporter.asked("r")
    assert len(reporter.again()) == _MAX_KEPT
    assert traffic.take()[0] == {b"a": [0, 50]}


def test_what_is_left_is_said_at_the_end_whatever_is_under_way() -> None:
    traffic = KeyTraffic()
    reporter = Reporter(traffic)
    traffic.from_baseline(b"a")
    reporter.due()
    traffic.from_baseline(b"a")
    assert reporter.last() == [Traffic(2, (Count("a", 0, 1),))]
