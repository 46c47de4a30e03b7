"""`RoutesClient`: which messages of a queue are mine? For consumers that have sandboxes.

    with RoutesClient("http://127.0.0.1:16030", workload="hotrod/Deployment/dispatch", sandbox=None) as routes:
        routes.wait_synced(10)
        for message in queue:
            decision = routes.decide(message.headers)
            if decision.takes:
                put_aside(message) if decision.is_refused else process(message)

- The consumer of the baseline says `sandbox=None`, a sandbox's says its name. With the same rules exactly one of them
  takes a message (`pointsman.rules`).
- A thread keeps the rules by the controller's watch stream, and dials again when that breaks, with backoff and jitter.
  Meanwhile the rules from before hold, as in a proxy; `stale_s` says how old they are.
- Before the first rules have come, only messages without a key can be decided: for others `decide` raises `NotSynced`.
- News take a moment to arrive, and not the same moment everywhere. So a key without a rule here is asked for at the
  controller before the message is left or taken: whatever was sent after `pointsman sandbox apply` returned is decided
  by what was applied. That costs one request for each tagged message that no rule is for, and nothing for others;
  without an answer within a second the rules that are known decide. `asks=False` switches it off.
- What is left is a deletion: while its news are under way, for milliseconds, the sandbox may still take a message, or
  nobody does.
- Names of sandboxes are without their namespaces, as in the routing table.
- A token must be for all namespaces: rules that it may not see would count as none.

`decide` may be called from any thread; in an event loop give it to one (`asyncio.to_thread`), since it may ask.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import uniform
from types import TracebackType
from typing import Final

from pointsman.client import Client, ClientError, Unreachable
from pointsman.rules import Decision, Headers, MessageReader, Rule, RuleError, Rules, decide, read_rule
from proxy.routing.key import DEFAULT_NAMES
from proxy.routing.names import Workload

__all__ = ["Decision", "NotSynced", "RoutesClient"]

_PATH: Final = "/api/v1/workloads/routing-rules"
_SILENCE_S: Final = 30.0  # the stream says something at least every 10 s
_ASK_TIMEOUT_S: Final = 1.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0


class NotSynced(Exception):
    """The rules have not come yet, so nobody can tell whose a message with a key is."""


class RoutesClient:
    """One consumer's view. `start` and `close`, or a `with` block."""

    def __init__(
        self,
        url: str,
        *,
        workload: str,
        sandbox: str | None = None,
        token: str | None = None,
        token_file: str | None = None,
        ca_file: str | None = None,
        key_names: Sequence[bytes] = DEFAULT_NAMES,
        key_headers: Sequence[bytes] = (),
        asks: bool = True,
    ) -> None:
        """Raises: ValueError for a URL, a workload or a name that is none."""
        self._rules: Final = Rules(Workload.parse(workload))
        self._consumer: Final = sandbox
        self._reader: Final = MessageReader(key_names, key_headers)
        self._asks: Final = asks
        self._watching: Final = Client(url, token=token, token_file=token_file, ca_file=ca_file)
        self._asking: Final = Client(url, token=token, token_file=token_file, ca_file=ca_file)
        self._asking_lock: Final = threading.Lock()
        self._synced: Final = threading.Event()
        self._closed: Final = threading.Event()
        self._heard_s = time.monotonic()
        self._is_connected = False
        self._fault: str | None = None
        self._thread: Final = threading.Thread(target=self._follow, name="pointsman routes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Returns at once; the thread ends with the process at the latest."""
        self._closed.set()
        self._watching.shut()
        with self._asking_lock:
            self._asking.close()

    def __enter__(self) -> RoutesClient:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- what is known ---

    @property
    def is_synced(self) -> bool:
        """Whether the rules have come; once true it stays so."""
        return self._synced.is_set()

    def wait_synced(self, timeout_s: float) -> bool:
        """Whether they have come in time."""
        return self._synced.wait(timeout_s)

    @property
    def stale_s(self) -> float:
        """How long the rules may be out of date: 0 while the stream stands."""
        return 0.0 if self._is_connected else time.monotonic() - self._heard_s

    @property
    def fault(self) -> str | None:
        """Why the stream does not stand; None if it does."""
        return self._fault

    # --- what follows ---

    def takes(self, message: str | bytes | Headers | None) -> bool:
        """Whether this consumer takes the message with this routing key (None: without one) or with these headers.

        Raises: NotSynced.
        """
        return self.decide(message).takes

    def decide(self, message: str | bytes | Headers | None) -> Decision:
        """The same, with the reason, and whether it must be put aside instead of processed.

        Raises: NotSynced.
        """
        is_key = message is None or isinstance(message, str | bytes)
        reading = self._reader.of_key(message) if is_key else self._reader.read(message)  # type: ignore[arg-type]
        key = reading.key
        if key is None:
            return decide(reading, None, is_gone=False, consumer=self._consumer)
        if not self.is_synced:
            raise NotSynced(self._fault or "the controller has not said all rules yet")
        rule = self._rules.rule(key)
        if rule is None and self._asks:
            rule = self._asked(key)
        return decide(reading, rule, is_gone=self._rules.is_gone(key, time.monotonic()), consumer=self._consumer)

    def _asked(self, key: bytes) -> Rule | None:
        """What the controller says of a key now; None also if it says nothing."""
        with self._asking_lock, suppress(ClientError, RuleError):
            query = {**self._query(), "routingKey": key.decode()}
            document = self._asking.call("GET", _PATH, query=query, timeout_s=_ASK_TIMEOUT_S).document
            rules = document.get("routingRules") if isinstance(document, dict) else None
            for entry in rules if isinstance(rules, list) else ():
                rule = read_rule(entry, self._rules.workload)
                if rule is not None and rule.key == key:
                    return rule
        return None

    # --- how it is kept ---

    def _query(self) -> dict[str, str]:
        workload = self._rules.workload
        return {
            "baselineKind": workload.kind,
            "baselineNamespace": workload.namespace,
            "baselineName": workload.name,
        }

    def _follow(self) -> None:
        most_s = _FIRST_PAUSE_S
        while not self._closed.is_set():
            try:
                for _ in self._stream():
                    most_s = _FIRST_PAUSE_S
            except (ClientError, RuleError) as error:
                self._fault = str(error)
            self._is_connected = False
            # Full jitter, so that a thousand consumers do not come back at once.
            self._closed.wait(uniform(0, most_s))
            most_s = min(most_s * 2, _LONGEST_PAUSE_S)

    def _stream(self) -> Iterator[None]:
        """Takes what the stream says; yields each time that it is in step with the controller."""
        self._rules.begin()
        for line in self._watching.lines(f"{_PATH}/watch", query=self._query(), silence_s=_SILENCE_S):
            if self._closed.is_set():
                return
            self._heard_s = time.monotonic()
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except ValueError:
                raise Unreachable("the stream has a line that is no JSON") from None
            self._rules.take(event, self._heard_s)
            if self._rules.is_synced and not self._rules.is_syncing:
                self._is_connected, self._fault = True, None
                self._synced.set()
                yield
