"""What people see: console, columns, receipts, differences."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest

from pointsman.cli.changed import difference
from pointsman.cli.console import Console
from pointsman.cli.objects import complaints, readiness, routing_key
from pointsman.cli.receipts import Receipt, report
from pointsman.cli.tables import ago, columns

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestConsole:
    def test_for_people(self) -> None:
        out, err = io.StringIO(), io.StringIO()
        console = Console(out, err, is_json=False)
        console.result("a\nb")
        console.document({"x": 1})
        console.say("c")
        assert (out.getvalue(), err.getvalue()) == ("a\nb\n", "c\n")

    def test_for_programs_there_is_one_document(self) -> None:
        out, err = io.StringIO(), io.StringIO()
        console = Console(out, err, is_json=True)
        console.result("a")
        console.say("c")
        console.document({"x": 1})
        console.document({"error": {}})
        assert json.loads(out.getvalue()) == {"x": 1}
        assert err.getvalue() == "c\n"

    def test_progress_is_a_line_for_each_news(self) -> None:
        err = io.StringIO()
        console = Console(io.StringIO(), err, is_json=False)
        for text in ("1 of 2", "1 of 2", "2 of 2"):
            console.progress(text, 1.0)
        console.say("done")
        assert err.getvalue() == "1 of 2\n2 of 2\ndone\n"

    def test_progress_on_a_terminal_is_one_line_that_goes(self) -> None:
        err = Terminal()
        console = Console(io.StringIO(), err, is_json=False)
        console.progress("1 of 2", 0.4)
        console.progress("1 of 2", 1.6)
        console.result("done")
        assert err.getvalue() == "\r\x1b[K1 of 2 (0 s)\r\x1b[K1 of 2 (2 s)\r\x1b[K"

    def test_a_terminal_obeys_nobody_else(self) -> None:
        out, err = io.StringIO(), Terminal()
        console = Console(out, err, is_json=False)
        console.result("a\x1b]0;title\x07b\u009b2J\rc\td")
        console.progress("x\ny\x1b[2J", 0)
        assert out.getvalue() == "a\\x1b]0;title\\x07b\\x9b2J\\x0dc\td\n"
        assert err.getvalue() == "\r\x1b[Kx y\\x1b[2J (0 s)"


class TestTables:
    def test_columns(self) -> None:
        assert columns(("A", "BB"), [("xxx", "y"), ("z", "")], "  ") == "  A    BB\n  xxx  y\n  z"

    @pytest.mark.parametrize(
        ("timestamp", "text"),
        [
            ("2026-11-25T09:59:01Z", "59s"),
            ("2026-11-25T09:57:00Z", "3m"),
            ("2026-11-25T05:00:00Z", "5h"),
            ("2026-11-20T10:00:00Z", "5d"),
            ("2026-11-25T10:04:00Z", "4m"),
            ("soon", "-"),
            (None, "-"),
        ],
    )
    def test_ago(self, timestamp: object, text: str) -> None:
        assert ago(timestamp, NOW) == text


BASELINE = {"kind": "Deployment", "namespace": "hotrod", "name": "driver"}
INCOMPLETE = {
    "isComplete": False,
    "proxies": {"attached": 5, "knowing": 3},
    "workloads": [
        {
            "baseline": BASELINE,
            "proxies": 3,
            "acknowledged": 0,
            "hasDestination": False,
            "missing": [
                {"id": "driver-1", "state": "pending", "detail": ""},
                {"id": "driver-2", "state": "disconnected", "detail": "since 10:00"},
                {"id": "driver-3", "state": "refused", "detail": "routes[0]: no"},
            ],
        }
    ],
    "faults": ["hotrod/Deployment/driver has no destination"],
}


class TestReceipt:
    def test_what_is_missing_is_named(self) -> None:
        out, err = io.StringIO(), io.StringIO()
        report(Receipt(INCOMPLETE, 60.0), Console(out, err, is_json=False))
        assert out.getvalue() == ""
        assert err.getvalue() == (
            "not live everywhere after 60.0 s: hotrod/Deployment/driver 0 of 3; 3 of 5 proxies know the key\n"
            "  hotrod/Deployment/driver: proxy driver-1 has not acknowledged it\n"
            "  hotrod/Deployment/driver: proxy driver-2 is disconnected: since 10:00\n"
            "  hotrod/Deployment/driver: proxy driver-3 refuses it: routes[0]: no\n"
            "  hotrod/Deployment/driver has no destination\n"
        )

    def test_on_how_many_and_how_long(self) -> None:
        out = io.StringIO()
        workload = {"baseline": BASELINE, "proxies": 3, "acknowledged": 3, "hasDestination": True, "missing": []}
        document = {"isComplete": True, "proxies": {"attached": 5, "knowing": 5}, "workloads": [workload], "faults": []}
        report(Receipt(document, 0.1234), Console(out, io.StringIO(), is_json=False))
        assert out.getvalue() == (
            "  live after 0.12 s: hotrod/Deployment/driver 3 of 3; 5 of 5 proxies know the key\n"
            "  WORKLOAD                  PROXIES  ACKNOWLEDGED  DESTINATION\n"
            "  hotrod/Deployment/driver  3        3             yes\n"
        )

    @pytest.mark.parametrize("document", [None, {}, {"workloads": 3, "proxies": []}, {"isComplete": "yes"}])
    def test_what_is_no_receipt_is_not_complete(self, document: object) -> None:
        receipt = Receipt(document, 0)
        assert not receipt.is_complete
        assert receipt.summary() == "0 of 0 proxies know the key"
        assert list(receipt.faults()) == []


def object_document(**metadata: object) -> dict[str, object]:
    return {
        "apiVersion": "pointsman.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": {"name": "a", "namespace": "b", **metadata},
        "spec": {"local": []},
        "status": {"routingKey": "x"},
    }


class TestDifference:
    def test_what_changes_by_itself_is_no_difference(self) -> None:
        before = object_document(uid="1", resourceVersion="2", generation=3, creationTimestamp="2026-11-25T10:00:00Z")
        assert difference(before, object_document(resourceVersion="9"), "Sandbox b/a") == ""

    def test_lines(self) -> None:
        found = difference(object_document(), object_document(labels={"pr": "1"}), "Sandbox b/a").splitlines()
        assert found[:2] == ["--- Sandbox b/a (before)", "+++ Sandbox b/a (after)"]
        assert [line for line in found[2:] if line[0] in "+-"] == ["+  labels:", '+    pr: "1"']

    def test_a_new_object_is_all_new(self) -> None:
        found = difference(None, object_document(), "Sandbox b/a").splitlines()
        assert all(line.startswith(("+", "-", "@")) for line in found)
        assert "+kind: Sandbox" in found


class TestObjects:
    def conditions(self, *entries: tuple[str, str, str, str]) -> dict[str, object]:
        fields = ("type", "status", "reason", "message")
        return {"status": {"conditions": [dict(zip(fields, entry, strict=True)) for entry in entries]}}

    def test_readiness(self) -> None:
        assert readiness({}) == "-"
        assert readiness(self.conditions(("Ready", "True", "Ready", ""))) == "yes"
        assert readiness(self.conditions(("Ready", "False", "NoDestination", "x"))) == "NoDestination"
        assert readiness({"metadata": {"deletionTimestamp": "2026-11-25T10:00:00Z"}}) == "Deleting"

    @pytest.mark.parametrize(
        ("reason", "key"), [("Accepted", "k1"), ("Deleting", "k1"), ("KeyClaimed", None), ("KeyReserved", None)]
    )
    def test_a_key_that_is_anothers_is_none(self, reason: str, key: str | None) -> None:
        document = self.conditions(("Accepted", "False", reason, "x")) | {"spec": {"routingKey": "k1"}}
        assert routing_key(document) == key
        assert routing_key({"spec": {"routingKey": "k1"}}) == "k1"
        assert routing_key({}) is None

    def test_complaints_name_causes(self) -> None:
        cause, effect = ("Accepted", "False", "KeyClaimed", "taken"), ("Ready", "False", "NotAccepted", "taken")
        assert list(complaints(self.conditions(cause, effect))) == ["KeyClaimed: taken"]
        assert list(complaints(self.conditions(effect))) == ["NotAccepted: taken"]
        assert list(complaints(self.conditions(("Ready", "True", "Ready", "")))) == []
