"""Previews in a real browser: logging in, a page with what it loads, a WebSocket, and what a page can't do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from tests.support.browser import Page, browser
from tests.support.proxy import KEY, route, run_router, service, table

DOMAIN = "preview.example"
TOKEN = "a-token-of-the-team"
HOST = f"web--{KEY}.{DOMAIN}"
OTHER = f"web--other.{DOMAIN}"
START = "/start?tab=1"

PAGE = """<!doctype html><title>the application</title><script src=/script.js></script><script>
const socket = new WebSocket(`ws://${location.host}/socket`)
socket.onmessage = message => window.socketSays = message.data
socket.onopen = () => socket.send('who?')
</script>"""

OPENED = """new Promise(said => {
  const socket = new WebSocket('ws://%s/socket')
  socket.onopen = () => said('open')
  socket.onerror = () => said('refused')
})"""


class Application:
    """A page with a script and a WebSocket; all three say who answers. Its requests are recorded."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[Request] = []
        self._server: Server = serve(self._talk, "127.0.0.1", 0, process_request=self._answer)
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(10)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if request.path == "/socket":
            return None
        is_script = request.path == "/script.js"
        response = connection.respond(HTTPStatus.OK, f"window.scriptSays = '{self.name}'" if is_script else PAGE)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "text/javascript" if is_script else "text/html"
        response.headers["Cache-Control"] = "no-store"
        response.headers["Set-Cookie"] = f"own={self.name}; Path=/"
        response.headers["Set-Cookie"] = f"wide={self.name}; Path=/; Domain={DOMAIN}"
        return response

    def _talk(self, connection: ServerConnection) -> None:
        for _ in connection:
            connection.send(self.name)


@pytest.fixture
def applications() -> Iterator[tuple[Application, Application]]:
    both = Application("baseline"), Application("sandbox")
    yield both
    for each in both:
        each.close()


def log_in(page: Page, token: str) -> None:
    page.evaluate(f"document.querySelector('[name=token]').value = '{token}'; document.querySelector('button').click()")


def test_a_browser(tmp_path: Path, applications: tuple[Application, Application]) -> None:
    baseline, sandbox = applications
    document = table(
        route(KEY, [sandbox.port]),
        services=[service("frontend", upstream=baseline.port)],
        previews=[{"domain": DOMAIN, "endpoint": "web", "upstream": {"host": "frontend", "port": 80}}],
        liveKeys=["other"],
    )
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    with (
        run_router(tmp_path, document, flags=("--preview-token-file", str(tokens))) as router,
        browser(tmp_path, f"--host-resolver-rules=MAP *.{DOMAIN} 127.0.0.1:{router.port}") as chromium,
        chromium.page() as page,
        chromium.page(beside=page) as other,
    ):
        page.open(f"http://{HOST}{START}")
        assert page.evaluate("document.title") == "Preview: log in"
        # the form's own style holds, so its Content-Security-Policy names the right one
        assert page.evaluate("getComputedStyle(document.body).maxWidth") == "384px"
        assert sandbox.requests == []

        log_in(page, "wrong-token-of-the-team")
        page.until("document.querySelector('[role=alert]') !== null")
        log_in(page, TOKEN)
        page.until("document.title === 'the application'")
        assert page.evaluate("location.href") == f"http://{HOST}{START}"
        page.until("window.scriptSays && window.socketSays")
        assert page.evaluate("[scriptSays, socketSays]") == ["sandbox", "sandbox"]

        # what the page and the application see of the login: nothing
        assert page.evaluate("document.cookie.split('; ').sort().join()") == "own=sandbox,wide=sandbox"
        assert page.evaluate("fetch('/script.js').then(response => response.status)") == 200
        assert {request.path for request in sandbox.requests} == {START, "/script.js", "/socket"}
        assert {value for request in sandbox.requests for value in request.headers.get_all("baggage")} == {
            f"sd-routing-key={KEY}"
        }
        cookies = [cookie for request in sandbox.requests for cookie in request.headers.get_all("cookie")]
        assert cookies
        assert all("pointsman" not in cookie for cookie in cookies)
        assert baseline.requests == []

        # another preview asks again, and its page has none of the first one's cookies
        other.open(f"http://{OTHER}/")
        assert other.evaluate("document.title") == "Preview: log in"
        assert other.evaluate("document.cookie") == ""
        log_in(other, TOKEN)
        other.until("document.title === 'the application' && window.socketSays === 'baseline'")
        assert other.evaluate("document.cookie.split('; ').sort().join()") == "own=baseline,wide=baseline"

        # nor does it reach the first one's WebSocket, though the browser is logged in there
        assert other.evaluate(OPENED % OTHER) == "open"
        assert other.evaluate(OPENED % HOST) == "refused"
        assert page.evaluate(OPENED % HOST) == "open"

        # and a cookie that it sets for the whole domain logs nobody out
        other.evaluate(f"document.cookie = 'pointsman-preview=planted; Domain={DOMAIN}; Path=/'")
        page.open(f"http://{HOST}/again")
        assert page.evaluate("document.title") == "the application"
        assert "pointsman-preview=planted" in page.evaluate("document.cookie")
        assert all("pointsman" not in cookie for cookie in sandbox.requests[-1].headers.get_all("cookie"))
