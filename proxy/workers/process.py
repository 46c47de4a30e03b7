"""One worker as the supervisor has it: its process, the channel to it, what it said last."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from proxy.workers.channel import Channel, Word
from proxy.workers.policy import Pulse
from proxy.workers.spec import Spec
from proxy.workers.sums import Family

# The same interpreter finds the same code by the same path, wherever it is started and however we were.
_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv.pop(1).split('\\n'); from proxy.__main__ import work;"
    " sys.exit(work(sys.argv.pop(1), sys.argv[1:]))"
)


class WorkerGone(Exception):
    """It does not answer; the text says why."""


class Worker:
    """`start`, then `attach`. `ended` is set when the process is reaped and all that it said was read."""

    def __init__(
        self, number: int, on_up: Callable[[Worker, list[str]], None], on_beat: Callable[[Worker], None]
    ) -> None:
        self.number: Final = number
        self.process = 0
        self.is_up = False
        self.why_not_ready: str | None = "it is starting"
        self.families: list[Family] = []
        self.status: int | None = None  # of the process that has ended, as from waitpid
        self.ended: Final = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._loop: Final = loop
        self.started_s: Final = loop.time()
        self.pulse: Final = Pulse(loop.time())
        self._on_up: Final = on_up
        self._on_beat: Final = on_beat
        self._channel: Final = Channel(self._take, self._channel_ended)
        self._is_channel_open = False
        self._asked: Final[dict[int, asyncio.Future[Any]]] = {}
        self._last_number = 0

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.process})"

    async def start(self, spec: Callable[[int], Spec], arguments: Sequence[str]) -> None:
        """`spec` is told the descriptor of the worker's end. Raises: OSError."""
        ours, theirs = socket.socketpair()
        self._is_channel_open = True
        ours.setblocking(False)
        with theirs:
            theirs.set_inheritable(True)
            words = spec(theirs.fileno()).written(), *arguments
            try:
                self.process = os.posix_spawn(
                    sys.executable,
                    [sys.executable, "-P", "-c", _BOOT, "\n".join(sys.path), *words],
                    os.environ,
                    # A signal to all of us that comes before there are handlers must not end it.
                    setsigmask=(signal.SIGTERM, signal.SIGINT),
                )
            except OSError:
                ours.close()
                self._is_channel_open = False
                raise
        await self._loop.create_unix_connection(lambda: self._channel, sock=ours)

    # --- what is asked of it ---

    def drain(self) -> None:
        self._channel.say("drain")

    def kill(self) -> None:
        if self.status is None:
            os.kill(self.process, signal.SIGKILL)

    async def ask(self, limit_s: float, what: str, *rest: object) -> Any:  # Any: see `member`
        """Raises: WorkerGone."""
        return (await self._ask(limit_s, what, *rest))[1]

    async def ask_for_page(self, limit_s: float, *page: object) -> tuple[int, Any]:
        """The page's number, and the reply. Raises: WorkerGone."""
        return await self._ask(limit_s, "page", *page)

    def enough(self, page: int) -> None:
        self._channel.say("ask", 0, "enough", page)

    async def _ask(self, limit_s: float, what: str, *rest: object) -> tuple[int, Any]:
        if not self.is_up:
            raise WorkerGone("it is starting")
        if self.pulse.is_silent:
            raise WorkerGone("it is silent")
        self._last_number += 1
        number = self._last_number
        reply = self._asked[number] = self._loop.create_future()
        self._channel.say("ask", number, what, *rest)
        try:
            async with asyncio.timeout(limit_s):
                return number, await reply
        except TimeoutError:
            raise WorkerGone(f"it did not answer within {limit_s:g} s") from None
        finally:
            del self._asked[number]

    # --- what it says ---

    def _take(self, word: Word) -> None:
        kind, *rest = word
        if kind == "reply":
            number, content = rest
            reply = self._asked.get(number)
            if reply is not None and not reply.done():
                reply.set_result(content)
        elif kind == "beat":
            self.why_not_ready = rest[0]
            self._on_beat(self)
        elif kind == "up":
            self.is_up = True
            self._on_up(self, rest[0])
        elif kind == "last":
            self.families = rest[0]

    def _channel_ended(self) -> None:
        self._is_channel_open = False
        self.is_up = False
        for reply in self._asked.values():
            if not reply.done():
                reply.set_exception(WorkerGone("it has ended"))
        self._settle()

    def reaped(self, status: int) -> None:
        self.status = status
        self.is_up = False
        self._settle()

    def _settle(self) -> None:
        if self.status is not None and not self._is_channel_open:
            self.ended.set()

    @property
    def cause(self) -> str:
        """Of its end, as a label: `SIGKILL`, `exit 1`."""
        assert self.status is not None
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            try:
                return signal.Signals(number).name
            except ValueError:
                return f"signal {number}"
        return f"exit {os.WEXITSTATUS(self.status)}"

    @property
    def exit_code(self) -> int | None:
        return os.WEXITSTATUS(self.status) if self.status is not None and os.WIFEXITED(self.status) else None
