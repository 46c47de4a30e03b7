"""The page without a mouse, on a phone, and as assistive technology sees it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser, browser
from tests.support.controller import Controller, run_controller, sandbox
from tests.support.feedclient import scripted_proxy
from tests.support.ui import ROWS, focus_on, opened


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as chromium:
        yield chromium


@pytest.fixture
def controller(tmp_path: Path, chromium: Browser) -> Iterator[Controller]:
    with run_controller(tmp_path / "objects") as controller:
        yield controller
        assert not [line for line in controller.lines if "Traceback" in line or "failed" in line], controller.lines


def test_a_way_by_keyboard_alone(controller: Controller, chromium: Browser) -> None:
    """Filter, details, explain, delete."""
    for number in range(3):
        controller.put(sandbox(f"pr-{number}"))
    with scripted_proxy(controller.url), chromium.page() as page:
        opened(page, controller.url)
        page.until(f"{ROWS}.length === 3")
        page.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.press("Enter")
        page.press("Tab")  # the skipped-to element is where the next Tab begins
        if page.evaluate("document.activeElement.id") != "filter":
            focus_on(page, "it.id === 'filter'", by="Shift+Tab")
        page.press(*"pr-1")
        page.until(f"{ROWS}.length === 1")
        focus_on(page, "it.matches('th .open')")
        assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
        page.press("Enter")
        page.until("document.querySelector('.details')")
        assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
        page.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Explain a request with this key"
        page.press("Space")
        page.until("document.querySelector('#explanation .outcome')?.textContent.startsWith('To the sandbox pr-1 at ')")
        assert page.evaluate("document.activeElement.closest('form').id") == "explain-form"
        focus_on(page, "it.textContent === 'Delete...'", by="Shift+Tab")
        page.press("Enter")
        page.until("document.getElementById('sure').open")
        assert page.evaluate("document.activeElement.textContent") == "Keep it"
        page.press("Escape")
        page.until("!document.getElementById('sure').open")
        assert page.evaluate("document.activeElement.textContent") == "Delete..."
        page.press("Enter")
        page.until("document.getElementById('sure').open")
        page.press("Tab", "Enter")
        page.until(f"{ROWS}.length === 0")
        assert page.evaluate("document.activeElement.id") == "filter"
        page.press(*["Backspace"] * 4)
        page.until(f"{ROWS}.length === 2")
        # and once more, with an answer that comes after the row has gone
        page.evaluate(
            "(() => { const ask = fetch; globalThis.fetch = async (...all) => { const answer = await ask(...all);"
            f" while (all[1]?.method === 'DELETE' && {ROWS}.length > 1)"
            " await new Promise((done) => setTimeout(done, 10)); return answer; }; })()"
        )
        focus_on(page, "it.matches('th .open')")
        page.press("Enter")
        page.until("document.querySelector('.details')")
        focus_on(page, "it.textContent === 'Delete...'")
        page.press("Enter")
        page.until("document.getElementById('sure').open")
        page.press("Tab", "Enter")
        page.until("!document.getElementById('sure').open")
        assert page.evaluate("document.activeElement.id") == "filter"
        controller.until_gone("pr-1")
        assert page.troubles == []


def test_the_focus_is_seen_wherever_it_is(controller: Controller, chromium: Browser) -> None:
    controller.put(sandbox("pr-1"))
    with chromium.page() as page:
        opened(page, controller.url)
        page.until(f"{ROWS}.length === 1")
        seen = set()
        for _ in range(30):
            page.press("Tab")
            name, outline, box = page.evaluate(
                "((it) => [it.id || it.textContent || it.tagName, getComputedStyle(it).outlineStyle,"
                " it.getBoundingClientRect().width])(document.activeElement)"
            )
            if name in seen or "BODY" in name:
                break
            seen.add(name)
            assert outline != "none", name
            assert box > 0, name
        assert {"filter", "order", "only-trouble", "workload", "head", "Explain"} <= seen


@pytest.mark.parametrize("width", [1280, 360])
def test_assistive_technology_gets_names_and_tables(controller: Controller, chromium: Browser, width: int) -> None:
    """Also where style makes blocks of rows and cells."""
    controller.put(sandbox("pr-1", endpoints=[{"name": "web", "target": "http://frontend:80"}]))
    with scripted_proxy(controller.url), chromium.page(width, is_phone=width < 500) as page:
        opened(page, controller.url)
        page.until(f"{ROWS}.length === 1")
        page.evaluate("document.querySelector('th button').click()")
        page.until("document.querySelector('.details')")
        page.evaluate("document.querySelector('.details .buttons button').click()")
        page.until("document.querySelector('#explanation .outcome')")
        tree = page.tree()
        controls = ("button", "textbox", "searchbox", "combobox", "checkbox", "link", "spinbutton", "listbox")
        assert [each for each in tree if each[0] in controls and not each[1].strip()] == []
        named = {name for role, name in tree if role in controls}
        assert {"Filter by text", "Order", "Workload that gets the request", "baggage", "Explain"} <= named
        roles = [role for role, _ in tree]
        for landmark in ("banner", "main", "navigation", "search"):
            assert landmark in roles, landmark
        assert ("table", "Sandboxes and route groups") in tree
        assert ("columnheader", "State") in tree
        assert roles.count("columnheader") >= 8 + 6 + 6
        assert ("rowheader", "hotrod/pr-1") in tree
        assert ("region", "Details of hotrod/pr-1") in tree
        # Roles of their own, since not every browser keeps those of blocks.
        assert (
            page.evaluate("document.querySelectorAll(':is(table, thead, tbody, tr, th, td):not([role])').length") == 0
        )
        headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((each) => Number(each.tagName[1]))")
        assert headings[0] == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(headings))


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone(controller: Controller, chromium: Browser, dark: bool) -> None:
    """Nothing is wider than the window, however long names are; texts stand out from their ground."""
    long = "a" * 58
    labels = {"owner": "x" * 63, "example.com/" + "y" * 60: "z" * 63}
    endpoints = [{"name": "web", "target": f"http://{'h' * 60}.{'i' * 60}.example:80"}]
    for document in (sandbox("b" * 63, long, labels=labels, endpoints=endpoints), sandbox("c" * 63, long)):
        reply = controller.put(document)
        assert reply.status == 201, reply.body
    with (
        scripted_proxy(controller.url, f"hotrod/Deployment/{'d' * 63}", "e" * 59),
        chromium.page(360, 740, is_phone=True, dark=dark) as page,
    ):
        opened(page, controller.url)
        page.until(f"{ROWS}.length === 2")
        for _ in range(2):
            page.evaluate(
                "[...document.querySelectorAll('th button[aria-expanded=false]')].forEach((each) => each.click())"
            )
            page.until("document.querySelector('.details')")
        page.evaluate("document.querySelector('.details .buttons button').click()")
        page.until("document.querySelector('#explanation .outcome')")
        assert page.evaluate("document.querySelectorAll('.details').length") == 2
        assert page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [360, 360]
        wide = page.evaluate(
            "[...document.querySelectorAll('body *')].filter((each) => each.getBoundingClientRect().right > 360.5"
            " && !each.closest('.unseen')).map((each) => each.outerHTML.slice(0, 80))"
        )
        assert wide == []
        assert page.evaluate(CONTRASTS) == []
        small = page.evaluate(
            "[...document.querySelectorAll('button, input:not([type=checkbox]), select')].filter((each) =>"
            " each.checkVisibility() && each.getBoundingClientRect().height < 24).map((each) => each.outerHTML)"
        )
        assert small == []  # WCAG 2.2, 2.5.8
        assert page.troubles == []


# The texts whose contrast to their ground is below 4.5 (WCAG 2.2, 1.4.3).
CONTRASTS = """(() => {
  const parts = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (color) => {
    const linear = (each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = parts(color).map((each) => linear(each / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const hasText = [...element.childNodes].some((each) => each.nodeType === 3 && each.data.trim() !== '');
    if (!hasText || !element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) found.push(`${contrast.toFixed(1)} ${element.outerHTML.slice(0, 80)}`);
  }
  return found;
})()"""
