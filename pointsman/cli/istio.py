"""`istio render`: the VirtualServices that sandboxes ask for, from files to stdout."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from controller.documents import rendered as as_yaml
from controller.istio.findings import MeshFinding
from controller.istio.matches import MINIMUM_ISTIO
from controller.istio.mesh import Mesh
from controller.istio.ownership import json_patch
from controller.istio.render import Change, Options, Rendered, removed
from controller.istio.render import render as rendered_mesh
from controller.istio.services import for_router
from controller.istio.virtualservices import Json
from pointsman.cli import flags
from pointsman.cli.changed import difference
from pointsman.cli.command import Line
from pointsman.cli.console import Console
from pointsman.cli.exits import FINE, INVALID, NOT_SO, Failure
from pointsman.cli.meshfiles import read_mesh_files
from proxy.options import Values

_NAME: Final = "pointsman istio render"


def render(line: Line, console: Console) -> int:
    values = line.values
    options = _options(values)
    namespace = values.optional(flags.NAMESPACE) or flags.DEFAULT_NAMESPACE
    files = read_mesh_files(values.present(flags.MESH_FILE), namespace, datetime.now(UTC))
    if values.one(flags.REMOVE):
        result = Result(removed(files.mesh))
    else:
        done = rendered_mesh(files.mesh, files.routes, options)
        result = Result(done, (*files.findings, *done.findings), (*files.notes, *done.notes))
    for text in (*result.notes, *result.findings, *(f"to be deleted: {each.place}" for each in result.deleted)):
        console.say(f"{_NAME}: {text}")
    document = result.document(files.mesh)
    text = "---\n".join(as_yaml(each).decode() for each in result.items)
    if values.one(flags.MANIFEST_DIFF):
        text = document["diff"] = result.diff()
    if text:
        console.result(text.rstrip("\n"))
    console.document(document)
    return result.code


@dataclass(frozen=True, slots=True)
class Result:
    """What there is to say and to do."""

    done: Rendered
    findings: tuple[MeshFinding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        return FINE if all(finding.is_routed for finding in self.findings) else NOT_SO

    @property
    def items(self) -> list[Json]:
        """What stands in the mesh afterwards, of all that is ours or was: also what ours was taken out of."""
        objects = self.done.objects
        changed = (change.after for change in self.done.changes)
        return [*objects, *(after for after in changed if after is not None and after not in objects)]

    @property
    def deleted(self) -> list[Change]:
        return [change for change in self.done.changes if change.after is None]

    def diff(self) -> str:
        return "\n".join(
            difference(change.before.document if change.before is not None else None, change.after, change.place)
            for change in self.done.changes
        )

    def document(self, mesh: Mesh) -> dict[str, object]:
        """For programs. `services` are the router's, as its table wants them."""
        return {
            "items": self.items,
            "deleted": [{"namespace": change.namespace, "name": change.name} for change in self.deleted],
            "patches": [
                {"namespace": change.namespace, "name": change.name, "patch": json_patch(change.before, change.after)}
                for change in self.done.changes
                if change.before is not None and not change.is_ours and change.after is not None
            ],
            "services": [service.document() for service in for_router(mesh.entries).entries],
            "findings": [finding.document() for finding in self.findings],
            "notes": list(self.notes),
            "exitCode": self.code,
        }


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
    is_strict = options.mode == "router" or options.form == "strict"
    if release is not None and is_strict and release < flags.release(MINIMUM_ISTIO):
        faults.append(f"--istio-version: what is rendered needs {MINIMUM_ISTIO} or later; --regex signadot does not")
    if faults:
        raise Failure(INVALID, faults=tuple(faults))
    return options
