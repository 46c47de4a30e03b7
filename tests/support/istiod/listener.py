"""A real Envoy with route configurations as a sidecar has them, one listener for each.

Of an istio-proxy's filters only those are there that a VirtualService programs (fault, router). The runtime is Istio's
where it matters: the limit of RE2's program size (pkg/bootstrap/config.go).
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.istio.matches import MAX_PROGRAM_SIZE
from tests.support.envoy import HTTP_OPTIONS, run_document
from tests.support.istiod.actions import FAULT
from tests.support.istiod.mesh import Document, cluster_names

_FILTERS = "type.googleapis.com/envoy.extensions.filters"


@dataclass(frozen=True)
class Backend:
    """Where a cluster leads, and what it speaks: http, http2 (by prior knowledge), or "as it came", which istiod does
    where a port's protocol is not told (networking/core/cluster.go: setHttpOptions)."""

    port: int
    host: str = "127.0.0.1"
    protocol: str = "http"


Backends = Mapping[str, Backend]  # by cluster name
Features = Mapping[str, bool]


@contextlib.contextmanager
def run_mesh(
    folder: Path, configurations: Sequence[Document], backends: Backends | None = None, features: Features | None = None
) -> Iterator[list[int]]:
    """The listeners' ports, in order. Skips where there is no Envoy."""
    with run_document(folder, bootstrap(configurations, backends or {}, features or {}), len(configurations)) as ports:
        yield ports


def bootstrap(configurations: Sequence[Document], backends: Backends, features: Features) -> Document:
    """`features` switches what Envoy does by default (`envoy.reloadable_features`), as a mesh does by `runtimeValues`
    in its proxies' configuration.

    A cluster without a backend is there and empty, as a Service without endpoints is: 503."""
    names = sorted(set().union(*map(cluster_names, configurations)) | set(backends))
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    switched = {f"envoy.reloadable_features.{name}": value for name, value in features.items()}
    return {
        "admin": {"address": address},
        "layered_runtime": {
            "layers": [
                {"name": "istio", "static_layer": {"re2.max_program_size.error_level": MAX_PROGRAM_SIZE, **switched}},
            ]
        },
        "static_resources": {
            "listeners": [_listener(number, one) for number, one in enumerate(configurations)],
            "clusters": [_cluster(name, backends.get(name)) for name in names],
        },
    }


_HTTP1 = {"http_protocol_options": {"enable_trailers": True}}
_HTTP2: Document = {"http2_protocol_options": {}}
_PROTOCOLS: dict[str, Document] = {
    "http": {"explicit_http_config": _HTTP1},
    "http2": {"explicit_http_config": _HTTP2},
    "as it came": {"use_downstream_protocol_config": {**_HTTP1, **_HTTP2}},
}


def naming(configuration: Document) -> Document:
    """The same matches, but each route answers with its cluster's (or its own) name instead of forwarding: what was
    decided is read from the answer, and nothing need be behind Envoy."""
    named = copy.deepcopy(configuration)
    for host in named["virtual_hosts"]:
        for route in host["routes"]:
            action = route.pop("route", None)
            if action is not None:
                name = action.get("cluster") or route.get("name", "")
                route["direct_response"] = {"status": 200, "body": {"inline_string": name}}
    return named


def _listener(number: int, configuration: Document) -> Document:
    manager: Document = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"outbound-{number}",
        "codec_type": "AUTO",
        "generate_request_id": False,
        "use_remote_address": False,
        "skip_xff_append": True,
        "normalize_path": True,
        "http_protocol_options": {"enable_trailers": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [
            {"name": FAULT, "typed_config": {"@type": f"{_FILTERS}.http.fault.v3.HTTPFault"}},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router", "suppress_envoy_headers": True},
            },
        ],
        "route_config": configuration,
    }
    return {
        "name": f"outbound-{number}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _cluster(name: str, backend: Backend | None) -> Document:
    endpoints: list[dict[str, Any]] = []
    if backend is not None:
        socket = {"socket_address": {"address": backend.host, "port_value": backend.port}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": socket}}]}]
    protocol = _PROTOCOLS[backend.protocol if backend is not None else "http"]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        "typed_extension_protocol_options": {
            HTTP_OPTIONS: {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", **protocol}
        },
    }
