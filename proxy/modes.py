"""The two modes: a sidecar stands before one workload, a router before all that its table's services list.

What they have different is put together here; the rest of the program does not know which it is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final, Protocol

from proxy.gatekeeping import Gatekeeping
from proxy.places import OnePlace, Place, Places, PreviewPlaces, sidecar_place
from proxy.reloading import Reloading
from proxy.routertables import RouterTables
from proxy.routing.decision import Decider, Decision, Policy
from proxy.routing.key import KeySettings
from proxy.routing.names import Endpoint
from proxy.tables import Holder, TableHolder

if TYPE_CHECKING:
    from proxy.config import PreviewSettings, SidecarSettings
    from proxy.preview.gateway import Gateway
    from proxy.telemetry.traffic import KeyTraffic


class BadQuestion(Exception):
    """What `/explain` was asked makes no sense here; the text says why."""


class Mode(Protocol):
    """What `__main__` and the admin pages ask of either mode."""

    by_host: bool  # whether it is the host that chooses the workload

    @property
    def tables(self) -> Holder: ...

    @property
    def own_baselines(self) -> Collection[Endpoint]:
        """Baselines that the operator named, which may be anywhere."""

    @property
    def baselines(self) -> Collection[Endpoint]:
        """Where requests that no sandbox is asked for go, by the table in force."""

    @property
    def gateway(self) -> Gateway | None:
        """For hosts of previews."""

    def previews(self) -> PreviewPlaces | None:
        """The preview hosts of the table in force."""

    @property
    def reloading(self) -> Reloading | None:
        """Files of this mode's own that are read again."""

    def places(self, listener: int) -> Places:
        """Of the listener with this number."""

    def title(self, listener: int) -> str:
        """What the listener is for, in a word."""

    def arrival(self, host: bytes, port: str | None) -> Place | Decision:
        """Where a request for this host arrives, or how it is refused; `port`: as `/explain` was asked.

        Raises: BadQuestion.
        """


class SidecarMode:
    """One workload; a port of it for each listener."""

    by_host = False
    gateway: Final[Gateway | None] = None
    reloading: Final[Reloading | None] = None

    def __init__(
        self, settings: SidecarSettings, policy: Policy, tables: TableHolder, traffic: KeyTraffic | None
    ) -> None:
        self.tables: Final = tables
        self.own_baselines: Final = frozenset(port.baseline for port in settings.ports)
        decider = Decider(settings.workload, policy)
        self._places: Final = [
            OnePlace(sidecar_place(settings.workload, port.number, port.baseline, decider, traffic))
            for port in settings.ports
        ]
        for each in self._places:
            tables.lead(each.place)

    @property
    def baselines(self) -> Collection[Endpoint]:
        return self.own_baselines

    def previews(self) -> PreviewPlaces | None:
        return None

    def places(self, listener: int) -> Places:
        return self._places[listener]

    def title(self, listener: int) -> str:
        return str(self._places[listener].place.baseline[0])

    def arrival(self, host: bytes, port: str | None) -> Place | Decision:
        numbers = [str(each.place.number) for each in self._places]
        if port is None:
            return self._places[0].place
        if port not in numbers:
            raise BadQuestion(f"port: not a port of this workload ({', '.join(numbers)}): {port[:20]!r}")
        return self._places[numbers.index(port)].place


class RouterMode:
    """Many workloads; all listeners are alike."""

    by_host = True
    own_baselines: Final = frozenset[Endpoint]()

    def __init__(self, tables: RouterTables, previews: PreviewSettings, keys: KeySettings) -> None:
        """Raises: ReloadError."""
        self.tables: Final = tables
        self._gatekeeping: Final = Gatekeeping(previews, keys, tables)
        self.gateway: Final[Gateway | None] = self._gatekeeping.gateway
        self.reloading: Final = self._gatekeeping.reloading

    @property
    def baselines(self) -> Collection[Endpoint]:
        return self.tables.upstreams

    def previews(self) -> PreviewPlaces | None:
        return self.tables.places.previews

    def places(self, listener: int) -> Places:
        return self.tables.places

    def title(self, listener: int) -> str:
        return "the services of the table"

    def arrival(self, host: bytes, port: str | None) -> Place | Decision:
        if port is not None:
            raise BadQuestion("port: a router tells it from the head's Host")
        places = self.tables.places
        return places.find(host) or places.why_none()
