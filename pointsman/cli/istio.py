"""`istio render`: the VirtualServices that sandboxes ask for, from files to stdout."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from controller.documents import rendered as as_yaml
from controller.istio.matches import MINIMUM_ISTIO
from controller.istio.ownership import json_patch
from controller.istio.render import Change, Options, Rendered, removed
from controller.istio.render import render as rendered_mesh
from pointsman.cli import flags
from pointsman.cli.changed import difference
from pointsman.cli.command import Line
from pointsman.cli.console import Console
from pointsman.cli.exits import FINE, INVALID, NOT_SO, Failure
from pointsman.cli.meshfiles import MeshFiles, read_mesh_files
from proxy.options import Values

_NAME: Final = "pointsman istio render"


def render(line: Line, console: Console) -> int:
    values = line.values
    options = _options(values)
    files = read_mesh_files(
        values.present(flags.MESH_FILE), values.optional(flags.NAMESPACE) or flags.DEFAULT_NAMESPACE, datetime.now(UTC)
    )
    is_removal = values.one(flags.REMOVE)
    done = removed(files.mesh) if is_removal else rendered_mesh(files.mesh, files.routes, options)
    findings = [] if is_removal else [*files.findings, *done.findings]
    is_routed = all(finding.is_routed for finding in findings)
    code = FINE if is_routed else NOT_SO
    for note in () if is_removal else (*files.notes, *done.notes):
        console.say(f"{_NAME}: {note}")
    for finding in findings:
        console.say(f"{_NAME}: {finding}")
    deleted = [change for change in done.changes if change.after is None]
    for change in deleted:
        console.say(f"{_NAME}: to be deleted: {change.place}")
    difference_text = (
        "\n".join(_difference(change) for change in done.changes) if values.one(flags.MANIFEST_DIFF) else None
    )
    text = difference_text
    if text is None:
        text = "---\n".join(as_yaml(document).decode() for document in _documents(done))
    if text:
        console.result(text.rstrip("\n"))
    console.document(
        _document(files, done, difference_text, findings=[each.document() for each in findings], code=code)
    )
    return code


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


def _documents(done: Rendered) -> list[Mapping[str, object]]:
    """What stands in the mesh afterwards, of all that is ours or was: also what ours was taken out of."""
    restored = [
        change.after for change in done.changes if change.after is not None and change.after not in done.objects
    ]
    return [*done.objects, *restored]


def _difference(change: Change) -> str:
    before = change.before.document if change.before is not None else None
    return difference(before, change.after, change.place)


def _document(
    files: MeshFiles, done: Rendered, diff: str | None, *, findings: list[dict[str, object]], code: int
) -> dict[str, object]:
    document: dict[str, object] = {
        "items": _documents(done),
        "deleted": [
            {"namespace": change.namespace, "name": change.name} for change in done.changes if change.after is None
        ],
        "patches": [
            {
                "namespace": change.namespace,
                "name": change.name,
                "patch": json_patch(change.before, change.after),
            }
            for change in done.changes
            if change.before is not None and not change.is_ours and change.after is not None
        ],
        "findings": findings,
        "notes": [*files.notes, *done.notes],
        "exitCode": code,
    }
    if diff is not None:
        document["diff"] = diff
    return document
