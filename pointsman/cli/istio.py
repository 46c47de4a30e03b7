"""`istio render`: the VirtualServices, or the Gateway API's routes, that sandboxes ask for, from files to stdout."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from controller.istio.matches import MINIMUM_ISTIO
from controller.istio.ownership import json_patch
from controller.istio.render import Change, Options, Rendered, removed
from controller.istio.render import render as rendered_mesh
from controller.istio.virtualservices import KIND
from pointsman.cli import flags
from pointsman.cli.command import Line
from pointsman.cli.console import Console
from pointsman.cli.exits import INVALID, Failure
from pointsman.cli.gatewayroutes import gateway_output
from pointsman.cli.meshfiles import MeshFiles, read_mesh_files
from pointsman.cli.meshoutput import ManifestChange, MeshOutput, show
from proxy.options import Values


def render(line: Line, console: Console) -> int:
    values = line.values
    options = _options(values)
    files = read_mesh_files(
        values.present(flags.MESH_FILE), values.optional(flags.NAMESPACE) or flags.DEFAULT_NAMESPACE, datetime.now(UTC)
    )
    output = gateway_output if values.one(flags.API) == "gateway" else _output
    return show(output(files, options, is_removal=values.one(flags.REMOVE)), files.mesh, values, console)


def _options(values: Values) -> Options:
    options = Options(
        values.one(flags.ISTIO_MODE),
        values.optional(flags.ROUTER),
        values.one(flags.OWN),
        values.one(flags.REGEX),
        tuple(name.decode("ascii") for name in values.present(flags.KEY_NAME)),
    )
    faults = []
    if options.mode == "router" and options.router is None:
        faults.append("--router is required with --istio-mode router")
    release = values.optional(flags.ISTIO_VERSION)
    needs_release = values.one(flags.API) == "istio" and (options.mode == "router" or options.form == "strict")
    if release is not None and needs_release and release < flags.release(MINIMUM_ISTIO):
        faults.append(f"--istio-version: what is rendered needs {MINIMUM_ISTIO} or later; --regex signadot does not")
    if faults:
        raise Failure(INVALID, faults=tuple(faults))
    return options


def _output(files: MeshFiles, options: Options, *, is_removal: bool) -> MeshOutput:
    if is_removal:
        done = removed(files.mesh)
        return MeshOutput(_documents(done), _changes(done), (), ())
    done = rendered_mesh(files.mesh, files.routes, options)
    notes = (*files.notes, *files.ignored_beside(KIND), *done.notes)
    return MeshOutput(_documents(done), _changes(done), (*files.findings, *done.findings), notes)


def _documents(done: Rendered) -> list[Mapping[str, object]]:
    """What stands in the mesh afterwards, of all that is ours or was: also what ours was taken out of."""
    restored = [
        change.after for change in done.changes if change.after is not None and change.after not in done.objects
    ]
    return [*done.objects, *restored]


def _changes(done: Rendered) -> list[ManifestChange]:
    return [
        ManifestChange(
            KIND,
            change.namespace,
            change.name,
            change.before.document if change.before is not None else None,
            change.after,
            _patch(change),
        )
        for change in done.changes
    ]


def _patch(change: Change) -> list[dict[str, object]] | None:
    if change.before is None or change.is_ours or change.after is None:
        return None
    return json_patch(change.before, change.after)
