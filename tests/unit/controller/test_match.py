from __future__ import annotations

import pytest

from controller.match import SandboxIndex, glob, is_member, matches
from controller.objects import AllMatch, AnyMatch, LabelMatch, Match
from tests.support.objects import group, sandbox

PR = LabelMatch("pr", "12*")
BRANCH = LabelMatch("branch", "main")


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*", ["", "a", "a.b"], []),
        ("12*", ["12", "123"], ["1", "112", ""]),
        ("1?", ["12"], ["1", "123"]),
        ("a.b", ["a.b"], ["axb", "A.b", "a.b\n"]),
        ("", [""], ["a"]),
        ("*a*b", ["ab", "xaxb"], ["ba", "abx"]),
    ],
)
def test_globs(pattern: str, yes: list[str], no: list[str]) -> None:
    assert all(map(glob(pattern), yes))
    assert not any(map(glob(pattern), no))


def test_a_glob_of_many_stars_ends() -> None:
    assert not glob("*a" * 31)("a" * 30 + "b" * 33)  # minutes, if it were tried in every way


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (PR, {"a", "b"}),
        (BRANCH, {"b", "c"}),
        (AnyMatch((PR, BRANCH)), {"a", "b", "c"}),
        (AllMatch((PR, BRANCH)), {"b"}),
        (AllMatch((AnyMatch((PR, BRANCH)), LabelMatch("pr", "?"))), {"c"}),
        (LabelMatch("none", "*"), set()),
        (AllMatch((LabelMatch("none", "*"), PR)), set()),
    ],
)
def test_index_and_match_agree(match: Match, expected: set[str]) -> None:
    sandboxes = [
        sandbox("a", labels={"pr": "123"}),
        sandbox("b", labels={"pr": "12", "branch": "main"}),
        sandbox("c", labels={"pr": "9", "branch": "main"}),
        sandbox("d"),
    ]
    index = SandboxIndex()
    for each in [*sandboxes, sandbox("e", labels={"pr": "12", "branch": "main"}, namespace="other")]:
        index.add(each)
    assert {ref.name for ref in index.matching(match, "hotrod")} == expected
    assert {each.metadata.name for each in sandboxes if matches(match, each.metadata.labels)} == expected


def test_what_is_removed_is_not_found() -> None:
    index = SandboxIndex()
    one, two = sandbox("a", labels={"pr": "1"}), sandbox("b", labels={"pr": "1"})
    index.add(one)
    index.add(two)
    index.remove(one)
    assert index.matching(LabelMatch("pr", "1"), "hotrod") == {two.ref}
    index.remove(two)
    assert index.matching(LabelMatch("pr", "1"), "hotrod") == set()
    assert index.matching(LabelMatch("pr", "1"), "unheard-of") == set()


@pytest.mark.parametrize(
    ("looks", "grants", "expected"),
    [((), (), False), (("hotrod",), (), False), ((), ("epics",), False), (("hotrod",), ("epics",), True)],
)
def test_other_namespaces_need_both_sides(looks: tuple[str, ...], grants: tuple[str, ...], expected: bool) -> None:
    member = sandbox(labels={"pr": "1"}, grants=grants)
    assert is_member(group(namespace="epics", namespaces=looks), member) is expected
    assert is_member(group(), member)
