"""The page against names that are markup, and what its policy stops; where its tokens are, and where not."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Browser, BrowserError, Page, browser
from tests.support.controller import Controller, run_controller, sandbox
from tests.support.feedclient import scripted_proxy
from tests.support.ui import ROWS, cell, opened, row
from tests.support.waiting import until

READER, WRITER = "reader-0123456789", "writer-0123456789"
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as chromium:
        yield chromium


@pytest.fixture
def controller(tmp_path: Path, chromium: Browser) -> Iterator[Controller]:
    with run_controller(tmp_path / "objects") as controller:
        yield controller
        assert not [line for line in controller.lines if "Traceback" in line or "failed" in line], controller.lines


def tokens(folder: Path, **roles: str) -> None:
    entries = [{"name": role, "token": token, "role": role} for role, token in roles.items()]
    (folder / "fresh").write_text(json.dumps(entries))
    os.replace(folder / "fresh", folder / "tokens.json")


@pytest.fixture
def guarded(tmp_path: Path, chromium: Browser) -> Iterator[Controller]:
    tokens(tmp_path, read=READER, write=WRITER)
    flags = ("--tokens-file", str(tmp_path / "tokens.json"))
    with run_controller(tmp_path / "objects", *flags, token=WRITER) as controller:
        controller.put(sandbox("pr-1"))
        yield controller


def enter(page: Page, token: str) -> None:
    page.until("!document.getElementById('login').hidden")
    assert page.evaluate("document.activeElement.id") == "token"
    page.type(token)
    page.press("Enter")


def test_who_has_a_token_reads_and_who_may_write_deletes(guarded: Controller, chromium: Browser) -> None:
    with chromium.page() as page:
        page.open(f"{guarded.url}/ui")
        enter(page, "nobody-0123456789")
        page.until("document.getElementById('login-why').textContent === 'this token is not known'")
        assert page.evaluate(f"{ROWS}.length") == 0
        enter(page, READER)
        page.until(f"{ROWS}.length === 1")
        page.click("th button")
        page.until("document.querySelector('.details')")
        assert page.text("#session").startswith("read, may read, all namespaces")
        assert not page.evaluate(
            "[...document.querySelectorAll('button')].some((each) => each.textContent.startsWith('Delete')"
            " && each.checkVisibility())"
        )
        page.click("#session button")
        page.until(f"{ROWS}.length === 0")
        enter(page, WRITER)
        page.until(f"{ROWS}.length === 1")
        page.click("th button")
        page.until("document.querySelector('.details .danger')")
        page.click(".details .danger")
        page.until("document.getElementById('sure').open")
        assert page.text("#sure-title") == "Delete Sandbox hotrod/pr-1?"
        page.click("#sure-yes")
        page.until(f"{ROWS}.length === 0")
        guarded.until_gone("pr-1")
        check_that_no_token_leaked(page, READER, WRITER)
        page.open(f"{guarded.url}/ui")  # and it is forgotten
        page.until("!document.getElementById('login').hidden")


def check_that_no_token_leaked(page: Page, *secrets: str) -> None:
    kept = page.evaluate(
        "[document.cookie, JSON.stringify(localStorage), location.href, JSON.stringify(history.state),"
        " document.documentElement.outerHTML, JSON.stringify(sessionStorage)].join()"
    )
    assert any(head.get("authorization") == f"Bearer {secrets[-1]}" for head in page.heads)
    assert not any("cookie" in head for head in page.heads)
    for secret in secrets:
        assert secret not in kept
        assert not any(secret in request["url"] or secret in request.get("postData", "") for request in page.requests)
        others = [value for head in page.heads for name, value in head.items() if name != "authorization"]
        assert not any(secret in value for value in others)


def test_one_that_is_kept_for_the_tab(guarded: Controller, chromium: Browser) -> None:
    with chromium.page() as page:
        page.open(f"{guarded.url}/ui")
        page.until("!document.getElementById('login').hidden")
        page.click("#keep")
        page.evaluate("document.getElementById('token').focus()")
        enter(page, READER)
        page.until(f"{ROWS}.length === 1")
        opened(page, guarded.url)
        page.until(f"{ROWS}.length === 1")
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        page.click("#session button")
        page.until("!document.getElementById('login').hidden")
        assert page.evaluate("sessionStorage.length") == 0


def test_one_that_is_taken_away(guarded: Controller, chromium: Browser) -> None:
    with chromium.page() as page:
        page.open(f"{guarded.url}/ui")
        enter(page, READER)
        page.until(f"{ROWS}.length === 1")
        tokens(guarded.folder.parent, write=WRITER)
        page.until("!document.getElementById('login').hidden", within_s=15)
        assert page.text("#login-why") == "this token is not known"
        assert page.text("#state").startswith("not live")


def check_that_nothing_ran(page: Page, *, images: int = 0) -> None:
    assert page.dialogs == []
    assert page.evaluate("document.querySelectorAll('img, iframe, object, embed, svg').length") == images
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.evaluate("document.querySelectorAll('[onerror], [onclick], [onload], [style]').length") == 0
    links = page.evaluate("[...document.querySelectorAll('#objects-table a')].map((each) => each.href)")
    assert all(re.match(r"https?://", link) for link in links), links


def test_names_that_are_markup(controller: Controller, chromium: Browser) -> None:
    """As far as names may be anything: a proxy's id, release and faults, and a table version."""
    controller.put(sandbox("pr-1"))
    with chromium.page() as page, scripted_proxy(controller.url, id=MARKUP) as proxy:
        opened(page, controller.url)
        page.until(row(MARKUP, "proxies"))
        proxy.acks = False
        controller.put(sandbox("pr-2"))
        until(lambda: len(proxy.tables) >= 2, "the table")
        nonce = proxy.tables[-1]["nonce"]
        routes = [{"routingKey": "pr-2", "faults": [MARKUP]}]
        proxy.say(type="nack", nonce=nonce, faults=[MARKUP], isWhole=False, routes=routes)
        page.until(f"{cell('hotrod/pr-2', 'State')}.includes({json.dumps(MARKUP)})")
        page.until(f"{cell(MARKUP, 'State', 'proxies')}.includes({json.dumps(MARKUP)})")
        page.evaluate("[...document.querySelectorAll('th button')].forEach((each) => each.click())")
        page.until("document.querySelectorAll('.details').length === 2")
        check_that_nothing_ran(page)
        assert page.troubles == []


def hostile_rows() -> list[dict[str, Any]]:
    """All that can be text is markup, whether the controller would let it pass or not."""
    workload = f"hotrod/Deployment/{MARKUP}"
    return [
        {"id": "table", "row": "table", "position": 5, "version": MARKUP, "attached": 1, "lacking": [[4, 1]],
         "routed": [MARKUP], "behind": {f"proxy {MARKUP}": [4, "2026-11-25T12:00:00Z"]}, "fault": MARKUP},
        {"id": f"proxy {MARKUP}", "row": "proxy", "proxy": MARKUP, "workload": workload, "release": MARKUP,
         "connected": True, "since": MARKUP, "faults": [MARKUP], "rival": True},
        {"id": f"traffic Sandbox {MARKUP}", "row": "traffic", "counts": {workload: [1, 2]}},
        {"id": f"Sandbox {MARKUP}", "row": "object", "kind": "Sandbox", "namespace": MARKUP, "name": MARKUP,
         "labels": {MARKUP: MARKUP}, "owner": MARKUP, "key": MARKUP, "asked": MARKUP, "made": MARKUP,
         "updated": MARKUP, "expires": MARKUP, "position": 5,
         "conditions": [[MARKUP, "False", MARKUP, MARKUP, MARKUP]],
         "workloads": [{"workload": workload, "sandbox": MARKUP, "ports": [[MARKUP, [MARKUP]]]}],
         "endpoints": [{"name": MARKUP, "target": MARKUP, "url": "javascript:alert(3)"},
                       {"name": MARKUP, "target": MARKUP, "url": f"https://x.example/{MARKUP}"}],
         "members": [MARKUP], "refusals": [{"proxy": MARKUP, "faults": [MARKUP]}]},
    ]  # fmt: skip


def test_a_controller_that_says_nothing_but_markup(controller: Controller, chromium: Browser) -> None:
    start = {"now": MARKUP, "who": MARKUP, "mayWrite": True, "namespaces": [MARKUP], "isAll": True}
    events = f"event: start\ndata: {json.dumps(start)}\n\nevent: rows\nid: {MARKUP}\n"
    events += f"data: {json.dumps({'rows': hostile_rows(), 'gone': []})}\n\n"
    explained = dict.fromkeys(("workload", "port", "decision", "sandbox", "reason", "reason_text"), MARKUP)
    explained |= {"goes_to": "sandbox", "status": 0, "destinations": [MARKUP], "steps": [MARKUP]}  # type: ignore[dict-item]
    explained["members"] = [{"header": MARKUP, "text": MARKUP, "state": MARKUP, "why": MARKUP}]  # type: ignore[assignment]
    with chromium.page() as page:
        page.stub("/api/v1/live", "text/event-stream", events.encode())
        page.stub("/api/v1/explain", "application/json", json.dumps(explained).encode())
        page.stub("since=1h", "application/json", json.dumps({"verdict": MARKUP, "reasons": [MARKUP]}).encode())
        page.open(f"{controller.url}/ui")
        page.until(f"{ROWS}.length === 1")
        page.evaluate("document.querySelector('th button').click()")
        page.until("document.querySelector('.details')")
        for number in (1, 2, 3):
            page.evaluate(f"document.querySelector('.details .buttons button:nth-child({number})').click()")
        page.until("document.querySelector('#explanation .outcome')")
        page.until("document.querySelector('.details [role=status] li')")
        page.until("document.getElementById('sure').open")
        shown = page.evaluate("document.documentElement.textContent")
        assert shown.count(MARKUP) >= 40  # it is all there, as text
        assert page.evaluate("document.querySelectorAll('#objects-table a').length") == 2
        check_that_nothing_ran(page)
        assert [each for each in page.troubles if "stub" not in each] == []


@pytest.mark.parametrize(
    "attempt",
    [
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "document.write('<b>x</b>')",
        "eval('1')",
        "setTimeout('globalThis.ran = 1')",
        "new Function('return 1')()",
        "document.createElement('script').text = 'globalThis.ran = 1'",
        "fetch('http://127.0.0.2:1/')",
        "new Worker('data:text/javascript,1')",
    ],
)
def test_the_policy_stops_what_would_be_a_way_in(controller: Controller, chromium: Browser, attempt: str) -> None:
    """In code of the page itself; DevTools evaluate beyond the policy for `eval`, so it runs from a module."""
    with chromium.page() as page:
        page.stub("/ui/words.js", "text/javascript", f"globalThis.attempt = () => {{ return {attempt}; }};".encode())
        page.open(f"{controller.url}/ui/words.js")
        page.open(f"{controller.url}/ui")
        page.evaluate("import('/ui/words.js')")
        with pytest.raises(BrowserError) as raised:
            page.evaluate("attempt()")
        policy = re.compile("TrustedHTML|TrustedScript|Content Security Policy")
        until(lambda: policy.search(" ".join([str(raised.value), *page.troubles])), "a word of the policy")
        assert page.evaluate("globalThis.ran") is None


def test_inline_scripts_and_styles_do_not_run(controller: Controller, chromium: Browser) -> None:
    with chromium.page() as page:
        opened(page, controller.url)
        page.evaluate(
            "(() => { const style = document.createElement('style'); style.textContent = 'body { display: none }';"
            " document.head.append(style); })()"
        )
        assert page.evaluate("getComputedStyle(document.body).display") == "block"
        assert any("Content Security Policy" in each for each in page.troubles)


def test_no_other_page_may_frame_it_or_read_it(controller: Controller) -> None:
    reply = controller.ask("GET", "/ui")
    policy = reply.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not any(name.lower().startswith("access-control-") for name in reply.headers)
    assert "Set-Cookie" not in reply.headers
    assert controller.ask("GET", "/ui", Host="evil.example").problem == "foreign"
    assert controller.ask("GET", "/ui", Sec_Fetch_Site="cross-site").problem == "foreign"


def test_nothing_comes_from_elsewhere(controller: Controller, chromium: Browser) -> None:
    controller.put(sandbox("pr-1"))
    with chromium.page() as page:
        opened(page, controller.url)
        page.until(f"{ROWS}.length === 1")
        assert {request["url"].split("/")[2] for request in page.requests} == {controller.url.split("/")[2]}
        modules = [request["url"] for request in page.requests if request["url"].endswith(".js")]
        assert len(modules) == len(set(modules)) >= 12  # each once
        assert page.troubles == []
