"""The sandboxes as files, as somebody writes them who applies them."""

from __future__ import annotations

from typing import Final

from demo.ports import HOST
from demo.topology import NAMESPACE, SERVICES, Sandbox

_OBJECT: Final = """\
apiVersion: pointsman.dev/v1alpha1
kind: Sandbox
metadata: {{name: {sandbox.name}, namespace: {namespace}}}
spec:
  routingKey: {sandbox.routing_key}          # generated when left out
"""
# What runs already, anywhere reachable. The port is the workload's; the demo's services listen elsewhere.
_LOCAL: Final = """\
  local:
  - from: {{kind: Deployment, namespace: {namespace}, name: {sandbox.fork_of}}}
    mappings: [{{port: {workload_port}, toLocal: "{host}:{port}"}}]
"""
# What a cluster is to make.
_FORK: Final = """\
  forks:
  - forkOf: {{kind: Deployment, namespace: {namespace}, name: {sandbox.fork_of}}}
    customizations:
      env: [{{container: app, name: {sandbox.change[0]}, value: "{sandbox.change[1]}"}}]
"""


def text(sandbox: Sandbox, port: int | None) -> str:
    """The object of a sandbox that listens on this port of the loopback address; None: of one that nobody made."""
    return (_OBJECT + (_FORK if port is None else _LOCAL)).format(
        sandbox=sandbox,
        namespace=NAMESPACE,
        workload_port=SERVICES[sandbox.fork_of].port,
        host=HOST,
        port=port,
    )
