"""Objects of ours: how they are called, what their metadata says, how large they may be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from controller.istio.delegates import delegate_of
from controller.istio.names import MANAGED_BY, MANAGER, PREFIX, digest, object_name
from controller.istio.virtualservices import API_VERSION, KIND, Json, Route, VirtualService

EXTRA_LABELS: Final = "pointsman.dev/extra-labels"  # annotations of an owner's object, a JSON object each
EXTRA_ANNOTATIONS: Final = "pointsman.dev/extra-annotations"

MAX_OBJECT_BYTES: Final = 512 * 1024  # etcd takes about 1.5 MB; but every proxy gets each one, at each change of it

Name = tuple[str, str]  # namespace, name


class Names:
    """Who includes which delegate of ours, and which names are free for more of ours.

    An owner may choose any name for its delegate that has our prefix: what its list includes, is what we make.
    """

    def __init__(self, owners: Iterable[VirtualService], *, is_delegating: bool) -> None:
        owners = list(owners)
        self.owned: Final = {(each.namespace, each.name): each for each in owners if each.is_delegate}
        self._indexes: Final[dict[VirtualService, int]] = {}
        self._shares: Final[Counter[Name]] = Counter()
        self._taken: Final[set[Name]] = {(each.namespace, each.name) for each in owners}
        self._suggested: Final[dict[VirtualService, str]] = {}
        if not is_delegating:
            return
        for owner in owners:
            for index, route in enumerate(owner.routes):
                name = delegate_of(route, owner.namespace)
                if name is not None and is_our_delegate(route, owner.namespace):
                    self._indexes[owner] = index
                    self._shares[name] += 1
                    self._taken.add(name)
                    break
        for owner in owners:  # by age, so that a younger one changes no name of an older one
            if owner not in self._indexes and owner.hosts and owner.routes:
                self._suggested[owner] = self._free(object_name(owner.hosts[0], owner.namespace), owner)

    def _free(self, name: str, owner: VirtualService) -> str:
        if (owner.namespace, name) in self._taken:
            name = f"{name}-{digest(owner.name)}"
        self._taken.add((owner.namespace, name))
        return name

    def index(self, owner: VirtualService) -> int | None:
        """The place of the owner's route that includes our delegate."""
        return self._indexes.get(owner)

    def is_shared(self, name: Name) -> bool:
        return self._shares[name] > 1

    def suggested(self, owner: VirtualService) -> str:
        """What an owner without one may call its delegate."""
        return self._suggested[owner]

    def for_host(self, host: str, namespace: str) -> Name:
        name = object_name(host, namespace)
        if (namespace, name) in self._taken:
            name = f"{name}-{digest(host)}"
        return namespace, name


def is_our_delegate(route: Route, namespace: str) -> bool:
    name = delegate_of(route, namespace)
    return name is not None and name[0] == namespace and name[1].startswith(PREFIX)


def document(name: Name, spec: Json, annotations: Mapping[str, str]) -> tuple[Json, list[str]]:
    """An object of ours, with the labels and annotations that its owner asks for; and what is wrong with those."""
    metadata, faults = metadata_of(name, annotations)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}, faults


def metadata_of(name: Name, annotations: Mapping[str, str]) -> tuple[dict[str, object], list[str]]:
    """`annotations`: the owner's."""
    faults: list[str] = []
    labels = {**_asked(EXTRA_LABELS, annotations, faults), MANAGED_BY: MANAGER}
    metadata: dict[str, object] = {"name": name[1], "namespace": name[0], "labels": labels}
    if asked := _asked(EXTRA_ANNOTATIONS, annotations, faults):
        metadata["annotations"] = asked
    return metadata, faults


def _asked(annotation: str, annotations: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    text = annotations.get(annotation)
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        faults.append(f"its annotation {annotation} is no JSON object of strings, and not used")
        return {}
    return found


def is_too_large(document: Json) -> bool:
    return len(json.dumps(document, separators=(",", ":"))) > MAX_OBJECT_BYTES
