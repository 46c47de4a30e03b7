from __future__ import annotations

from itertools import product

import pytest

from pointsman.rules import GONE_S, Decision, MessageReader, RuleError, Rules, decide, read_rule
from proxy.routing.names import Workload

WORKLOAD = Workload("hotrod", "Deployment", "dispatch")
READER = MessageReader()


def document(key: str = "k1", sandbox: str = "pr-1", name: str = "dispatch") -> dict[str, object]:
    return {
        "routingKey": key,
        "baseline": {"kind": "Deployment", "namespace": "hotrod", "name": name},
        "destinationSandbox": {"name": sandbox},
        "mappings": [],
    }


def event(type_: str, *arguments: str, **options: str) -> dict[str, object]:
    return {"type": type_, "routingRule": document(*arguments, **options)}


SYNCED: dict[str, object] = {"type": "SYNCED"}


def synced(*events: object) -> Rules:
    rules = Rules(WORKLOAD)
    rules.begin()
    for each in (*events, SYNCED):
        rules.take(each, 0.0)
    return rules


def sandbox_of(rules: Rules, key: bytes) -> str | None:
    rule = rules.rule(key)
    return rule.sandbox if rule is not None else None


class TestRules:
    def test_nothing_counts_before_all_is_said(self) -> None:
        rules = Rules(WORKLOAD)
        rules.begin()
        rules.take(event("ADD"), 0)
        assert not rules.is_synced
        assert rules.rule(b"k1") is None
        rules.take(SYNCED, 0)
        assert rules.is_synced
        assert sandbox_of(rules, b"k1") == "pr-1"

    def test_no_rule_at_all_is_synced_too(self) -> None:
        assert synced().is_synced

    def test_changes(self) -> None:
        rules = synced(event("ADD"))
        rules.take(event("ADD", "k2", "pr-2"), 0)
        rules.take(event("REPLACE", "k1", "pr-3"), 0)
        assert (sandbox_of(rules, b"k1"), sandbox_of(rules, b"k2")) == ("pr-3", "pr-2")
        rules.take(event("REMOVE", "k1"), 100.0)
        assert rules.rule(b"k1") is None
        assert rules.is_gone(b"k1", 100.0 + GONE_S - 1)
        assert not rules.is_gone(b"k1", 100.0 + GONE_S)
        assert not rules.is_gone(b"k2", 100.0)

    def test_a_key_that_comes_back_is_not_gone(self) -> None:
        rules = synced(event("ADD"))
        rules.take(event("REMOVE"), 1.0)
        rules.take(event("ADD"), 2.0)
        rules.take(event("REMOVE", "other"), 2.0)
        assert not rules.is_gone(b"k1", 2.0)
        assert not rules.is_gone(b"other", 2.0)

    def test_a_new_stream_replaces_all_at_its_end(self) -> None:
        """What was removed while nobody listened is gone from then on; until the end the rules from before hold."""
        rules = synced(event("ADD", "k1"), event("ADD", "k2"), event("ADD", "k3"))
        rules.take(event("REMOVE", "k3"), 1.0)
        rules.begin()
        rules.take(event("ADD", "k2", "pr-9"), 5.0)
        rules.take(event("ADD", "k3"), 5.0)
        assert rules.is_syncing
        assert (sandbox_of(rules, b"k1"), sandbox_of(rules, b"k2")) == ("pr-1", "pr-1")
        assert rules.is_gone(b"k3", 5.0)
        rules.take(SYNCED, 6.0)
        assert not rules.is_syncing
        assert (sandbox_of(rules, b"k1"), sandbox_of(rules, b"k2")) == (None, "pr-9")
        assert rules.is_gone(b"k1", 6.0)
        assert not rules.is_gone(b"k2", 6.0)
        assert not rules.is_gone(b"k3", 6.0)

    def test_a_stream_that_breaks_off_changes_nothing(self) -> None:
        rules = synced(event("ADD"))
        for _ in range(2):
            rules.begin()
            rules.take(event("ADD", "k2"), 1.0)
        rules.begin()
        rules.take(event("ADD", "k1"), 1.0)
        rules.take(SYNCED, 1.0)
        assert len(rules) == 1

    def test_other_workloads_and_words_are_passed_over(self) -> None:
        rules = synced(event("ADD", name="driver"), {"type": "NEWS"}, event("ADD"))
        assert len(rules) == 1
        rules.take(event("REMOVE", name="driver"), 1.0)
        assert sandbox_of(rules, b"k1") == "pr-1"

    @pytest.mark.parametrize(
        "wrong", [[], "ADD", {"type": "ADD"}, {"type": "ADD", "routingRule": {}}, event("ADD") | {"routingRule": 1}]
    )
    def test_no_events(self, wrong: object) -> None:
        with pytest.raises(RuleError):
            synced(wrong)
        assert read_rule(document(name="driver"), WORKLOAD) is None


class TestDecision:
    CONSUMERS = (None, "pr-1", "pr-2")

    def test_exactly_one_takes_each_message(self) -> None:
        """Whatever the key and the rules: never two, and never none as long as the rule's sandbox is among them."""
        rules = synced(event("ADD", "k1", "pr-1"), event("ADD", "k2", "pr-2"), event("ADD", "k3", "pr-1"))
        rules.take(event("REMOVE", "k3", "pr-1"), 1.0)
        keys = ("", "k1", "k2", "k3", "nobody", "no key!")
        for key, strict in product(keys, ("", ",sd-strict=1")):
            headers = {"baggage": (f"sd-routing-key={key}" if key else "a=b") + strict}
            assert len(self.takers(rules, headers)) == 1, headers

    def takers(self, rules: Rules, headers: dict[str, str]) -> list[str | None]:
        return [consumer for consumer in self.CONSUMERS if self.decision(rules, headers, consumer).takes]

    def decision(self, rules: Rules, headers: dict[str, str], consumer: str | None) -> Decision:
        reading = READER.read(headers)
        key = reading.key or b""
        return decide(reading, rules.rule(key), is_gone=rules.is_gone(key, 1.0), consumer=consumer)

    @pytest.mark.parametrize(
        ("baggage", "taker", "reason", "is_refused"),
        [
            ("a=b", None, "no_key", False),
            ("a=b,sd-strict=1", None, "no_key", True),
            ("sd-routing-key=%zz", None, "invalid_key", False),
            ("sd-routing-key=k1", "pr-1", "route", False),
            ("sd-routing-key=k1,sd-strict=1", "pr-1", "route", False),
            ("sd-routing-key=k2,sd-routing-key=k1,sd-strict=1", "pr-1", "route", True),
            ("sd-routing-key=k3", None, "gone_route", True),
            ("sd-routing-key=nobody", None, "no_route", False),
            ("sd-routing-key=nobody,sd-strict=1", None, "no_route", True),
        ],
    )
    def test_reasons(self, baggage: str, taker: str | None, reason: str, is_refused: bool) -> None:
        rules = synced(event("ADD", "k1", "pr-1"), event("ADD", "k3", "pr-1"))
        rules.take(event("REMOVE", "k3"), 1.0)
        found = self.decision(rules, {"baggage": baggage}, taker)
        assert (found.takes, found.reason, found.is_refused) == (True, reason, is_refused)
        assert self.takers(rules, {"baggage": baggage}) == [taker]

    def test_a_sandbox_without_a_consumer_is_not_the_baselines(self) -> None:
        assert self.takers(synced(event("ADD", "k1", "pr-9")), {"baggage": "sd-routing-key=k1"}) == []


class TestReader:
    @pytest.mark.parametrize(
        "headers",
        [
            {"baggage": "sd-routing-key=k1"},
            {"Baggage": b"a=b, sd-sandbox=k1"},
            {"baggage": ["a=b", "sd-routing-key=k1"]},
            [("baggage", b"a=b"), ("baggage", b"sd-routing-key=k1")],
            {"tracestate": "sd-routing-key=k1,other=1", "x": "ü"},
        ],
    )
    def test_headers(self, headers: object) -> None:
        assert READER.read(headers).key == b"k1"  # type: ignore[arg-type]

    def test_plain_headers_and_names(self) -> None:
        reader = MessageReader(names=[b"key"], headers=[b"x-key"])
        assert reader.read({"X-Key": "k1", "baggage": "sd-routing-key=k2"}).key == b"k1"
        assert reader.read({"X-Key": "k1", "baggage": "key=k2"}).key == b"k2"
        with pytest.raises(ValueError):
            MessageReader(names=[])

    @pytest.mark.parametrize(("key", "read"), [("k1", b"k1"), (b"k1", b"k1"), (None, None)])
    def test_a_key(self, key: str | bytes | None, read: bytes | None) -> None:
        assert READER.of_key(key).key == read

    @pytest.mark.parametrize("key", ["", "a b", "k1,sd-routing-key=k2", "x" * 64, "a;b", "ü"])
    def test_what_is_no_key(self, key: str) -> None:
        found = READER.of_key(key)
        assert (found.key, found.invalid) == (None, True)
