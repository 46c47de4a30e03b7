"""`istio render --api gateway`: HTTPRoutes and GRPCRoutes."""

from __future__ import annotations

from controller.errors import ObjectError
from controller.gatewayapi.objects import KINDS, Backend, Json, ServiceName, read_objects
from controller.gatewayapi.render import GatewaySettings, remove_gateway, render_gateway
from controller.istio.names import service_of
from controller.istio.render import Options
from controller.istio.virtualservices import said
from pointsman.cli.exits import INVALID, Failure
from pointsman.cli.meshfiles import MeshFiles
from pointsman.cli.meshoutput import ManifestChange, MeshOutput
from proxy.routing.names import Endpoint


def gateway_output(files: MeshFiles, options: Options, *, is_removal: bool) -> MeshOutput:
    """Raises: Failure for a route without the shape of one, and for a router that no route can lead to."""
    try:
        return _output(files, options, is_removal=is_removal)
    except ObjectError as error:
        raise Failure(INVALID, faults=tuple(error.faults)) from None


def _output(files: MeshFiles, options: Options, *, is_removal: bool) -> MeshOutput:
    if is_removal:
        done = remove_gateway(files.gateway)
        return MeshOutput((), _changes(files, done.routes, done.removed), (), ())
    settings = GatewaySettings(
        mode="router" if options.mode == "router" else "rules",
        form=options.form,
        names=options.names,
        router=_router(options.router),
    )
    done = render_gateway(files.routes, files.mesh.entries, files.gateway, settings)
    notes = (*files.notes, *files.ignored_beside(*KINDS), *done.notes)
    findings = (*files.findings, *done.findings)
    return MeshOutput(done.routes, _changes(files, done.routes, done.removed), findings, notes)


def _router(endpoint: Endpoint | None) -> Backend | None:
    if endpoint is None:
        return None
    service = service_of(endpoint.host)
    if service is None:
        raise Failure(INVALID, faults=("--router: with --api gateway it must be a Service, NAME.NAMESPACE:PORT",))
    return Backend(ServiceName(service[1], service[0]), endpoint.port)


def _changes(files: MeshFiles, wanted: tuple[Json, ...], removed: tuple[Json, ...]) -> list[ManifestChange]:
    standing = {
        (route.kind, route.namespace, route.name): route.document for route in read_objects(files.gateway).routes
    }
    changes = []
    for document in wanted:
        before = standing.get(_identity(document))
        if before is None or said(before) != said(document):
            changes.append(ManifestChange(*_identity(document), before, document))
    return [*changes, *(ManifestChange(*_identity(document), document, None) for document in removed)]


def _identity(document: Json) -> tuple[str, str, str]:
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    return str(document["kind"]), str(metadata.get("namespace", "default")), str(metadata["name"])
