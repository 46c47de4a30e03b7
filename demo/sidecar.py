"""One sidecar, seen from outside: its command line, and what its admin listener tells.

Why a request went where it went is read from the sidecars' own counters, before and after the request. The services
could have recorded the `pointsman-decision` header of each answer instead, but then they would know of the proxy.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from demo.client import get, probe
from demo.ports import HOST
from demo.topology import BASELINE, Service

_SAMPLE: Final = re.compile(r"^pointsman_requests_total\{(.*)\} (\S+)", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a sidecar sent a request, a sandbox's name or BASELINE, and why."""

    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sidecar:
    service: Service
    listen_port: int  # what callers of the service get
    admin_port: int
    baseline_port: int  # where the service itself listens

    @property
    def name(self) -> str:
        return f"{self.service.name}-sidecar"

    @property
    def address(self) -> str:
        return f"{HOST}:{self.listen_port}"

    @property
    def admin(self) -> str:
        return f"{HOST}:{self.admin_port}"

    def arguments(self, controller: str) -> list[str]:
        """What follows `python -m proxy`. Only what is asked for may be on loopback, where everything runs here."""
        return [
            *("--listen", self.address, "--baseline", f"{HOST}:{self.baseline_port}"),
            *("--workload", self.service.workload, "--workload-port", str(self.service.port)),
            *("--controller", controller, "--destination-allow", f"{HOST}/32"),
            *("--admin", self.admin, "--decision-header"),
        ]

    def is_ready(self) -> bool:
        return probe(self.admin, "/readyz") == 200

    def counted(self) -> Counter[Decision]:
        """Requests so far. A sidecar has counted a request by the time the last byte of the answer is sent."""
        counts = Counter[Decision]()
        for labels, count in _SAMPLE.findall(get(self.admin, "/metrics").body):
            label = dict(_LABEL.findall(labels))
            counts[Decision(label["sandbox"] or BASELINE, label["reason"])] += int(float(count))
        return counts
