"""`pointsman` commands against a real controller, without proxies: objects, errors, exit codes, what is printed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.commandline import Controller, Result, group, run, running_controller, sandbox, several
from tests.support.waiting import until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with running_controller(tmp_path_factory.mktemp("controller")) as controller:
        yield controller


@pytest.fixture
def controller(shared: Controller) -> Iterator[Controller]:
    """The controller, without objects."""
    yield shared
    for word in ("sandbox", "routegroup"):
        for item in _items(shared.fine(word, "list", "--all-namespaces")):
            metadata = item["metadata"]
            shared.fine(word, "delete", metadata["name"], "--namespace", metadata["namespace"], "--wait")


def _items(document: dict[str, object]) -> list[dict[str, dict[str, str]]]:
    items = document["items"]
    assert isinstance(items, list)
    return items


def apply(controller: Controller, *documents: dict[str, object], flags: tuple[str, ...] = ()) -> dict[str, object]:
    return controller.fine("sandbox", "apply", "-f", "-", *flags, stdin=several(*documents))


def names(controller: Controller, *flags: str, word: str = "sandbox") -> list[str]:
    return [item["metadata"]["name"] for item in _items(controller.fine(word, "list", "-n", "hotrod", *flags))]


class TestApply:
    def test_one_object(self, controller: Controller) -> None:
        found = apply(controller, sandbox(key="k1"))
        assert (found["routingKey"], found["change"], found["receipt"]) == ("k1", "created", None)
        assert found["baggage"] == "sd-routing-key=k1"
        assert found["object"] == controller.fine("sandbox", "get", "pr-1", "-n", "hotrod") | {
            "status": found["object"]["status"]  # type: ignore[index]
        }
        assert apply(controller, sandbox(key="k1"))["change"] == "unchanged"
        assert apply(controller, sandbox(key="k1", destination=10))["change"] == "changed"

    def test_people_are_told_the_key_and_how_to_tag(self, controller: Controller) -> None:
        found = controller.run("sandbox", "apply", "-f", "-", stdin=several(sandbox(key="k1")))
        assert found == Result(
            0,
            "sandbox hotrod/pr-1 created\n  routing key: k1\n  tag requests: -H 'baggage: sd-routing-key=k1'\n",
            "",
        )

    def test_a_generated_key_stays(self, controller: Controller) -> None:
        key = apply(controller, sandbox())["routingKey"]
        assert isinstance(key, str)
        assert len(key) == 13
        again = apply(controller, sandbox())
        assert (again["routingKey"], again["change"]) == (key, "unchanged")
        changed = apply(controller, sandbox(destination=10))
        assert (changed["routingKey"], changed["change"]) == (key, "changed")

    def test_several_of_both_kinds_in_order(self, controller: Controller) -> None:
        found = apply(controller, group(key="g1"), sandbox(key="k1", labels={"pr": "1"}), sandbox("pr-2"))
        items = found["items"]
        assert isinstance(items, list)
        assert [item["object"]["metadata"]["name"] for item in items] == ["epic", "pr-1", "pr-2"]
        assert names(controller) == ["pr-1", "pr-2"]
        assert names(controller, word="routegroup") == ["epic"]

    def test_every_fault_is_named_and_nothing_is_sent(self, controller: Controller) -> None:
        broken = sandbox("Pr-2", destination=0)
        found = controller.run("sandbox", "apply", "-f", "-", "-o", "json", stdin=several(sandbox(), broken))
        assert found.code == 2
        lines = found.err.splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("pointsman sandbox apply: standard input: document 2 (line ")
        assert "metadata.name: must be 1-63 of" in lines[0]
        assert "spec.local[0].mappings[0].toLocal: must be" in lines[1]
        assert found.document["exitCode"] == 2
        assert names(controller) == []

    def test_what_the_controller_refuses_stops_it_there(self, controller: Controller) -> None:
        apply(controller, sandbox("pr-2", key="k2"))
        documents = several(sandbox("pr-1"), sandbox("pr-2", key="other"), sandbox("pr-3"))
        found = controller.run("sandbox", "apply", "-f", "-", "-o", "json", stdin=documents)
        assert found.code == 2, found
        assert "spec.routingKey: must stay 'k2', is 'other'" in found.err
        assert "Sandbox hotrod/pr-2 is not applied, nor the 1 after it; the 1 before it is" in found.err
        document = found.document
        assert isinstance(document["items"], list)
        assert [item["object"]["metadata"]["name"] for item in document["items"]] == ["pr-1"]
        assert document["error"]["faults"] == [  # type: ignore[index]
            "spec.routingKey: must stay 'k2', is 'other': make another object instead"
        ]
        assert names(controller) == ["pr-1", "pr-2"]

    def test_somebody_else_was_faster(self, controller: Controller, tmp_path: Path) -> None:
        apply(controller, sandbox(key="k1"))
        mine = controller.fine("sandbox", "get", "pr-1", "-n", "hotrod")
        apply(controller, sandbox(key="k1", destination=10))
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(mine))
        found = controller.run("sandbox", "apply", "-f", str(path))
        assert found.code == 5, found
        path.write_text(json.dumps(controller.fine("sandbox", "get", "pr-1", "-n", "hotrod")))
        assert controller.run("sandbox", "apply", "-f", str(path)).code == 0

    def test_dry_run_and_diff(self, controller: Controller) -> None:
        found = controller.run("sandbox", "apply", "-f", "-", "--dry-run", "--diff", stdin=several(sandbox()))
        assert found.code == 0, found
        assert found.out.startswith(
            "sandbox hotrod/pr-1 created (dry run: nothing was done)\n--- Sandbox hotrod/pr-1 (before)\n"
        )
        assert "one is generated when it is applied" in found.out
        assert names(controller) == []
        apply(controller, sandbox(key="k1"))
        changed = apply(controller, sandbox(key="k1", destination=10), flags=("--dry-run", "--diff"))
        diff = changed["diff"]
        assert isinstance(diff, str)
        marked = [line.strip() for line in diff.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")]
        assert marked == ['-      toLocal: "127.0.0.1:9"', '+      toLocal: "127.0.0.1:10"']
        unchanged = apply(controller, sandbox(key="k1"), flags=("--diff",))
        assert (unchanged["change"], unchanged["diff"]) == ("unchanged", "")

    def test_what_is_wrong_with_an_object_is_told(self, controller: Controller) -> None:
        document = sandbox("pr-1", key="k1")
        document["spec"]["local"][0]["mappings"][0]["toLocal"] = "192.0.2.1:80"  # type: ignore[index]
        found = controller.run("sandbox", "apply", "-f", "-", stdin=several(document))
        assert found.code == 0, found
        assert "  TargetNotAllowed: spec.local[0].mappings[0].toLocal: 192.0.2.1:80 " in found.err

    @pytest.mark.parametrize("flags", [(), ("--wait",)])
    def test_a_key_that_is_anothers_is_never_told(self, controller: Controller, flags: tuple[str, ...]) -> None:
        """Whoever tagged requests with it would test the other sandbox, and see green. Nor is it waited for."""
        apply(controller, sandbox("pr-1", key="k1"))
        document = several(sandbox("pr-2", key="k1"))
        found = controller.run("sandbox", "apply", "-f", "-", *flags, stdin=document)
        assert (found.code, found.out) == (5, "sandbox hotrod/pr-2 created\n")
        assert found.err == "  KeyClaimed: Sandbox hotrod/pr-1, which is older, has the key k1\n"
        found = controller.run("sandbox", "apply", "-f", "-", *flags, "-o", "json", stdin=document)
        assert (found.code, found.document["routingKey"], found.document["baggage"]) == (5, None, None)
        shown = controller.run("sandbox", "get", "pr-2", "-n", "hotrod").out
        assert "routing key: -\n" in shown
        assert "ready: NotAccepted\n    KeyClaimed: " in shown


class TestRead:
    def test_list(self, controller: Controller) -> None:
        apply(controller, sandbox("pr-1", key="k1", labels={"pr": "1"}), sandbox("pr-2", key="k2", labels={"pr": "2"}))
        apply(controller, sandbox("pr-3", key="k3", namespace="other"))
        assert names(controller) == ["pr-1", "pr-2"]
        assert names(controller, "--selector", "pr=1") == ["pr-1"]
        assert names(controller, "-l", "pr!=1") == ["pr-2"]
        assert names(controller, "--all-namespaces") == ["pr-1", "pr-2", "pr-3"]
        document = controller.fine("sandbox", "list", "-n", "hotrod")
        assert (document["apiVersion"], document["kind"]) == ("pointsman.dev/v1alpha1", "SandboxList")
        until(lambda: "yes" in controller.run("sandbox", "list", "-n", "hotrod").out, "a status")
        found = controller.run("sandbox", "list", "-A")
        head, first, *_ = found.out.splitlines()
        assert head.split() == ["NAMESPACE", "NAME", "ROUTING", "KEY", "READY", "CHANGES", "AGE", "EXPIRES", "IN"]
        assert first.split()[:5] == ["hotrod", "pr-1", "k1", "yes", "hotrod/Deployment/location"]

    def test_what_list_prints_is_applied(self, controller: Controller) -> None:
        apply(controller, sandbox("pr-1", key="k1"), sandbox("pr-2", key="k2"))
        saved = controller.run("sandbox", "list", "-n", "hotrod", "-o", "json").out
        controller.fine("sandbox", "delete", "pr-1", "-n", "hotrod", "--wait")
        found = controller.run("sandbox", "apply", "-f", "-", stdin=saved.replace("resourceVersion", "x-version"))
        assert found.code == 2, found  # a field that is none
        items = [{**item, "metadata": {"name": item["metadata"]["name"]}} for item in json.loads(saved)["items"]]
        stdin = json.dumps({"kind": "SandboxList", "items": items})
        assert controller.run("sandbox", "apply", "-f", "-", "-n", "hotrod", stdin=stdin).code == 0
        assert names(controller) == ["pr-1", "pr-2"]

    def test_nothing(self, controller: Controller) -> None:
        found = controller.run("sandbox", "list", "-n", "hotrod")
        assert found == Result(0, "", "no Sandbox in namespace hotrod\n")
        for verb in ("get", "delete", "wait", "traffic"):
            found = controller.run("sandbox", verb, "missing", "-n", "hotrod", "-o", "json")
            assert found.code == 6, found
            assert found.document["exitCode"] == 6

    def test_delete(self, controller: Controller) -> None:
        apply(controller, sandbox())
        found = controller.run("sandbox", "delete", "pr-1", "-n", "hotrod", "--dry-run")
        assert found.out == "sandbox hotrod/pr-1 can be deleted (dry run: nothing was done)\n"
        assert names(controller) == ["pr-1"]
        found = controller.run("sandbox", "delete", "pr-1", "-n", "hotrod", "--wait")
        assert found.code == 0, found
        assert found.out.startswith("sandbox hotrod/pr-1 deleted: proxies are told and it is gone after ")
        assert names(controller) == []
        apply(controller, sandbox())
        assert controller.run("sandbox", "delete", "pr-1", "-n", "hotrod").code == 0
        found = controller.run("sandbox", "delete", "pr-1", "-n", "hotrod", "--wait")
        assert found.code in (0, 6), found  # gone already, or going

    def test_explain(self, controller: Controller) -> None:
        apply(controller, sandbox(key="k1"))
        question = ("explain", "--workload", "hotrod/Deployment/location", "--header", "baggage: sd-routing-key=k1")
        until(lambda: controller.fine(*question)["reason"] == "route", "a table with the route")
        found = controller.run(*question, "--port", "8081")
        assert found.code == 0, found
        assert "hotrod/Deployment/location port 8081: forwarded to sandbox pr-1 (route: " in found.out
        assert controller.fine(*question, "--port", "9999")["reason"] == "port_not_mapped"

    def test_names_are_completed(self, controller: Controller) -> None:
        apply(controller, sandbox("pr-1"), sandbox("pr-2"))
        words = ("completion", "words", "--", "sandbox", "get")
        assert controller.run(*words, "-n", "hotrod", "pr").out.split() == ["pr-1", "pr-2"]
        assert controller.run(*words, "pr").out.split() == []
        assert controller.run(*words, "-n", "").out.split() == ["hotrod"]


class TestWithoutProxies:
    def test_not_live(self, controller: Controller) -> None:
        """Nobody serves the workload: said by name, within the time, with a code of its own."""
        document = several(sandbox(key="k1"))
        found = controller.run(
            "sandbox", "apply", "-f", "-", "--wait", "--timeout", "0.3s", "-o", "json", stdin=document
        )
        assert found.code == 3, found
        receipt = found.document["receipt"]
        assert isinstance(receipt, dict)
        assert receipt["isComplete"] is False
        assert "not live everywhere after 0." in found.err
        assert "hotrod/Deployment/location" in found.err
        assert controller.run("sandbox", "wait", "pr-1", "-n", "hotrod", "--timeout", "0").code == 3

    def test_there_is_no_proxy(self, controller: Controller) -> None:
        assert controller.run("proxies") == Result(0, "", "no proxy is attached\n")
        assert controller.fine("proxies")["items"] == []


class TestAccess:
    def test_no_controller(self) -> None:
        for words in (("sandbox", "list"), ("proxies",), ("sandbox", "get", "a", "--output", "json")):
            found = run(*words, "--controller", "http://127.0.0.1:1")
            assert found.code == 1
            assert "http://127.0.0.1:1: can't be reached: Connection refused" in found.err

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
    def test_tls(self, tmp_path: Path) -> None:
        certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-subj", "/CN=controller", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
        flags = ("--tls-cert", str(certificate), "--tls-key", str(key))
        with running_controller(tmp_path, *flags, authority=certificate) as controller:
            found = controller.run("sandbox", "list", "--controller-ca", str(certificate), "-o", "json")
            assert (found.code, found.document["items"]) == (0, [])
            found = controller.run("sandbox", "list")
            assert (found.code, "certificate verify failed" in found.err) == (1, True), found
            found = controller.run("sandbox", "list", POINTSMAN_CONTROLLER_CA=str(tmp_path / "missing"))
            assert (found.code, "can't be used: No such file" in found.err) == (1, True), found

    def test_tokens_and_quotas(self, tmp_path: Path) -> None:
        tokens = tmp_path / "tokens.yaml"
        hashed = {name: sha256(name.encode()).hexdigest() for name in ("reader", "writer")}
        tokens.write_text(
            f"- {{name: r, role: read, tokenSha256: {hashed['reader']}}}\n"
            f"- {{name: w, role: write, namespaces: [hotrod], tokenSha256: {hashed['writer']}}}\n"
        )
        for name in ("reader", "writer", "nobody"):
            (tmp_path / name).write_text(name)
        with running_controller(tmp_path, "--tokens-file", str(tokens), "--quota-namespace", "1") as controller:

            def code(name: str, *words: str, stdin: str = "") -> int:
                found = controller.run(*words, stdin=stdin, POINTSMAN_TOKEN_FILE=str(tmp_path / name))
                assert name not in found.err
                return found.code

            put = ("sandbox", "apply", "-f", "-")
            assert code("nobody", "sandbox", "list") == 7
            assert controller.run("sandbox", "list").code == 7
            assert code("reader", *put, stdin=several(sandbox())) == 7
            assert code("writer", *put, stdin=several(sandbox())) == 0
            assert code("reader", "sandbox", "get", "pr-1", "-n", "hotrod") == 0
            assert code("writer", *put, stdin=several(sandbox("pr-2", namespace="other"))) == 7
            assert code("writer", *put, stdin=several(sandbox("pr-2"))) == 7  # the quota
            assert code("writer", *put, stdin=several(sandbox(destination=10))) == 0
