"""Every file in manifests/ is what a real API server takes, and nothing of it is dropped; what is under a folder named
`invalid` is refused.

Kinds of our own group, which the server does not know yet, are read as the controller reads files.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.errors import ObjectError
from controller.objects import API_VERSION
from controller.schema import read_object
from tests.support.kube import Client, Object, Refused

BrokenRules = Callable[[Object], list[str]]

ROOT = Path(__file__).resolve().parents[2] / "manifests"
# What `observability` holds is for Prometheus and Grafana: its own tests load it.
FILES = sorted(
    path for path in ROOT.rglob("*") if path.suffix in (".yaml", ".yml", ".json") and "observability" not in path.parts
)


def documents(path: Path) -> Iterator[Object]:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if document is not None:
            yield document


def is_within(wanted: Any, found: Any) -> bool:
    """Whether all that was sent is in the answer, whatever the server added."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            name in found and is_within(value, found[name]) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(is_within(one, other) for one, other in zip(wanted, found, strict=True))
        )
    return bool(wanted == found)


def fault(kube: Client, namespace: str, broken_rules: BrokenRules, document: Object) -> str | None:
    """What is wrong with it."""
    version, kind = document["apiVersion"], document["kind"]
    if version == API_VERSION:
        try:
            read_object(copy.deepcopy(document))
        except ObjectError as error:
            return str(error)
        return None
    try:
        is_namespaced = kube.resource(version, kind).is_namespaced
    except Refused:
        return f"the server has no {version}"
    document = copy.deepcopy(document)
    if is_namespaced:
        document["metadata"]["namespace"] = namespace
    answer = kube.create(document, dry_run=True)
    if not answer.is_ok:
        return answer.message
    if not is_within(document, answer.object):
        return f"the server drops part of it: {answer.object}"
    return "; ".join(broken_rules(answer.object)) or None


@pytest.mark.skipif(not FILES, reason="there are no manifests")
@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_it_is_taken(kube: Client, namespace: str, broken_rules: BrokenRules, path: Path) -> None:
    found = [fault(kube, namespace, broken_rules, document) for document in documents(path)]
    assert found, "the file is empty"
    if "invalid" in path.parts:
        assert all(found)
    else:
        assert not any(found), found


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {}}, "selector"),
        ({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "A"}, "spec": {"ports": [{"port": 1}]}}, "name"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dta": {"a": "b"}}, "drops"),
        ({"apiVersion": "policy/v9", "kind": "Nothing", "metadata": {"name": "a"}}, "has no policy/v9"),
        (
            {"apiVersion": API_VERSION, "kind": "Sandbox", "metadata": {"name": "a"}, "spec": {}},
            "must change a workload",
        ),
    ],
)
def test_what_is_wrong_is_found(
    kube: Client, namespace: str, broken_rules: BrokenRules, document: Object, said: str
) -> None:
    assert said in (fault(kube, namespace, broken_rules, document) or "")
