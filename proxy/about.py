"""What a proxy tells of itself beside its table, for `pointsman doctor`: where it runs and how it was started."""

from __future__ import annotations

import os
import socket
from typing import Final

from proxy.config import Settings
from proxy.release import RELEASE
from proxy.routing.decision import AS_IT_CAME, HTTP1, HTTP2

PROTOCOLS: Final = {AS_IT_CAME: "auto", HTTP1: "http", HTTP2: "http2"}


def about(settings: Settings) -> dict[str, object]:
    """Nothing secret: addresses and numbers, no file's content."""
    sidecar = settings.sidecar
    return {
        "release": RELEASE,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "mode": "router" if sidecar is None else "sidecar",
        "workload": str(sidecar.workload) if sidecar is not None else None,
        "listen": [str(listen) for listen in settings.listens],
        "baselines": [
            {"port": port.number, "address": str(port.baseline)} for port in (sidecar.ports if sidecar else ())
        ],
        "baselineProtocol": PROTOCOLS[settings.baseline_version],
        "dnsServers": list(settings.dns_servers),
        "maxConnections": settings.limits.max_connections,
    }
