"""VirtualServices -> Envoy's route configuration, as istiod would program it for a sidecar's outbound port.

    names      short hosts, gateways, wildcards, the hosts that a virtual host answers to
    delegates  a root's routes with its delegates' merged in
    matching   HTTPMatchRequest -> RouteMatch
    actions    what a route does: destinations, weights, rewrites, redirects, retries, faults, mirrors, headers
    routes     a VirtualService's http list -> routes
    mesh       which VirtualService a host gets, and the virtual hosts of a port
    listener   an Envoy that runs them

Written from istio/istio at 86c9f01fd735 (August 2026; the parts that matter here have been the same since 1.22, see
`controller.istio.matches.MINIMUM_ISTIO`). Functions name their original as (file: function), files under
pilot/pkg/ unless said:

    route.go     networking/core/route/route.go            httproute.go  networking/core/httproute.go
    retry.go     networking/core/route/retry/retry.go      vs.go         model/virtualservice.go
    vsctl.go     model/virtualservice_controller.go        config.go     model/config.go
    sidecar.go   model/sidecar.go                          push.go       model/push_context.go

Not modelled, and refused where a VirtualService asks for it: JWT claims as headers, corsPolicy, faults with a gRPC
status. Not modelled, and without effect here: Sidecar and DestinationRule resources (subsets become cluster names),
consistent hashing, telemetry, statPrefix, EnvoyFilters, the Gateway API's own semantics.

Documents are plain JSON values, in and out.
"""

from tests.support.istiod.listener import Backend, Features, bootstrap, naming, run_mesh
from tests.support.istiod.mesh import Caller, Service, route_configuration, virtual_hosts

__all__ = [
    "Backend",
    "Caller",
    "Features",
    "Service",
    "bootstrap",
    "naming",
    "route_configuration",
    "run_mesh",
    "virtual_hosts",
]
