"""Another table that is invalid, or none: the old one stays in force, everybody is told why, a good one ends it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.badtables import BAD_TABLES, are_these
from tests.support.client import ask, get
from tests.support.load import loaded
from tests.support.origin import Origin, running
from tests.support.proxy import KEY, Proxy, route, run_proxy, table
from tests.support.waiting import until

TAGGED = f"baggage: sd-routing-key={KEY}"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Origin]:
    origin = Origin("sandbox")
    with running(origin):
        yield origin


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, sandbox: Origin) -> Iterator[Proxy]:
    """One proxy for all bad tables: what it was told before must not matter."""
    baseline = Origin("baseline")
    with running(baseline), run_proxy(tmp_path_factory.mktemp("shared"), baseline.port) as proxy:
        yield proxy


def replace(path: Path, text: str) -> None:
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    os.replace(fresh, path)


def faults_told(proxy: Proxy) -> list[str]:
    faults = proxy.state()["last_error"]
    assert isinstance(faults, list)
    return faults


def check_refusal(proxy: Proxy, version: str, refused_before: float, beginnings: list[str]) -> None:
    """The proxy is on the old version still, and `/table`, `/metrics` and the log say why."""
    until(lambda: proxy.state()["stale"], "the refusal")
    state = proxy.state()
    assert state["version"] == version
    assert are_these(faults_told(proxy), beginnings), faults_told(proxy)
    assert state["refused_total"] == refused_before + 1
    assert proxy.metric("pointsman_table_refused_total") == refused_before + 1
    assert proxy.metric("pointsman_table_stale") == 1
    assert proxy.metric(f'pointsman_table_info{{version="{version}"}}') == 1
    assert proxy.page("/readyz")[0] == 200
    logged = f"pointsman proxy: table {proxy.table_path} refused, the old one stays: "
    for fault in faults_told(proxy):
        until(lambda line=logged + fault: line in proxy.lines, f"the log line of {fault}")  # type: ignore[misc]
    assert ask(proxy.port, get("/", TAGGED)).origin == "sandbox"
    assert ask(proxy.port, get()).origin == "baseline"


def check_recovery(proxy: Proxy, sandbox: Origin, version: str, refused: float) -> None:
    """A good table takes effect and nothing is stale any more; the count stays."""
    proxy.set_table(table(route(KEY, [sandbox.port]), route("added", [sandbox.port]), version=version))
    state = proxy.state()
    assert (state["stale"], state["last_error"], state["refused_total"]) == (False, [], refused)
    assert proxy.metric("pointsman_table_stale") == 0
    assert proxy.metric("pointsman_table_refused_total") == refused
    assert ask(proxy.port, get("/", "baggage: sd-routing-key=added")).origin == "sandbox"


@pytest.mark.parametrize("name", BAD_TABLES)
def test_refused(shared: Proxy, sandbox: Origin, name: str) -> None:
    text, beginnings = BAD_TABLES[name]
    shared.set_table(table(route(KEY, [sandbox.port]), version=f"before {name}"))
    refused = shared.metric("pointsman_table_refused_total")
    replace(shared.table_path, text)
    check_refusal(shared, f"before {name}", refused, beginnings)
    check_recovery(shared, sandbox, f"after {name}", refused + 1)


def test_the_file_is_gone(shared: Proxy, sandbox: Origin) -> None:
    shared.set_table(table(route(KEY, [sandbox.port]), version="before it went"))
    refused = shared.metric("pointsman_table_refused_total")
    shared.table_path.unlink()
    check_refusal(shared, "before it went", refused, ["the file is gone"])
    check_recovery(shared, sandbox, "after it went", refused + 1)


def test_a_folder_in_its_place(shared: Proxy, sandbox: Origin) -> None:
    shared.set_table(table(route(KEY, [sandbox.port]), version="before the folder"))
    refused = shared.metric("pointsman_table_refused_total")
    fresh = shared.table_path.with_name("folder")
    fresh.mkdir()
    shared.table_path.unlink()
    fresh.rename(shared.table_path)
    check_refusal(shared, "before the folder", refused, ["can't be read: Is a directory"])
    shared.table_path.rmdir()
    until(lambda: faults_told(shared) == ["the file is gone"], "the second refusal")
    check_recovery(shared, sandbox, "after the folder", refused + 2)


def test_a_large_one(shared: Proxy, sandbox: Origin) -> None:
    """Read in a process of its own; the first hundred faults are told."""
    shared.set_table(table(route(KEY, [sandbox.port]), version="before the large one"))
    refused = shared.metric("pointsman_table_refused_total")
    bad = table(*(route(f"k{index}", [0]) for index in range(1000)))
    shared.set_table(bad, wait=False)
    where = "mappings[0].destinations[0].port: must be an integer in 1-65535, is 0"
    until(lambda: shared.state()["stale"], "the refusal", within_s=30)  # that process has a low priority
    told = [*(f"routes[{index}].{where}" for index in range(100)), "and 900 more"]
    assert (shared.state()["version"], faults_told(shared)) == ("before the large one", told)
    until(lambda: any(line.endswith("980 more faults") for line in shared.lines), "the end of the log")
    assert ask(shared.port, get("/", TAGGED)).origin == "sandbox"
    check_recovery(shared, sandbox, "after the large one", refused + 1)


def test_one_refusal_follows_another(shared: Proxy, sandbox: Origin) -> None:
    """What is told is the latest."""
    shared.set_table(table(route(KEY, [sandbox.port]), version="before both"))
    refused = shared.metric("pointsman_table_refused_total")
    for count, name in enumerate(("no version", "two faults"), 1):
        text, beginnings = BAD_TABLES[name]
        replace(shared.table_path, text)
        until(lambda told=beginnings: are_these(faults_told(shared), told), name)  # type: ignore[misc]
        assert shared.metric("pointsman_table_refused_total") == refused + count
    check_recovery(shared, sandbox, "after both", refused + 2)


def test_what_is_gone_stays_gone(shared: Proxy, sandbox: Origin) -> None:
    """A refused table between two good ones makes no key forgotten, and none that it lists live."""
    shared.set_table(table(route(KEY, [sandbox.port]), route("leaves", [sandbox.port]), version="with both"))
    shared.set_table(table(route(KEY, [sandbox.port]), version="without it"))
    refused = shared.metric("pointsman_table_refused_total")
    shared.set_table(table(route("leaves", [sandbox.port]), route("-", [sandbox.port])), wait=False)
    until(lambda: shared.state()["stale"], "the refusal")
    gone = get("/", "baggage: sd-routing-key=leaves")
    assert ask(shared.port, gone).status == 424
    check_recovery(shared, sandbox, "without it still", refused + 1)
    assert ask(shared.port, gone).status == 424


def test_under_load(shared: Proxy, sandbox: Origin) -> None:
    """Bad tables of every kind, one after another, do not touch a single request."""
    shared.set_table(table(route(KEY, [sandbox.port]), version="good"))
    refused = shared.metric("pointsman_table_refused_total")
    with loaded(shared.port, {"baseline": get(), "sandbox": get("/", TAGGED)}) as load:
        for count, (text, _) in enumerate(BAD_TABLES.values(), 1):
            replace(shared.table_path, text)
            until(lambda total=refused + count: shared.state()["refused_total"] == total, text)  # type: ignore[misc]
    assert shared.state()["version"] == "good"
    for answer in load.answers():
        assert answer.response is not None, answer
        assert (answer.response.status, answer.response.origin) == (200, answer.name)
