"""The routing table file that all sidecars of the demo watch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from demo.ports import HOST
from demo.topology import NAMESPACE, SERVICES, Sandbox

_HEAD = """\
# Every sidecar watches this file. A valid change is live within 100 ms; an invalid one is refused and reported.
# Try it: add a route with a key of your own, and send a request with that key.
apiVersion: pointsman.dev/v1alpha1
kind: RoutingTable
version: "{version}"
routes:
"""
_ROUTE = """\
- routingKey: {sandbox.routing_key}
  sandbox: {sandbox.name}
  baseline: {{kind: Deployment, namespace: {namespace}, name: {sandbox.fork_of}}}
  mappings:
  - port: {workload_port}
    destinations: [{destinations}]
"""
_DESTINATION = "{{host: {host}, port: {port}}}"


def text(version: str, routes: Iterable[tuple[Sandbox, Iterable[int]]]) -> str:
    """A table that leads each sandbox's key to ports of the loopback address; to none if it is not ready."""
    return _HEAD.format(version=version) + "".join(
        _ROUTE.format(
            sandbox=sandbox,
            namespace=NAMESPACE,
            workload_port=SERVICES[sandbox.fork_of].port,
            destinations=", ".join(_DESTINATION.format(host=HOST, port=port) for port in ports),
        )
        for sandbox, ports in routes
    )


def replace(file: Path, content: str) -> None:
    """Puts the content in place by one rename: a reader sees the old file or the new one, whole."""
    beside = file.with_suffix(".new")
    beside.write_text(content)
    os.replace(beside, file)
