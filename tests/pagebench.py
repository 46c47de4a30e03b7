"""`python -m tests.pagebench`: the page with 1,000 sandboxes and 200 proxies, in a real browser.

A real controller on a folder, proxies of the benchmarks' crowd (the real code without the data path, in one process),
and a browser, all on the same cores. A change is a PUT of a sandbox that is on the page; it is seen when the frame
after the one that set the text begins. Scripting is what the browser counts as script in that page, and all that it
does for it as task time; CPU is the controller's own, with no page open and with several.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import environment, procfs
from benchmarks.convergence.farm import NAMESPACE, Declared, Farm
from benchmarks.convergence.stage import Controller, Crowd
from benchmarks.figures import percentile
from benchmarks.processes import Cores
from tests.support.browser import Page, browser, program
from tests.support.ui import ROWS, opened

_PAUSE_S = 0.3  # a change, and the answers of all proxies, are two updates
_WARM_UP = 10
_ROUNDS = 3

# Calls back in the first frame after the text is there.
_SEEN = """(text) => new Promise((resolve) => {
  const table = document.getElementById('objects-table');
  const look = () => {
    if (!table.textContent.includes(text)) return false;
    requestAnimationFrame(() => resolve(performance.timeOrigin + performance.now()));
    return true;
  };
  if (!look()) {
    const observer = new MutationObserver(() => look() && observer.disconnect());
    observer.observe(table, { subtree: true, childList: true, characterData: true });
  }
})"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pagebench", description=__doc__)
    parser.add_argument("--sandboxes", type=int, default=1000)
    parser.add_argument("--proxies", type=int, default=200)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--pages", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    options = parser.parse_args()
    began = time.time()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pointsman-page-")))
        figures = _Run(options, stack, folder).measure()
    print()
    for name, value in figures.items():
        print(f"{name:<60} {value:8.1f}")
    if options.json is not None:
        options.json.write_text(json.dumps(_document(options, began, figures), indent=1) + "\n")
    return 0


def _document(options: argparse.Namespace, began: float, figures: dict[str, float]) -> dict[str, object]:
    shown = subprocess.run([program(), "--version"], capture_output=True, text=True, check=False, timeout=20).stdout
    return {
        "schema": "pointsman-benchmark/1",
        "plan": "page",
        "began": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(began)),
        "took_s": round(time.time() - began, 1),
        "command": " ".join(["python -m tests.pagebench", *sys.argv[1:]]),
        "commit": environment.commit(),
        "machine": environment.machine(_cores()),
        "versions": {**environment.versions(), "browser": shown.strip()},
        "load": {name: getattr(options, name) for name in ("sandboxes", "proxies", "changes", "pages")},
        "figures": figures,
    }


def _cores() -> Cores:
    """All for everybody: as on a laptop."""
    cpus = frozenset(os.sched_getaffinity(0))
    return Cores(proxy=cpus, load=cpus)


class _Run:
    def __init__(self, options: argparse.Namespace, stack: ExitStack, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._stack = stack
        self._figures: dict[str, float] = {}
        farm = Farm(self._new_folder("source"), options.sandboxes, (9081, 9082))
        farm.fill()
        self._controller = Controller(farm, _cores(), self._new_folder)
        stack.callback(self._controller.stop)
        self._controller.until_ready()
        self._crowd = Crowd(self._controller.url, _cores(), self._new_folder("crowd"))
        stack.callback(self._crowd.stop)
        self._crowd.ask("attach", count=options.proxies)
        self._browser = stack.enter_context(browser(self._new_folder("browser")))
        self._changes = 0

    def _new_folder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder

    def measure(self) -> dict[str, float]:
        with ExitStack() as stack:
            page = self._open(stack)
            self._load(page)
            self._seen(page)
            self._work(page)
            self._filter(page)
        found: dict[int, list[float]] = {0: [], self._options.pages: []}
        for _ in range(_ROUNDS):
            for pages, took in found.items():
                with ExitStack() as stack:
                    for _ in range(pages):
                        self._open(stack)
                    took.append(self._cpu())
        for pages, took in found.items():
            self._figures[f"controller: CPU for a change, {pages} pages open, ms"] = statistics.median(took)
        self._figures["controller: resident memory, MB"] = procfs.memory(self._controller.child.pid).rss_kib / 1024
        return self._figures

    def _open(self, stack: ExitStack) -> Page:
        page = stack.enter_context(self._browser.page())
        opened(page, self._controller.url)
        page.until(f"{ROWS}.length === 50")
        return page

    def _change(self) -> None:
        """Another owner and destination for one that is on the first page, by its name."""
        self._changes += 1
        name, text = f"first-{self._changes % 10}", f"who-{self._changes}"
        sandbox = Declared(name, name, (1, 2, 3), 9081 + self._changes // 10 % 2)
        document = re.sub('owner: "[^"]*"', f'owner: "{text}"', sandbox.text())
        assert text in document
        path = f"/api/v1/namespaces/{NAMESPACE}/sandboxes/{name}"
        status = self._controller.ask("PUT", path, document)
        assert status in (200, 201), status

    def _load(self, page: Page) -> None:
        took = page.evaluate("performance.now()")
        began = time.monotonic()
        page.call("Page.reload")
        page.until("document.readyState === 'complete'")
        page.until(f"document.getElementById('state')?.textContent === 'live' && {ROWS}.length === 50")
        self._figures["loading the page until all is shown, ms"] = (time.monotonic() - began) * 1000
        metrics = page.metrics()
        self._figures["of which script, ms"] = metrics["ScriptDuration"] * 1000
        self._figures["JavaScript heap, MB"] = metrics["JSHeapUsedSize"] / 1e6
        self._figures["elements and texts"] = metrics["Nodes"]
        assert took > 0

    def _seen(self, page: Page) -> None:
        took = []
        for number in range(_WARM_UP + self._options.changes):
            text = f"who-{self._changes + 1}"
            page.evaluate(f"void (globalThis.seen = ({_SEEN})({json.dumps(text)}))")
            began_ms = time.time() * 1000
            self._change()
            seen_ms = page.evaluate("globalThis.seen")
            if number >= _WARM_UP:
                took.append(seen_ms - began_ms)
            time.sleep(_PAUSE_S)
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            found = percentile(sorted(int(each * 1000) for each in took), share) / 1000
            self._figures[f"from a change to what is seen, {name}, ms"] = found

    def _work(self, page: Page) -> None:
        """Without the observer that the other one needs."""
        before = page.metrics()
        self._each_change()
        after = page.metrics()
        for name, text in (("ScriptDuration", "script"), ("TaskDuration", "script, style, layout, all")):
            spent = (after[name] - before[name]) * 1000 / self._options.changes
            self._figures[f"browser, for a change: {text}, ms"] = spent

    def _filter(self, page: Page) -> None:
        """A letter more or less in the filter."""
        took = []
        page.evaluate("document.getElementById('filter').focus()")
        for number in range(40):
            before = page.metrics()["ScriptDuration"]
            if number % 2:
                page.press("Backspace")
            else:
                page.press("9")
            page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            took.append((page.metrics()["ScriptDuration"] - before) * 1000)
        self._figures["browser, for a letter in the filter: script, ms"] = statistics.median(took)

    def _each_change(self) -> None:
        for _ in range(self._options.changes):
            self._change()
            time.sleep(_PAUSE_S)

    def _cpu(self) -> float:
        """Of the controller, for a change by REST that all proxies take; ms. At rest it needs none."""
        pid = self._controller.child.pid
        self._change()
        time.sleep(1)
        before_ns = procfs.cpu_ns(pid)
        self._each_change()
        return (procfs.cpu_ns(pid) - before_ns) / 1e6 / self._options.changes


if __name__ == "__main__":
    sys.exit(main())
