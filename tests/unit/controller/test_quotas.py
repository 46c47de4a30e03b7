"""How many objects there may be."""

from __future__ import annotations

import pytest

from controller.objects import Object
from controller.quotas import Quotas
from tests.support.objects import NOON, group, sandbox


def test_no_limit() -> None:
    assert not Quotas().has_any
    assert Quotas().refusal(sandbox("a"), None, [sandbox(f"x{n}") for n in range(100)]) is None


@pytest.mark.parametrize(
    ("others", "is_refused"),
    [
        ([], False),
        ([sandbox("a")], False),
        ([sandbox("a"), group("b")], True),  # both kinds count
        ([sandbox("a"), sandbox("b", namespace="other")], False),
        ([sandbox("a"), sandbox("b", deleted=NOON)], True),  # until it is gone
        ([sandbox("a"), sandbox("new")], False),  # it does not count itself
    ],
)
def test_per_namespace(others: list[Object], is_refused: bool) -> None:
    refusal = Quotas(per_namespace=2).refusal(sandbox("new"), None, others)
    assert (refusal is not None) == is_refused
    if refusal is not None:
        assert refusal == "--quota-namespace: hotrod has 2 objects, and may have 2"


def test_per_owner() -> None:
    quotas = Quotas(per_owner=1, owner_label="team")
    x, y = {"team": "x"}, {"team": "y"}
    others = [sandbox("a", labels=x, namespace="other"), sandbox("b")]
    assert "team=x" in str(quotas.refusal(sandbox("new", labels=x), None, others))
    assert quotas.refusal(sandbox("new", labels=y), None, others) is None
    # Who leaves the label out, or empty, is an owner too.
    for labels in ({}, {"team": ""}):
        assert "without the label team" in str(quotas.refusal(sandbox("new", labels=labels), None, others))


def test_what_is_there_may_change_unless_it_changes_hands() -> None:
    quotas = Quotas(1, 1)
    x, y = {"owner": "x"}, {"owner": "y"}
    others = [sandbox("a", labels=x), sandbox("b", labels=x), sandbox("c", labels=y)]
    assert quotas.refusal(sandbox("a", labels={**x, "more": "1"}), others[0], others) is None
    assert "owner=y" in str(quotas.refusal(sandbox("a", labels=y), others[0], others))
    assert quotas.refusal(sandbox("a", labels={"owner": "z"}), others[0], others) is None
