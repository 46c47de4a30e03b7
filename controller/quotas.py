"""How many objects there may be, per namespace and per owner: pure.

An owner is the value of a label; objects without it count as one owner, so that leaving it out is no way round. What is
being deleted counts until it is gone. Files that people put into the folder count too, and are never refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.objects import Object


@dataclass(frozen=True, slots=True)
class Quotas:
    """None: no limit."""

    per_namespace: int | None = None
    per_owner: int | None = None
    owner_label: str = "owner"

    @property
    def has_any(self) -> bool:
        return self.per_namespace is not None or self.per_owner is not None

    def refusal(self, object_: Object, before: Object | None, others: Iterable[Object]) -> str | None:
        """Why the object may not become part of all these; None: it may. `before`: what it was until now.

        What does not make it more stays possible: a limit that was lowered locks nobody out of their objects.
        """
        namespace, owner = object_.metadata.namespace, self._owner(object_)
        checks_namespace = self.per_namespace is not None and before is None
        checks_owner = self.per_owner is not None and (before is None or self._owner(before) != owner)
        if not checks_namespace and not checks_owner:
            return None
        in_namespace = of_owner = 0
        for other in others:
            if other.ref != object_.ref:
                in_namespace += other.metadata.namespace == namespace
                of_owner += self._owner(other) == owner
        if checks_namespace and self.per_namespace is not None and in_namespace >= self.per_namespace:
            return f"--quota-namespace: {namespace} has {in_namespace} objects, and may have {self.per_namespace}"
        if checks_owner and self.per_owner is not None and of_owner >= self.per_owner:
            whose = (
                f"{self.owner_label}={owner}" if owner is not None else f"objects without the label {self.owner_label}"
            )
            return f"--quota-owner: there are {of_owner} of {whose}, and there may be {self.per_owner}"
        return None

    def _owner(self, object_: Object) -> str | None:
        return object_.metadata.labels.get(self.owner_label) or None
