"""The controller's page, as tests of it say what they mean."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.browser import Page
from tests.support.controller import sandbox

LOCATION = "hotrod/Deployment/location"
ROWS = "document.querySelectorAll('#objects-table > tbody > tr')"


def opened(page: Page, url: str) -> Page:
    """The page, once it is live."""
    page.open(f"{url}/ui")
    page.until("document.getElementById('state').textContent === 'live'")
    return page


def row(name: str, of: str = "objects") -> str:
    """An expression for the row that begins with this name."""
    rows = f"[...document.querySelectorAll('#{of}-table > tbody > tr:not(.details)')]"
    return f"{rows}.find((each) => each.firstChild.textContent === {json.dumps(name)})"


def cell(name: str, column: str, of: str = "objects") -> str:
    """An expression for the text of a cell; undefined while there is no such row."""
    return f"{row(name, of)}?.querySelector('[data-label={json.dumps(column)}]')?.textContent"


def focus_on(page: Page, expression: str, *, by: str = "Tab", most: int = 60) -> None:
    """Goes on by this key until the expression holds of `it`, which has the focus, and fails if it never does."""
    for _ in range(most):
        page.press(by)
        if page.evaluate(f"((it) => {expression})(document.activeElement)"):
            return
    raise AssertionError(f"nothing with the focus is so: {expression}")


def many(folder: Path, count: int) -> None:
    folder.mkdir()
    documents = (
        json.dumps(sandbox(f"pr-{number:04}", labels={"owner": f"dev-{number % 7}"})) for number in range(count)
    )
    (folder / "many.json").write_text("\n---\n".join(documents))
