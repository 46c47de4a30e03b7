"""The page's modules, one by one, in a real browser: each `*_test.js` of the folder `www` is one test here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from controller.rest.ui import _HEADERS
from tests.support.browser import Page, browser

WWW = Path(__file__).parents[4] / "controller" / "rest" / "www"
TESTS = Path(__file__).parent / "www"
MODULES = sorted(path.name for path in TESTS.glob("*_test.js"))


class Handler(SimpleHTTPRequestHandler):
    """The page's files at /ui/, the tests' at /tests/, under the page's own policy."""

    def translate_path(self, path: str) -> str:
        _, folder, name = path.split("?")[0].split("/", 2)
        return str({"ui": WWW, "tests": TESTS}[folder] / name)

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", _HEADERS["Content-Security-Policy"])
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(WWW)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with browser(tmp_path_factory.mktemp("browser")) as chromium, chromium.page() as page:
            page.open(f"http://127.0.0.1:{server.server_port}/tests/check.js")
            yield page
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.mark.parametrize("module", MODULES)
def test_module(page: Page, module: str) -> None:
    page.troubles.clear()
    found = page.evaluate(
        f"Promise.all([import('/tests/check.js'), import('/tests/{module}')])"
        ".then(([check, module]) => check.run(module.tests))"
    )
    assert found["failed"] == []
    assert found["count"] >= 3
    assert page.troubles == []


def test_all_modules_have_a_test_that_fails(page: Page) -> None:
    """The harness can say no."""
    found = page.evaluate(
        "import('/tests/check.js').then((check) => check.run({"
        " wrong: () => check.equal(1, 2), late: async () => { throw new Error('x'); }, fine: () => {} }))"
    )
    assert found == {"count": 3, "failed": ["wrong: 1\n  must be 2", "late: x"]}
