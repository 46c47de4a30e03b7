"""What was seen. Nothing here says what is good or bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Samples:
    """Of a page of metrics."""

    values: Mapping[tuple[str, Labels], float] = field(default_factory=dict)

    def total(self, name: str, **labels: str) -> float | None:
        """The sum over all that have these labels; None: there is none."""
        wanted = set(labels.items())
        found = [value for (named, has), value in self.values.items() if named == name and wanted <= has]
        return sum(found) if found else None

    def count(self, name: str, **labels: str) -> int:
        return int(self.total(name, **labels) or 0)

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The sums by one label's values."""
        wanted, found = set(labels.items()), dict[str, float]()
        for (named, has), value in self.values.items():
            if named == name and wanted <= has:
                of = dict(has).get(label, "")
                found[of] = found.get(of, 0.0) + value
        return found


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """A running proxy, by its admin pages. `unreachable`: why nobody answers there; the rest is empty then. `state`:
    of `/table`, without routes; None: it does not say, and `refused` is why. `before` and `after`: metrics, some time
    apart. `is_here`: whether it runs on this machine."""

    address: str
    unreachable: str = ""
    status: int = 200
    ready_text: str = ""
    state: Mapping[str, object] | None = None
    refused: str = ""
    before: Samples = Samples()
    after: Samples = Samples()
    is_here: bool = False
    own_release: str = ""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What an address was seen to speak. `unreachable`: why it can't be connected to."""

    unreachable: str = ""
    http1: bool = False
    http2: bool = False
    tls: bool = False


@dataclass(frozen=True, slots=True)
class BaselineFacts:
    """`configured`: of --baseline-protocol."""

    address: str
    configured: str
    spoken: Spoken


@dataclass(frozen=True, slots=True)
class NameFacts:
    """A name that must resolve. `error`: nobody could tell."""

    name: str
    what: str
    server: str
    addresses: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class ControllerFacts:
    """`unreachable`: why nothing was heard. `refused`: pages that it did not give, and why. `ahead_s`: by how much its
    clock is ahead of ours; None: it does not tell. `vague_s`: so exact is that."""

    url: str
    unreachable: str = ""
    status: int = 200
    ready_text: str = ""
    faults: tuple[tuple[str, tuple[str, ...]], ...] = ()
    proxies: tuple[Mapping[str, object], ...] = ()
    refused: tuple[str, ...] = ()
    ahead_s: float | None = None
    vague_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AddressFacts:
    """An address to be listened on. `error`: why it can't be bound; `holder`: who has it, as far as can be seen."""

    flag: str
    address: str
    port: int
    error: str = ""
    holder: str = ""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file or folder that an option names. `faults`: what is wrong with it."""

    flag: str
    path: str
    faults: tuple[str, ...] = ()
    says: str = ""


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """Rules of one command (iptables, ip6tables). `error`: why they can't be seen; `may_not`: for want of rights.
    `has_chain`, `is_led_to`: our chain is there; PREROUTING leads to it. `to_ports`: where it redirects to."""

    command: str
    error: str = ""
    may_not: bool = False
    has_chain: bool = False
    is_led_to: bool = False
    to_ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FilesLimit:
    """Open files: the hard limit, how many connections fit into it, and how many are asked for."""

    hard: int
    fits: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Hop:
    """A proxy's record of a probe's request. Times are its clock's. `key`: in which headers the marker came."""

    proxy: str
    workload: str
    began_s: float
    ended_s: float
    in_baggage: bool
    in_tracestate: bool
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """A request that was sent through `url`. `error`: it got no answer. `hops`: by all proxies that were asked;
    `silent`: those that could not be, and why."""

    url: str
    error: str = ""
    status: int = 0
    hops: tuple[Hop, ...] = ()
    asked: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
