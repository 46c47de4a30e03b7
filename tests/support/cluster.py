"""A real control plane without nodes: etcd and kube-apiserver, and the controller manager where a test asks for it.

`KUBEBUILDER_ASSETS` is a folder with the binaries, `POINTSMAN_TEST_CRDS` one with YAML files of definitions (Istio's,
the Gateway API's) that the server is to know. Written for Kubernetes 1.20; everything listens on loopback or on a Unix
socket in a folder of the test's own.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.certificates import write_certificate
from tests.support.kube import Answer, Client, Object
from tests.support.waiting import until

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
CRDS_VARIABLE = "POINTSMAN_TEST_CRDS"

_START_S = 60.0  # seconds on an idle machine are 3
_STOP_S = 20.0

# Of the controller manager, those that need no nodes: owners make their pods, namespaces empty themselves, what is
# orphaned goes, service accounts have what they need.
CONTROLLERS = (
    "deployment",
    "replicaset",
    "statefulset",
    "daemonset",
    "job",
    "endpoint",
    "garbagecollector",
    "namespace",
    "resourcequota",
    "serviceaccount",
    "serviceaccount-token",
    "root-ca-cert-publisher",
    "horizontalpodautoscaling",
    "disruption",
)


def assets() -> Path | None:
    """The folder of binaries, if the environment names one."""
    value = os.environ.get(ASSETS_VARIABLE)
    return Path(value) if value else None


def crd_folder() -> Path | None:
    value = os.environ.get(CRDS_VARIABLE)
    return Path(value) if value else None


def missing(*programs: str, crds: bool = True) -> str | None:
    """Why the cluster tests can't run here, or None."""
    folder = assets()
    if folder is None:
        return f"{ASSETS_VARIABLE} is not set: no kube-apiserver to test with"
    absent = [name for name in ("etcd", "kube-apiserver", *programs) if not os.access(folder / name, os.X_OK)]
    if absent:
        return f"{ASSETS_VARIABLE}={folder} has no {', '.join(absent)}"
    if crds and (found := crd_folder()) is None:
        return f"{CRDS_VARIABLE} is not set: no definitions of Istio's and the Gateway API's objects"
    if crds and found is not None and not any(found.glob("*.yaml")):
        return f"{CRDS_VARIABLE}={found} has no *.yaml"
    return None


class _Process:
    """One program of the control plane, with its log in a file."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder)},
            )

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def assert_running(self) -> None:
        code = self.popen.poll()
        assert code is None, f"{self.name} ended with {code}:\n{self.tail()}"

    def stop(self, *, at_once: bool = False) -> None:
        if at_once:
            self.popen.kill()
        else:
            self.popen.terminate()
        try:
            self.popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


@dataclass
class Cluster:
    """A running control plane. `client()` acts as its administrator."""

    folder: Path
    binaries: Path
    url: str
    authority: Path
    admin_token: str
    manager_token: str
    processes: list[_Process] = field(default_factory=list)
    _admin: Client | None = None

    def client(self, token: str | None = None) -> Client:
        """A connection of its own, for the administrator or whoever has this token."""
        return Client(self.url, str(self.authority), self.admin_token if token is None else token)

    @property
    def admin(self) -> Client:
        """The administrator's connection that tests of one thread share."""
        if self._admin is None:
            self._admin = self.client()
        return self._admin

    def logs(self) -> str:
        return "\n".join(f"--- {process.name} ---\n{process.tail()}" for process in self.processes)

    def kubeconfig(self, token: str | None = None) -> Path:
        """A file for programs that want one: kubectl, the controller manager, Pointsman's controller."""
        path = self.folder / f"kubeconfig-{secrets.token_hex(4)}"
        path.touch(mode=0o600)
        path.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n"
            "clusters: [{name: test, cluster: "
            f"{{server: '{self.url}', certificate-authority: '{self.authority}'}}}}]\n"
            f"users: [{{name: test, user: {{token: '{token or self.admin_token}'}}}}]\n"
            "contexts: [{name: test, context: {cluster: test, user: test}}]\n"
        )
        return path

    @contextlib.contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """A new namespace. Deleted after; emptied only where the controller manager runs."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        document: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.admin.must(self.admin.create(document), f"namespace {name}")
        try:
            yield name
        finally:
            self.admin.delete(document)

    @contextlib.contextmanager
    def controller_manager(self, *flags: str, qps: int = 200) -> Iterator[_Process]:
        """kube-controller-manager with `CONTROLLERS`, as long as the block lasts."""
        command = [
            self.binaries / "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig(self.manager_token)}",
            f"--controllers={','.join(CONTROLLERS)}",
            f"--service-account-private-key-file={self.folder / 'accounts.key'}",
            f"--root-ca-file={self.authority}",
            f"--kube-api-qps={qps}",
            f"--kube-api-burst={2 * qps}",
            *("--leader-elect=false", "--port=0", "--secure-port=0", "--use-service-account-credentials=false"),
            *flags,
        ]
        process = _Process("kube-controller-manager", command, self.folder)
        self.processes.append(process)
        try:
            until(lambda: self._has_account(process), "the controller manager", within_s=_START_S)
            yield process
        finally:
            process.stop()
            self.processes.remove(process)

    def _has_account(self, process: _Process) -> bool:
        """Whether it works: it makes every namespace's service account."""
        process.assert_running()
        account: Object = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        return self.admin.get(account).is_ok

    def define(self, folder: Path) -> list[str]:
        """Creates the CustomResourceDefinitions of a folder, waits until they are served, and returns their names.

        The files go to the server as they are: a server that does not know validation rules in CEL drops them.
        """
        names = []
        for path in sorted(folder.glob("*.yaml")):
            for text in re.split(r"^---\s*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
                if re.search(r"^kind: CustomResourceDefinition$", text, re.MULTILINE):
                    names.append(self._defined(text.encode(), path))
        for name in names:
            path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
            until(lambda path=path: _is_established(self.admin.ask("GET", path)), f"{name} to be served", within_s=30)
        return names

    def _defined(self, text: bytes, path: Path) -> str:
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        answer = self.admin.ask("POST", definitions, text, content_type="application/yaml")
        return str(self.admin.must(answer, f"a definition of {path}")["metadata"]["name"])


def _is_established(answer: Answer) -> bool:
    conditions: list[Mapping[str, str]] = answer.object.get("status", {}).get("conditions", [])
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


@contextlib.contextmanager
def run_cluster(folder: Path, *flags: str, crds: Path | None = None) -> Iterator[Cluster]:
    """etcd and kube-apiserver with `flags`, ready, with the definitions of the folder `crds`."""
    binaries = assets()
    assert binaries is not None, missing(crds=False)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_secrets(folder, tokens := {"admin": secrets.token_hex(16), "manager": secrets.token_hex(16)})
    with contextlib.ExitStack() as stack:
        # The port stays ours until the server has it: both hold it with SO_REUSEPORT, and only the server listens.
        holder = stack.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        cluster = Cluster(
            folder, binaries, f"https://127.0.0.1:{port}", folder / "server.crt", tokens["admin"], tokens["manager"]
        )
        try:
            cluster.processes.append(etcd := _Process("etcd", _etcd_command(binaries), folder))
            stack.callback(etcd.stop, at_once=True)
            until(lambda: _is_listening(etcd, folder / "client:1"), "etcd", within_s=_START_S)
            cluster.processes.append(
                server := _Process("kube-apiserver", _server_command(binaries, port, flags), folder)
            )
            stack.callback(server.stop)
            until(lambda: _is_ready(server, cluster), "kube-apiserver", within_s=_START_S)
            if crds is not None:
                cluster.define(crds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{cluster.logs()}") from error
        stack.callback(lambda: cluster.admin.close())
        yield cluster
        for process in cluster.processes:
            process.assert_running()


def _write_secrets(folder: Path, tokens: Mapping[str, str]) -> None:
    """Certificate of the server, key of the service accounts' tokens, tokens of the users."""
    write_certificate(folder / "server.crt", folder / "server.key", "kube-apiserver")
    write_certificate(folder / "accounts.crt", folder / "accounts.key", "accounts")
    users = folder / "tokens.csv"
    users.touch(mode=0o600)
    users.write_text(
        f'{tokens["admin"]},admin,admin,"system:masters"\n'
        f'{tokens["manager"]},system:kube-controller-manager,manager,"system:masters"\n'
    )


def _etcd_command(binaries: Path) -> list[str | Path]:
    """Sockets are files in its folder; nothing is to survive, so nothing waits for the disk."""
    return [
        binaries / "etcd",
        *("--data-dir=etcd", "--unsafe-no-fsync", "--logger=zap", "--log-level=warn"),
        *("--listen-client-urls=unix://client:1", "--advertise-client-urls=unix://client:1"),
        *("--listen-peer-urls=unix://peer:1", "--initial-advertise-peer-urls=http://127.0.0.1:1"),
        "--initial-cluster=default=http://127.0.0.1:1",
    ]


def _server_command(binaries: Path, port: int, flags: Sequence[str]) -> list[str | Path]:
    return [
        binaries / "kube-apiserver",
        *("--etcd-servers=unix://client:1", "--storage-media-type=application/json"),
        *("--bind-address=127.0.0.1", f"--secure-port={port}", "--permit-port-sharing", "--insecure-port=0"),
        *("--tls-cert-file=server.crt", "--tls-private-key-file=server.key", "--client-ca-file=server.crt"),
        # No endpoint of the service `kubernetes`: nothing in this cluster could reach it.
        *("--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none"),
        *("--token-auth-file=tokens.csv", "--authorization-mode=RBAC"),
        *("--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=accounts.crt"),
        *("--service-account-signing-key-file=accounts.key", "--service-cluster-ip-range=10.96.0.0/16"),
        *flags,
    ]


def _is_listening(etcd: _Process, path: Path) -> bool:
    etcd.assert_running()
    return path.is_socket()


def _is_ready(server: _Process, cluster: Cluster) -> bool:
    server.assert_running()
    try:
        return cluster.admin.ask("GET", "/readyz").is_ok
    except OSError:
        time.sleep(0.05)
        return False
