from __future__ import annotations

import json

import pytest

from controller.objects import Ref
from pointsman.cli.exits import Failure
from pointsman.cli.manifests import Manifest, Namespaces, read_manifests

SANDBOX = """\
apiVersion: pointsman.dev/v1alpha1
kind: Sandbox
metadata: {name: pr-1}
spec:
  local: [{from: {kind: Deployment, namespace: hotrod, name: driver}, mappings: [{port: 80, toLocal: "127.0.0.1:1"}]}]
"""
GROUP = """\
apiVersion: pointsman.dev/v1alpha1
kind: RouteGroup
metadata: {name: epic, namespace: hotrod}
spec: {match: {label: {key: pr, value: "1*"}}}
"""


def manifests(*texts: str, default: str = "default", only: bool = False) -> list[Manifest]:
    files = {f"{number}.yaml": text.encode() for number, text in enumerate(texts)}
    return read_manifests(list(files), files.__getitem__, Namespaces(default, only))


def faults(*texts: str, default: str = "default", only: bool = False) -> tuple[str, ...]:
    with pytest.raises(Failure) as refused:
        manifests(*texts, default=default, only=only)
    assert refused.value.code == 2
    return refused.value.faults


def test_both_kinds_in_order() -> None:
    found = manifests(f"{GROUP}---\n{SANDBOX}", SANDBOX.replace("pr-1", "pr-2"), default="team")
    assert [manifest.ref for manifest in found] == [
        Ref("RouteGroup", "hotrod", "epic"),
        Ref("Sandbox", "team", "pr-1"),
        Ref("Sandbox", "team", "pr-2"),
    ]
    assert found[1].document["metadata"] == {"name": "pr-1", "namespace": "team"}
    assert found[0].document["spec"] == {"match": {"label": {"key": "pr", "value": "1*"}}}


def test_what_list_prints_is_read() -> None:
    item = {
        "apiVersion": "pointsman.dev/v1alpha1",
        "kind": "RouteGroup",
        "metadata": {"name": "epic"},
        "spec": {"match": {"label": {"key": "pr", "value": "1"}}},
    }
    document = {"apiVersion": "pointsman.dev/v1alpha1", "kind": "RouteGroupList", "items": [item, {**item, "spec": 1}]}
    assert faults(json.dumps(document)) == ("0.yaml: items[1]: spec: must be an object, is 1",)
    document["items"] = [item]
    assert [manifest.ref.name for manifest in manifests(json.dumps(document))] == ["epic"]


def test_every_fault_of_every_document_is_named() -> None:
    broken = SANDBOX.replace("port: 80", "port: 0") + "---\n" + GROUP.replace("epic", "Epic").replace("label", "lable")
    assert faults(broken, "a: [", SANDBOX) == (
        "0.yaml: document 1 (line 1): spec.local[0].mappings[0].port: must be an integer in 1-65535, is 0",
        "0.yaml: document 2 (line 6): metadata.name: must be 1-63 of a-z 0-9 -, first and last alphanumeric (RFC 1123),"
        " is 'Epic'",
        "0.yaml: document 2 (line 6): spec.match.lable: unknown field",
        "1.yaml: line 2 column 1: not YAML: while parsing a flow node did not find expected node content",
    )


def test_an_object_twice() -> None:
    assert faults(SANDBOX, SANDBOX) == ("1.yaml: Sandbox default/pr-1 stands in 0.yaml already",)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n"])
def test_nothing_in_a_file(text: str) -> None:
    assert faults(text) == ("0.yaml: holds no object",)


def test_a_file_that_is_not_there() -> None:
    def read(name: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(Failure) as refused:
        read_manifests(["a.yaml", "-"], read, Namespaces("default", False))
    assert refused.value.faults == (
        "a.yaml: can't be read: No such file or directory",
        "standard input: can't be read: No such file or directory",
    )


def test_another_namespace_than_the_command_line_says() -> None:
    assert faults(GROUP, default="team", only=True) == ("0.yaml: metadata.namespace: is hotrod, --namespace says team",)
    assert manifests(GROUP, default="team")[0].ref.namespace == "hotrod"
    assert manifests(GROUP, default="hotrod", only=True)[0].ref.namespace == "hotrod"
