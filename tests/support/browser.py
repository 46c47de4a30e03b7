"""A real browser without a window: Debian's chromium-headless-shell, driven over its DevTools protocol.

Spec: https://chromedevtools.github.io/devtools-protocol/ (Target, Page, Runtime).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_START_S = 60.0
_STEP_S = 30.0


class BrowserError(Exception):
    """The browser says that something can't be done."""


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")

    def go(self, url: str) -> None:
        """Opens the URL, as if it had been typed."""
        self._call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The script's value; of a promise, what it comes to. The page's own rules for scripts do not hold for it."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Waits until the script's value is true, on whatever page there is then."""
        end_s = time.monotonic() + _STEP_S
        while True:
            with contextlib.suppress(BrowserError):  # between two pages
                if self.run(script):
                    return
            assert time.monotonic() < end_s, f"{script}: not within {_STEP_S:g} s, on {self.run('location.href')}"
            time.sleep(0.02)

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=_STEP_S))
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(answer["error"]["message"])
                result: dict[str, Any] = answer["result"]
                return result


@contextlib.contextmanager
def browser(hosts: str, port: int) -> Iterator[Callable[[], Page]]:
    """Makes pages in one browser, for which hosts of this pattern are at this port of loopback, whatever the URL's."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} (Debian: apt-get install chromium-headless-shell)")
    with tempfile.TemporaryDirectory(prefix="pointsman-browser-", ignore_cleanup_errors=True) as folder:
        command = [
            program,
            "--headless",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder}",
            f"--host-resolver-rules=MAP {hosts} 127.0.0.1:{port}",
            *("--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
            *(("--no-sandbox",) if os.geteuid() == 0 else ()),  # it refuses to run as root otherwise
        ]
        environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        errors = Path(folder, "stderr")
        with errors.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env=environ, start_new_session=True)
        try:
            with connect(
                _endpoint(process, folder, errors), max_size=None, open_timeout=_START_S, proxy=None
            ) as socket:
                yield lambda: Page(socket)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # it has children, in a session of their own
            process.wait()


def _endpoint(process: subprocess.Popen[bytes], folder: str, errors: Path) -> str:
    """Where it can be driven, as it writes down itself."""
    written = Path(folder, "DevToolsActivePort")
    end_s = time.monotonic() + _START_S
    while not written.exists() or written.read_text().count("\n") < 1:
        is_late = time.monotonic() > end_s
        if is_late or process.poll() is not None:
            raise BrowserError(f"it did not start: {errors.read_text('utf-8', 'replace')}")
        time.sleep(0.02)
    port, path = written.read_text().split("\n")[:2]
    return f"ws://127.0.0.1:{port}{path}"
