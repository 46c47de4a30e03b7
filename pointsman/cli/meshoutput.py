"""What `istio render` says: manifests or differences on stdout, notes and findings on stderr, an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.documents import rendered as as_yaml
from controller.istio.findings import MeshFinding
from controller.istio.mesh import Mesh
from controller.istio.services import for_router
from pointsman.cli import flags
from pointsman.cli.changed import difference
from pointsman.cli.console import Console
from pointsman.cli.exits import FINE, NOT_SO
from proxy.options import Values

NAME: Final = "pointsman istio render"

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ManifestChange:
    """An object as it is and as it should be; None: it is not there. `patch`: how somebody else's is changed."""

    kind: str
    namespace: str
    name: str
    before: Json | None
    after: Json | None
    patch: Sequence[Json] | None = None

    @property
    def place(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    def document(self) -> dict[str, object]:
        return {"kind": self.kind, "namespace": self.namespace, "name": self.name}


@dataclass(frozen=True, slots=True)
class MeshOutput:
    """`items`: what stands in the mesh afterwards, of all that is ours or was."""

    items: Sequence[Json]
    changes: Sequence[ManifestChange]
    findings: Sequence[MeshFinding]
    notes: Sequence[str]


def show(output: MeshOutput, mesh: Mesh, values: Values, console: Console) -> int:
    """The exit code. In the document `services` are the router's, as its table wants them."""
    code = FINE if all(finding.is_routed for finding in output.findings) else NOT_SO
    deleted = [change for change in output.changes if change.after is None]
    for note in output.notes:
        console.say(f"{NAME}: {note}")
    for finding in output.findings:
        console.say(f"{NAME}: {finding}")
    for change in deleted:
        console.say(f"{NAME}: to be deleted: {change.place}")
    document: dict[str, object] = {
        "items": list(output.items),
        "deleted": [change.document() for change in deleted],
        "patches": [
            {**change.document(), "patch": change.patch} for change in output.changes if change.patch is not None
        ],
        "services": [service.document() for service in for_router(mesh.entries).entries],
        "findings": [finding.document() for finding in output.findings],
        "notes": list(output.notes),
        "exitCode": code,
    }
    text = "---\n".join(as_yaml(item).decode() for item in output.items)
    if values.one(flags.MANIFEST_DIFF):
        text = "\n".join(difference(each.before, each.after, each.place) for each in output.changes)
        document["diff"] = text
    if text:
        console.result(text.rstrip("\n"))
    console.document(document)
    return code
