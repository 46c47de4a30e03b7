"""The modes: a sidecar stands before one workload, a router before all that its table's services list.

What they have different is put together here; the rest of the program does not know which it is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final, Protocol

from proxy.gatekeeping import Gatekeeping
from proxy.places import CapturedPlaces, Nowhere, OnePlace, Place, Places, PreviewPlaces, sidecar_place
from proxy.reloading import Reloading
from proxy.routertables import RouterTables
from proxy.routing.decision import NOT_CAPTURED_DECISION, Decider, Decision, Policy
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

    @property
    def capture(self) -> TransparentMode | None:
        """With --transparent: what stands behind the ports of captured connections."""

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
    capture: Final[TransparentMode | None] = None

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


class TransparentMode:
    """One workload, and whatever ports of it captured connections were for (`net.captured`).

    A port's baseline is the address that was called, unless `--baseline` names one. Views come by a place that leads
    the others.
    """

    by_host = False
    gateway: Final[Gateway | None] = None
    reloading: Final[Reloading | None] = None

    def __init__(
        self, settings: SidecarSettings, policy: Policy, tables: TableHolder, traffic: KeyTraffic | None
    ) -> None:
        self.tables: Final = tables
        self._workload: Final = settings.workload
        self._decider: Final = Decider(settings.workload, policy)
        self._traffic: Final = traffic
        self._named: Final = {port.number: port.baseline for port in settings.ports}
        self._baselines: Final = set(self._named.values())
        self._leading: Final = self._place(0, Endpoint("-", 0))
        tables.lead(self._leading)

    @property
    def capture(self) -> TransparentMode | None:
        return self

    def _place(self, number: int, baseline: Endpoint) -> Place:
        return sidecar_place(self._workload, number, baseline, self._decider, self._traffic)

    def captured(self, host: str, port: int) -> tuple[Places, Endpoint]:
        """Where requests arrive that were on their way to this address, and the application itself."""
        baseline = self._named.get(port) or Endpoint(host, port)
        self._baselines.add(baseline)
        return CapturedPlaces(self._place(port, baseline), self._leading), baseline

    def forget(self, applications: Collection[Endpoint]) -> None:
        """Nobody uses these now."""
        self._baselines.difference_update(applications)
        self._baselines.update(self._named.values())

    @property
    def own_baselines(self) -> Collection[Endpoint]:
        return self._baselines

    @property
    def baselines(self) -> Collection[Endpoint]:
        return self._baselines

    def previews(self) -> PreviewPlaces | None:
        return None

    def places(self, listener: int) -> Places:
        return Nowhere(NOT_CAPTURED_DECISION)

    def title(self, listener: int) -> str:
        return f"captured connections to {self._workload}"

    def arrival(self, host: bytes, port: str | None) -> Place | Decision:
        if port is None:
            if len(self._named) != 1:
                raise BadQuestion("port: which one of the workload? The captured connection tells it; say ?port=8080")
            port = str(next(iter(self._named)))
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
            raise BadQuestion(f"port: must be in 1-65535: {port[:20]!r}")
        place = self._place(int(port), self._named.get(int(port)) or Endpoint("-", int(port)))
        place.view = self._leading.view
        return place


class RouterMode:
    """Many workloads; all listeners are alike."""

    by_host = True
    own_baselines: Final = frozenset[Endpoint]()
    capture: Final[TransparentMode | None] = None

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
