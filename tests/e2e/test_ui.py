"""The page at `/ui`, of a real controller, in a real headless browser: what it shows, and how it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import commandline
from tests.support.browser import Browser, browser
from tests.support.commandline import running_controller
from tests.support.controller import NAMESPACE, Controller, path_of, run_controller, sandbox
from tests.support.feedclient import scripted_proxy
from tests.support.ui import LOCATION, ROWS, cell, many, opened, row


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as chromium:
        yield chromium


@pytest.fixture
def controller(tmp_path: Path, chromium: Browser) -> Iterator[Controller]:
    with run_controller(tmp_path / "objects") as controller:
        yield controller
        assert not [line for line in controller.lines if "Traceback" in line or "failed" in line], controller.lines


def test_a_sandbox_is_seen_a_moment_after_it_was_applied(tmp_path: Path, chromium: Browser) -> None:
    with running_controller(tmp_path) as controller, scripted_proxy(controller.url), chromium.page() as page:
        opened(page, controller.url)
        page.until("document.body.innerText.includes('There is none.')")
        file = tmp_path / "sandbox.yaml"
        file.write_text(json.dumps(commandline.sandbox("pr-1", key="key1", labels={"owner": "ann"})))
        result = commandline.run("sandbox", "apply", "--controller", controller.url, "-f", str(file), "--wait")
        assert result.code == 0, result.err
        page.until(f"{cell('hotrod/pr-1', 'State')} === 'live'", within_s=5)
        assert page.evaluate(cell("hotrod/pr-1", "Key")) == "key1"
        assert page.evaluate(cell("hotrod/pr-1", "Owner")) == "ann"
        assert page.evaluate(cell("hotrod/pr-1", "Proxies that have it")) == "1 of 1"
        assert page.text("#summary") == "1 sandbox, 0 route groups; none in trouble."
        deleted = commandline.run("sandbox", "delete", "pr-1", "--controller", controller.url, "--namespace", NAMESPACE)
        assert deleted.code == 0, deleted.err
        page.until(f"{ROWS}.length === 0")
        assert page.troubles == []


def test_what_is_wrong_in_words(controller: Controller, chromium: Browser) -> None:
    """Among it a false green: nobody has to look for it."""
    controller.put(sandbox("pr-1"))
    controller.put(sandbox("pr-2", "pr-1"))
    with chromium.page() as page:
        opened(page, controller.url)
        page.until(f"{cell('hotrod/pr-1', 'State')} === 'no proxy of {LOCATION} is attached'")
        assert "pr-1, which is older, has the key" in page.evaluate(cell("hotrod/pr-2", "State"))
        with scripted_proxy(controller.url) as proxy:
            page.until(f"{cell('hotrod/pr-1', 'State')} === 'live'")
            proxy.report([("pr-1", 5, 0)])
            page.until(f"{cell('hotrod/pr-1', 'Answered in the last hour')} === '5 by sandbox, 0 by baseline'")
            proxy.report([("pr-1", 0, 2)])
            page.until(
                f"{cell('hotrod/pr-1', 'State')} === 'the baseline of {LOCATION} answered 2 requests with this key'"
            )
            page.click("th button")
            page.until("document.querySelector('.details')?.textContent.includes('2: not tested')")
            page.click(".details .buttons button:nth-child(2)")
            page.until("document.querySelector('.details [role=status]').textContent.startsWith('No.')")
            assert page.text("#proxies-summary") == "1 proxy attached, all have table 2."
        page.until("document.getElementById('proxies-summary').textContent.includes('1 missing')")
        assert "missing since" in page.evaluate(cell("p1", "State", "proxies"))
        page.until(f"{cell('hotrod/pr-1', 'State')}.includes('and 1 more')")
        assert page.troubles == []


def test_a_proxy_that_is_behind(controller: Controller, chromium: Browser) -> None:
    with scripted_proxy(controller.url) as proxy, chromium.page() as page:
        opened(page, controller.url)
        page.until(f"{cell('p1', 'Table that it has', 'proxies')} === '1, current'")
        proxy.acks = False
        controller.put(sandbox("pr-1"))
        page.until(f"{cell('hotrod/pr-1', 'State')} === 'on its way to proxies'")
        page.until(f"{cell('p1', 'State', 'proxies')} === 'connected, behind'")
        assert page.evaluate(cell("hotrod/pr-1", "Proxies that have it")) == "0 of 1"
        page.until(f"{cell('p1', 'Table that it has', 'proxies')}.startsWith('1 of 2, stale for ')")
        page.until(f"{cell('hotrod/pr-1', 'State')} === 'p1 has not got it yet'")
        proxy.ack(proxy.tables[-1])
        page.until(f"{cell('hotrod/pr-1', 'State')} === 'live'")


def test_a_route_group_and_its_endpoints(controller: Controller, chromium: Browser) -> None:
    controller.put(sandbox("pr-1", labels={"pr": "1"}, endpoints=[{"name": "web", "target": "http://frontend:80"}]))
    group = {
        "apiVersion": "pointsman.dev/v1alpha1", "kind": "RouteGroup",
        "metadata": {"name": "epic", "namespace": NAMESPACE},
        "spec": {"routingKey": "epic", "match": {"label": {"key": "pr", "value": "*"}}},
    }  # fmt: skip
    assert controller.ask("PUT", path_of("epic", "routegroups"), group).status == 201
    with scripted_proxy(controller.url), chromium.page() as page:
        opened(page, controller.url)
        page.until(f"{ROWS}.length === 2")
        assert page.evaluate(cell("hotrod/pr-1", "Endpoints")) == "web: http://frontend:80"
        page.evaluate("document.querySelector('th button').click()")
        page.until("document.querySelector('.details')?.textContent.includes('hotrod/pr-1')")
        assert "route group" in page.text("#objects-table tbody th")


def test_a_thousand_sandboxes(tmp_path: Path, chromium: Browser) -> None:
    folder = tmp_path / "objects"
    many(folder, 1000)
    with run_controller(folder) as controller, scripted_proxy(controller.url), chromium.page() as page:
        opened(page, controller.url)
        page.until("document.getElementById('summary').textContent.startsWith('1,000 sandboxes, ')")
        assert page.evaluate(f"{ROWS}.length") == 50  # not a thousand rows of elements
        assert page.metrics()["Nodes"] < 10_000
        controller.put(sandbox("pr-0003", labels={"owner": "changed"}))
        page.until(f"{cell('hotrod/pr-0003', 'Owner')} === 'changed'")
        page.click("#filter")
        page.type("pr-0777")
        page.until(f"{ROWS}.length === 1")
        page.until("document.getElementById('announce').textContent === '1 sandbox or group.'")
        controller.ask("DELETE", path_of("pr-0777"))
        page.until(f"{ROWS}.length === 0")
        page.evaluate("document.getElementById('filter').value = 'dev-3'")
        page.type(" ")
        page.until(f"{ROWS}.length === 50")
        pager = "document.querySelector('#objects-pager span').textContent"
        assert page.evaluate(pager) == "1 to 50 of 142 rows"
        page.click("#objects-pager button:last-of-type")
        page.until(f"{pager} === '51 to 100 of 142 rows'")
        assert page.troubles == []


def test_hearers_are_left_alone(controller: Controller, chromium: Browser) -> None:
    """What changes by itself is no news for whoever listens: live regions stay as they are."""
    with chromium.page() as page:
        opened(page, controller.url)
        page.evaluate(
            "(() => { globalThis.said = [];"
            " for (const each of document.querySelectorAll('[role=status], [role=alert]'))"
            " new MutationObserver(() => said.push(each.id)).observe(each, {subtree: true, childList: true}); })()"
        )
        for number in range(5):
            controller.put(sandbox(f"pr-{number}"))
        page.until(f"{ROWS}.length === 5")
        assert page.evaluate("said") == []


def test_explain(controller: Controller, chromium: Browser) -> None:
    controller.put(sandbox("pr-1"))
    with chromium.page() as page:
        opened(page, controller.url)

        def ask(**fields: str) -> str:
            page.evaluate("document.getElementById('explanation').replaceChildren()")
            for name, value in {"workload": LOCATION, "port": "", "baggage": "", "head": "", **fields}.items():
                page.evaluate(f"document.getElementById('{name}').value = {json.dumps(value)}")
            page.click("#explain-form button")
            page.until("document.querySelector('#explanation .outcome')")
            return page.text("#explanation .outcome")

        assert ask(baggage="sd-routing-key=pr-1").startswith("To the sandbox pr-1 at 127.0.0.1:9081 (route: ")
        assert page.evaluate("document.querySelectorAll('#explanation ol > li').length") >= 4
        assert ask(baggage="sd-routing-key=nobody").startswith("To the baseline (unknown_key: ")
        head = "GET / HTTP/1.1\r\nHost: x\r\ntracestate: sd-routing-key=pr-1\r\n\r\nbody"
        assert ask(head=head, port="9999").startswith("Answered with 503 (port_not_mapped: ")
        assert ask(workload="nonsense").startswith("the question can't be read; workload: ")
        options = page.evaluate(
            "(document.getElementById('workload').focus(), [...document.querySelectorAll('datalist option')]"
            ".map((each) => each.value))"
        )
        assert options == [LOCATION]
        assert [each for each in page.troubles if "400" not in each] == []


def test_a_controller_that_dies_and_comes_back(tmp_path: Path, chromium: Browser) -> None:
    with running_controller(tmp_path) as controller, chromium.page() as page:
        (controller.folder / "one.yaml").write_text(json.dumps(commandline.sandbox("pr-1")))
        opened(page, controller.url)
        page.until(f"{ROWS}.length === 1")
        assert controller.process is not None
        controller.process.kill()
        controller.process.wait(15)
        page.until("document.getElementById('state').textContent.startsWith('not live since ')")
        assert page.evaluate(f"{ROWS}.length") == 1  # what was is shown, and said to be old
        (controller.folder / "one.yaml").unlink()
        (controller.folder / "two.yaml").write_text(json.dumps(commandline.sandbox("pr-2")))
        controller.start()
        page.until(f"{row('hotrod/pr-2')}")
        page.until(f"{ROWS}.length === 1")
        assert page.text("#state") == "live"
