"""A real headless browser, driven over the DevTools protocol: Debian's `chromium-headless-shell`, or any Chromium.

    with browser(tmp_path) as chromium, chromium.page() as page:
        page.open(url)
        page.until("document.querySelector('h1')")
        page.press("Tab")
        assert page.troubles == []

Protocol: chromedevtools.github.io/devtools-protocol, over one WebSocket, pages as flat sessions. All waits are bounded.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.waiting import until

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
LONG_S = 30.0
_START_S = 60.0  # on a machine that is busy
_LISTENING = re.compile(r"DevTools listening on (ws://\S+)")
# Of keys that are no text: code, and the number that older handlers read.
_KEYS = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    "Space": 32,
    "PageUp": 33,
    "PageDown": 34,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Backspace": 8,
    "Delete": 46,
}
_TEXT_OF = {"Enter": "\r", "Space": " "}
_MODIFIERS = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}


class BrowserError(Exception):
    """The browser refused, or a script threw."""


def program() -> str:
    """The browser of this machine; the test is skipped where there is none."""
    for name in NAMES:
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip(f"no browser is installed ({NAMES[0]} in Debian)")


class Browser:
    """A running browser. `page` opens a window of its own, which shares nothing with others."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._number = 0
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self.pid = 0
        threading.Thread(target=self._read, daemon=True).start()

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """Raises: BrowserError."""
        answers: queue.Queue[dict[str, Any]] = queue.Queue()
        message: dict[str, object] = {"method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        with self._lock:
            self._number += 1
            number = self._number
            self._answers[number] = answers
            self._connection.send(json.dumps({"id": number, **message}))
        try:
            answer = answers.get(timeout=LONG_S)
        except queue.Empty:
            raise BrowserError(f"{method}: no answer") from None
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error'].get('message')}")
        result = answer["result"]
        assert isinstance(result, dict)
        return result

    def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = json.loads(self._connection.recv())
                if "id" in message:
                    if (answers := self._answers.pop(message["id"], None)) is not None:
                        answers.put(message)
                elif (page := self._pages.get(message.get("sessionId", ""))) is not None:
                    page.hear(message["method"], message["params"])

    @contextlib.contextmanager
    def page(
        self,
        width: int = 1280,
        height: int = 800,
        *,
        is_phone: bool = False,
        dark: bool = False,
        beside: Page | None = None,
    ) -> Iterator[Page]:
        """`beside`: another one, whose cookies and storage it shares."""
        context = beside.context if beside is not None else self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, context)
        try:
            for domain in ("Page", "Runtime", "Log", "Network", "Performance", "DOM", "Accessibility"):
                page.call(f"{domain}.enable")
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=2 if is_phone else 1,
                mobile=is_phone,
            )
            if is_phone:
                page.call("Emulation.setTouchEmulationEnabled", enabled=True)
            page.call("Emulation.setEmulatedMedia", features=[scheme(dark)])
            yield page
        finally:
            with contextlib.suppress(BrowserError, ConnectionClosed):
                if beside is None:
                    self.call("Target.disposeBrowserContext", browserContextId=context)
                else:
                    self.call("Target.closeTarget", targetId=target)
            self._pages.pop(session, None)


def scheme(dark: bool) -> dict[str, str]:
    return {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}


class Page:
    """One window."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self.context = context
        self._browser = browser
        self._session = session
        self.troubles: list[str] = []  # errors and warnings of console, scripts, network and policies
        self.requests: list[Mapping[str, Any]] = []  # all that scripts and markup asked for: url, method, postData
        self.heads: list[Mapping[str, str]] = []  # the fields that were sent, names in small letters
        self.dialogs: list[str] = []  # of alert() and the like; they are dismissed
        self._stubs: list[tuple[str, str, bytes]] = []  # the end of an address, media type, body

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Raises: BrowserError."""
        return self._browser.call(method, self._session, **parameters)

    def hear(self, method: str, params: Mapping[str, Any]) -> None:
        """What the browser tells by itself."""
        match method:
            case "Runtime.exceptionThrown":
                self.troubles.append(_of_exception(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.troubles.append(" ".join(str(each.get("value", each)) for each in params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                entry = params["entry"]
                self.troubles.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}".strip())
            case "Network.requestWillBeSent":
                self.requests.append(params["request"])
            case "Network.requestWillBeSentExtraInfo":
                self.heads.append({name.lower(): value for name, value in params["headers"].items()})
            case "Page.javascriptDialogOpening":
                self.dialogs.append(params["message"])
                self._aside("Page.handleJavaScriptDialog", accept=False)
            case "Fetch.requestPaused":
                self._answer(params["requestId"], params["request"]["url"])

    def _aside(self, method: str, **parameters: object) -> None:
        """A call that is not waited for: the thread that hears reads the answers."""

        def call() -> None:
            with contextlib.suppress(BrowserError, ConnectionClosed):
                self.call(method, **parameters)

        threading.Thread(target=call, daemon=True).start()

    def stub(self, ending: str, media_type: str, body: bytes) -> None:
        """From now on this is the answer to requests for addresses that end so; the others go on."""
        self._stubs.append((ending, media_type, body))
        self.call("Fetch.enable", patterns=[{"urlPattern": "*"}])

    def _answer(self, number: str, url: str) -> None:
        for ending, media_type, body in self._stubs:
            if url.endswith(ending):
                headers = [{"name": "Content-Type", "value": media_type}]
                text = base64.b64encode(body).decode()
                self._aside(
                    "Fetch.fulfillRequest", requestId=number, responseCode=200, responseHeaders=headers, body=text
                )
                return
        self._aside("Fetch.continueRequest", requestId=number)

    # --- what a user does --------------------------------------------------------------------------------------------

    def open(self, url: str) -> None:
        """Returns once its scripts have run."""
        failed = self.call("Page.navigate", url=url).get("errorText")
        assert not failed, f"{url}: {failed}"
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'", f"{url}")

    def press(self, *keys: str) -> None:
        """Keys one after another: one character, or a name as in KeyboardEvent.key; `Shift+Tab` for two at once."""
        for each in keys:
            *held, key = each.split("+") if len(each) > 1 else [each]
            modifiers = sum(_MODIFIERS[name] for name in held)
            named = {"key": " " if key == "Space" else key, "modifiers": modifiers}
            code = {"code": key, "windowsVirtualKeyCode": _KEYS[key]} if key in _KEYS else {}
            text = key if key not in _KEYS else _TEXT_OF.get(key, "")
            shown = {"text": text} if text and not modifiers & ~_MODIFIERS["Shift"] else {}
            self.call("Input.dispatchKeyEvent", type="keyDown" if shown else "rawKeyDown", **named, **code, **shown)
            self.call("Input.dispatchKeyEvent", type="keyUp", **named, **code)

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of what the selector finds first."""
        x, y = self.evaluate(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)});"
            " if (it === null) throw new Error('not there');"
            " it.scrollIntoView({block: 'center', behavior: 'instant'}); const box = it.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for type_ in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=type_, x=x, y=y, button="left", clickCount=1)

    # --- what is to be seen ------------------------------------------------------------------------------------------

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for. The page's policy stays in force.

        Raises: BrowserError if it throws.
        """
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        if "exceptionDetails" in answer:
            raise BrowserError(_of_exception(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def until(self, expression: str, what: str | None = None, *, within_s: float = LONG_S) -> None:
        """Waits until the expression is truthy, on whatever page there is then."""

        def is_so() -> bool:
            try:
                return bool(self.evaluate(f"!!({expression})"))
            except BrowserError as error:
                if "context" in str(error):  # between two pages
                    return False
                raise

        until(is_so, what or expression, within_s=within_s)

    def text(self, selector: str = "body") -> str:
        """As it is rendered."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def tree(self) -> list[tuple[str, str]]:
        """Role and name of all that assistive technology is told."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node.get("role", {}).get("value", ""), node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored")
        ]

    def metrics(self) -> dict[str, float]:
        """Such as ScriptDuration, LayoutDuration, JSHeapUsedSize, Nodes."""
        return {each["name"]: each["value"] for each in self.call("Performance.getMetrics")["metrics"]}

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))


def _of_exception(details: Mapping[str, Any]) -> str:
    return str(details.get("exception", {}).get("description") or details["text"])


@contextlib.contextmanager
def browser(folder: Path, *flags: str) -> Iterator[Browser]:
    """A browser with a profile of its own, for as long as the block lasts; skips where none is installed."""
    command = [program(), "--headless", "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}"]
    command += ["--no-first-run", "--no-default-browser-check", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--disable-background-networking", "--no-proxy-server"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # it refuses to start as root with one
    log = folder / "browser.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *flags, "about:blank"], stderr=output, stdout=subprocess.DEVNULL)
    try:
        until(
            lambda: _LISTENING.search(log.read_text()) or process.poll() is not None, "the browser", within_s=_START_S
        )
        match = _LISTENING.search(log.read_text())
        assert match is not None, log.read_text()[-2000:]
        with connect(match[1], max_size=None, compression=None, proxy=None) as connection:
            found = Browser(connection)
            found.pid = process.pid
            yield found
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
