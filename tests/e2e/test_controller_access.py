"""A real controller with tokens, roles, TLS, quotas and an audit log."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import write_certificate
from tests.support.controller import Controller, path_of, run_controller, sandbox
from tests.support.waiting import until

WRITER, READER, PROXY, ONE_NAMESPACE = (
    "writer-0123456789",
    "reader-0123456789",
    "proxy-01234567890",
    "narrow-0123456789",
)
FRESH = "fresh-01234567890"
EXPLAIN = {"workload": "hotrod/Deployment/location", "head": "baggage: a=b"}
RULES = "/api/v1/workloads/routing-rules"


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


TOKENS = f"""\
- {{name: ci, tokenSha256: {sha256(WRITER)}, role: write}}
- {{name: dashboard, token: {READER}, role: read}}
- {{name: location, token: {PROXY}, role: proxy, workload: hotrod/Deployment/location}}
- {{name: team, token: {ONE_NAMESPACE}, role: write, namespaces: [team]}}
"""


def elsewhere(name: str, namespace: str = "team") -> dict[str, object]:
    document = sandbox(name)
    document["metadata"] = {"name": name, "namespace": namespace}
    return document


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tokens.yaml").write_text(TOKENS)
    flags = ("--tokens-file", f"{folder}/tokens.yaml", "--audit-log", f"{folder}/audit.jsonl")
    with run_controller(folder / "objects", *flags) as controller:
        yield controller


def audited(controller: Controller) -> list[dict[str, object]]:
    return [json.loads(line) for line in (controller.folder.parent / "audit.jsonl").read_text().splitlines()]


class TestRoles:
    @pytest.mark.parametrize(
        ("token", "method", "path", "body", "status"),
        [
            (None, "GET", path_of(), None, 401),
            ("no-such-token-at-all", "GET", path_of(), None, 401),
            (None, "GET", "/api/v1/nothing", None, 401),
            (None, "GET", "/metrics", None, 401),
            (None, "GET", "/livez", None, 200),
            (None, "GET", "/readyz", None, 200),
            (None, "GET", "/openapi.json", None, 200),
            (READER, "GET", path_of(), None, 200),
            (READER, "GET", RULES, None, 200),
            (READER, "GET", "/metrics", None, 200),
            (READER, "POST", "/api/v1/explain", EXPLAIN, 200),
            (READER, "PUT", path_of("roles"), sandbox("roles"), 403),
            (READER, "DELETE", path_of("roles"), None, 403),
            (READER, "GET", "/feed/v1", None, 403),
            (WRITER, "GET", "/feed/v1", None, 403),
            (WRITER, "PUT", path_of("roles"), sandbox("roles"), 201),
            (WRITER, "GET", path_of("roles"), None, 200),
            (PROXY, "GET", path_of(), None, 403),
            (PROXY, "GET", RULES, None, 403),
            (PROXY, "GET", "/metrics", None, 403),
            (PROXY, "GET", "/api/v1/proxies", None, 403),
            (PROXY, "PUT", path_of("roles"), sandbox("roles"), 403),
            (PROXY, "POST", "/api/v1/explain", EXPLAIN, 403),
        ],
    )
    def test_who_may_what(
        self, guarded: Controller, token: str | None, method: str, path: str, body: object, status: int
    ) -> None:
        reply = guarded.ask(method, path, body, token=token)
        assert reply.status == status, reply.body
        if status == 401:
            assert reply.problem == "unauthorized"
            assert reply.headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize("header", [f"Basic {WRITER}", WRITER, "Bearer", "Bearer ", f"Bearer {WRITER} x"])
    def test_only_as_a_bearer(self, guarded: Controller, header: str) -> None:
        assert guarded.ask("GET", path_of(), Authorization=header).status == 401

    def test_a_namespace_and_no_other(self, guarded: Controller) -> None:
        guarded.ask("PUT", path_of("not-seen"), sandbox("not-seen"), token=WRITER)
        mine = path_of("mine", namespace="team")
        assert guarded.ask("PUT", mine, elsewhere("mine"), token=ONE_NAMESPACE).status == 201
        for method, path, body in (
            ("GET", path_of(), None),
            ("GET", path_of("not-seen"), None),
            ("PUT", path_of("not-seen"), sandbox("not-seen")),
            ("DELETE", path_of("not-seen"), None),
            ("GET", path_of("not-seen") + "/receipt", None),
            ("POST", "/api/v1/explain", EXPLAIN),
            ("GET", "/api/v1/faults", None),
        ):
            assert guarded.ask(method, path, body, token=ONE_NAMESPACE).problem == "forbidden", path
        smuggled = guarded.ask("PUT", mine, elsewhere("mine", "hotrod"), token=ONE_NAMESPACE)
        assert smuggled.faults[0].startswith("metadata.namespace: must be team")
        items = guarded.ask("GET", "/api/v1/sandboxes", token=ONE_NAMESPACE).json["items"]
        assert {item["metadata"]["namespace"] for item in items} == {"team"}  # type: ignore[attr-defined]
        rules = guarded.ask("GET", RULES, token=ONE_NAMESPACE).json["routingRules"]
        assert [rule["routingKey"] for rule in rules] == ["mine"]  # type: ignore[attr-defined]
        everything = guarded.ask("GET", RULES, token=READER).json["routingRules"]
        assert {"mine", "not-seen"} <= {rule["routingKey"] for rule in everything}  # type: ignore[attr-defined]

    def test_tokens_are_never_said(self, guarded: Controller) -> None:
        pages = [
            guarded.ask("GET", path, token=READER).body.decode() for path in ("/metrics", path_of(), "/openapi.json")
        ]
        said = "\n".join([*guarded.lines, (guarded.folder.parent / "audit.jsonl").read_text(), *pages])
        for token in (WRITER, READER, PROXY, ONE_NAMESPACE):
            assert token not in said
            assert sha256(token) not in said


class TestAudit:
    def test_a_line_for_each_change_and_each_refusal(self, guarded: Controller) -> None:
        before = len(audited(guarded))
        guarded.ask("PUT", path_of("audited"), sandbox("audited"), token=WRITER)
        guarded.ask("POST", path_of(), sandbox("audited"), token=WRITER)
        guarded.ask("PUT", path_of("audited"), sandbox("audited", labels={"a": "b"}), token=WRITER)
        guarded.ask("PUT", path_of("audited"), sandbox("audited", spare=1), token=WRITER)
        guarded.ask("PUT", path_of("audited"), sandbox("audited"), token=WRITER, If_Match='"other"')
        guarded.ask("PUT", path_of("audited"), sandbox("audited"), token=READER)
        guarded.ask("PUT", path_of("audited"), sandbox("audited"))
        guarded.ask("PUT", path_of("audited") + "?dryRun=All", sandbox("audited"), token=WRITER)
        guarded.ask("GET", path_of("audited"), token=WRITER)
        guarded.ask("DELETE", path_of("audited"), token=WRITER)
        until(lambda: audited(guarded)[-1]["verb"] == "remove", "the end of it")
        lines = audited(guarded)[before:]
        assert {json.dumps(line["object"]) for line in lines} == {
            '{"kind": "Sandbox", "namespace": "hotrod", "name": "audited"}'
        }
        assert [(line["who"], line["verb"], line["result"], line.get("reason")) for line in lines] == [
            ("ci", "create", "done", None),
            ("ci", "create", "refused", "exists"),
            ("ci", "update", "done", None),
            ("ci", "update", "refused", "invalid"),
            ("ci", "update", "refused", "conflict"),
            ("dashboard", "update", "refused", "forbidden"),
            ("unknown", "update", "refused", "unauthorized"),
            ("ci", "delete", "done", None),
            ("controller", "remove", "done", None),
        ]
        assert lines[0]["remote"] == "127.0.0.1"
        assert (guarded.folder.parent / "audit.jsonl").stat().st_mode & 0o777 == 0o600

    def test_it_can_be_rotated(self, guarded: Controller) -> None:
        path = guarded.folder.parent / "audit.jsonl"
        path.rename(path.with_suffix(".1"))
        guarded.ask("PUT", path_of("rotated"), sandbox("rotated"), token=WRITER)
        assert [line["verb"] for line in audited(guarded)] == ["create"]

    def test_stderr_without_a_file(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            controller.put(sandbox("one"))
            until(lambda: any('"who": "anybody"' in line for line in controller.lines), "the line")


class TestReload:
    def test_tokens_come_and_go(self, tmp_path: Path) -> None:
        path = tmp_path / "tokens.yaml"
        path.write_text(TOKENS)
        with run_controller(tmp_path / "objects", "--tokens-file", str(path)) as controller:
            assert controller.ask("GET", path_of(), token=FRESH).status == 401
            path.write_text(f"- {{name: fresh, token: {FRESH}, role: write}}\n")
            until(lambda: controller.ask("GET", path_of(), token=FRESH).status == 200, "the new token")
            assert controller.ask("GET", path_of(), token=WRITER).status == 401

            path.write_text(f"- {{name: fresh, token: {WRITER}, role: king}}\n")
            until(lambda: any("role" in line and "stays in force" in line for line in controller.lines), "the refusal")
            assert controller.ask("GET", path_of(), token=FRESH).status == 200
            path.unlink()
            until(lambda: any("can't be read" in line for line in controller.lines), "another refusal")
            assert controller.ask("GET", path_of(), token=FRESH).status == 200
            assert not any(WRITER in line for line in controller.lines)

    def test_a_certificate(self, tmp_path: Path) -> None:
        certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
        write_certificate(certificate, key, "first")
        flags = ("--tls-cert", str(certificate), "--tls-key", str(key))
        with run_controller(tmp_path / "objects", *flags, ca=str(certificate)) as controller:
            assert controller.url.startswith("https://")
            standing = controller.connect()
            assert controller.ask("GET", "/livez", connection=standing).status == 200
            write_certificate(certificate, key, "second")
            second = ssl.PEM_cert_to_DER_cert(certificate.read_text())
            until(lambda: _certificate(controller) == second, "the new certificate")
            # It was made with the old one, and lives on.
            assert controller.ask("GET", "/livez", connection=standing).status == 200
            standing.close()

            key.write_text("no key at all")
            until(lambda: any("stays in force" in line for line in controller.lines), "the refusal")
            assert _certificate(controller) == second
            port = int(controller.url.rpartition(":")[2])
            plain = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with contextlib.closing(plain), pytest.raises((http.client.HTTPException, OSError)):
                plain.request("GET", "/livez")
                plain.getresponse()


def _certificate(controller: Controller) -> bytes:
    """What it shows to those who connect now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    port = int(controller.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw, context.wrap_socket(raw) as wrapped:
        return wrapped.getpeercert(binary_form=True) or b""


class TestQuotas:
    def test_per_namespace_and_owner(self, tmp_path: Path) -> None:
        flags = ("--quota-namespace", "3", "--quota-owner", "2", "--owner-label", "team")
        with run_controller(tmp_path / "objects", *flags) as controller:
            for name in ("a", "b"):
                assert controller.put(sandbox(name, labels={"team": "x"})).status == 201
            refused = controller.put(sandbox("c", labels={"team": "x"}))
            assert (refused.status, refused.problem) == (403, "quota")
            assert refused.json["detail"] == "--quota-owner: there are 2 of team=x, and there may be 2"
            assert controller.put(sandbox("c", labels={"team": "x"}), "?dryRun=All").problem == "quota"
            assert controller.put(sandbox("c")).status == 201
            refused = controller.put(sandbox("d", labels={"team": "y"}))
            assert refused.json["detail"] == "--quota-namespace: hotrod has 3 objects, and may have 3"
            # Neither by another namespace nor by a change of labels.
            other = elsewhere("e")
            other["metadata"] = {"name": "e", "namespace": "team", "labels": {"team": "x"}}
            assert controller.ask("PUT", path_of("e", namespace="team"), other).problem == "quota"
            assert controller.put(sandbox("c", labels={"team": "x"})).problem == "quota"
            # What is there may be changed, and makes room when it goes.
            assert controller.put(sandbox("a", labels={"team": "x", "more": "1"})).status == 200
            controller.ask("DELETE", path_of("a"))
            controller.until_gone("a")
            assert controller.put(sandbox("d", labels={"team": "x"})).status == 201

    def test_many_at_once_do_not_slip_through(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects", "--quota-namespace", "5") as controller:
            statuses: list[int] = []

            def make(number: int) -> None:
                statuses.append(controller.put(sandbox(f"pr-{number}")).status)

            threads = [threading.Thread(target=make, args=(number,)) for number in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert sorted(statuses) == [201] * 5 + [403] * 15


class TestStart:
    @pytest.mark.parametrize(
        ("flags", "faults"),
        [
            ((), ["--source (or POINTSMAN_SOURCE) is required"]),
            (("--source", "dir:{tmp}/none"), ["--source: there is no folder"]),
            (("--source", "kubernetes"), ["--source: kubernetes is not there yet"]),
            (("--source", "dir:{tmp}", "--listen", "0.0.0.0:0"), ["--listen: 0.0.0.0:0 is not a loopback address"]),
            (
                ("--source", "dir:{tmp}", "--listen", "0.0.0.0:0", "--tokens-file", "{tmp}/none"),
                ["--tokens-file: {tmp}/none: can't be read"],
            ),
            (("--source", "dir:{tmp}", "--tls-cert", "x"), ["--tls-cert: needs --tls-key too"]),
            (
                ("--source", "dir:{tmp}", "--tls-cert", "{tmp}/x", "--tls-key", "{tmp}/y"),
                ["--tls-cert, --tls-key: {tmp}/x, {tmp}/y: can't be read"],
            ),
            (
                ("--source", "dir:{tmp}", "--state-dir", "/proc/nothing"),
                ["--state-dir: /proc/nothing: can't be written"],
            ),
            (
                ("--source", "dir:{tmp}", "--audit-log", "/proc/nothing"),
                ["--audit-log: /proc/nothing can't be written"],
            ),
            (("--source", "dir:{tmp}", "--listen", "192.0.2.1:1"), ["--listen: 192.0.2.1:1 is not a loopback address"]),
            (
                ("--souce", "x", "--drain-limit", "soon"),
                ["unknown flag '--souce' (did you mean --source?)", "--source (or", "--drain-limit: must be"],
            ),
        ],
    )
    def test_one_line_per_fault(self, tmp_path: Path, flags: tuple[str, ...], faults: list[str]) -> None:
        """And nothing else: no traceback."""
        command = [sys.executable, "-m", "controller", *(flag.format(tmp=tmp_path) for flag in flags)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        lines = ended.stderr.splitlines()
        assert ended.returncode == 2, ended.stderr
        assert len(lines) == len(faults), ended.stderr
        for line, fault in zip(lines, faults, strict=True):
            assert line.startswith(f"pointsman controller: {fault.format(tmp=tmp_path)}")

    def test_a_second_one_on_the_same_state_is_refused(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            command = [
                sys.executable,
                "-m",
                "controller",
                "--source",
                f"dir:{tmp_path}/objects",
                "--listen",
                "127.0.0.1:0",
            ]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            assert ended.returncode == 2
            assert ended.stderr.splitlines() == [
                f"pointsman controller: --state-dir: {tmp_path}/objects/.pointsman: another controller uses it"
            ]
            assert controller.put(sandbox("one")).status == 201

    def test_a_taken_port(self, tmp_path: Path) -> None:
        with run_controller(tmp_path / "objects") as controller:
            address = controller.url.removeprefix("http://")
            (tmp_path / "other").mkdir()
            command = [sys.executable, "-m", "controller", "--source", f"dir:{tmp_path}/other", "--listen", address]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
            assert f"--listen: {address} can't be listened on: Address already in use" in ended.stderr

    def test_by_variables(self, tmp_path: Path) -> None:
        environ = {"POINTSMAN_QUOTA_NAMESPACE": "1", "POINTSMAN_PORT": "tcp://10.0.0.1:80"}
        with run_controller(tmp_path / "objects", environ=environ) as controller:
            assert controller.put(sandbox("a")).status == 201
            assert controller.put(sandbox("b")).status == 403

    def test_tokens_beyond_loopback(self, tmp_path: Path) -> None:
        """And no guard against names: the token is one."""
        (tmp_path / "tokens.yaml").write_text(TOKENS)
        flags = ("--listen", "0.0.0.0:0", "--tokens-file", f"{tmp_path}/tokens.yaml")
        with run_controller(tmp_path / "objects", *flags, wait=False) as controller:
            controller.url = controller.url.replace("0.0.0.0", "127.0.0.1")
            controller.token = WRITER
            until(lambda: controller.ask("GET", "/readyz").status == 200, "readiness")
            made = controller.put(sandbox("one"), Host="pointsman.example")
            assert made.status == 201
            # Nowhere is allowed by default where others can ask.
            conditions = made.json["status"]["conditions"]  # type: ignore[index]
            assert {c["type"]: c["reason"] for c in conditions}["TargetsAllowed"] == "TargetNotAllowed"


def test_destination_allow(tmp_path: Path) -> None:
    with run_controller(tmp_path / "objects", "--destination-allow", "10.0.0.0/8") as controller:
        made = controller.put(sandbox("loopback"))
        conditions = {c["type"]: c for c in made.json["status"]["conditions"]}  # type: ignore[index]
        assert conditions["TargetsAllowed"]["message"].startswith("spec.local[0].mappings[0].toLocal: 127.0.0.1:9081")
        assert conditions["Ready"]["reason"] == "NoDestination"
        rules = controller.ask("GET", RULES).json["routingRules"]
        assert [mapping["destinations"] for rule in rules for mapping in rule["mappings"]] == [[]]  # type: ignore[attr-defined]


def test_what_is_no_http_is_not_logged(tmp_path: Path) -> None:
    """A token may stand in what could not be read."""
    with run_controller(tmp_path / "objects") as controller:
        port = int(controller.url.rpartition(":")[2])
        for text in (
            b"\x16\x03\x01\x02\x00\x01",
            b"GET / HTTP/1.1\r\nAuthorization : Bearer secret-token\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret-token\x00\r\n\r\n",
            b"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nsecret-token\r\n",
            b"GET /" + b"secret-token" * 10_000 + b" HTTP/1.1\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                raw.sendall(text)
                with contextlib.suppress(ConnectionError):
                    assert raw.recv(12) in (b"", b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 404", b"HTTP/1.1 403")
        assert controller.ask("GET", "/livez").status == 200
    assert [line for line in controller.lines if "listening" not in line] == []
