"""Sees a machine before a proxy starts there, by the proxy's own settings."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from pointsman.doctor.facts import AddressFacts, BaselineFacts, CaptureFacts, FileFacts, FilesLimit, NameFacts
from pointsman.doctor.gather_proxy import EXCHANGE_S, document_names
from pointsman.doctor.names import look_up
from pointsman.doctor.speaking import spoken_at
from proxy.about import PROTOCOLS
from proxy.config import Settings
from proxy.net.descriptors import PAGE_SPARES, Descriptors
from proxy.net.listener import ListenError, bind
from proxy.reloading import ReloadError
from proxy.routing.faults import TableError
from proxy.routing.names import Endpoint
from proxy.routing.table import RoutingTable
from proxy.routing.text import parse_text
from proxy.routing.wire import read_document
from proxy.tokensfile import tokens_of_file

_CHAIN: Final = "POINTSMAN_IN"
_OWN_FILES: Final = 40  # what a proxy opens beside connections: libraries, the loop, listeners, a watch
_LISTENING: Final = "0A"  # /proc/net/tcp
_RULES_S: Final = 5.0


def addresses(settings: Settings) -> list[AddressFacts]:
    wanted = [("--listen", listen) for listen in settings.listens]
    pages = [("--admin", settings.admin), ("--health-listen", settings.health_listen)]
    wanted += [(flag, endpoint) for flag, endpoint in pages if endpoint is not None]
    return [_address(flag, endpoint) for flag, endpoint in wanted]


def _address(flag: str, endpoint: Endpoint) -> AddressFacts:
    try:
        for sock in asyncio.run(bind(endpoint)):
            sock.close()
    except ListenError as error:
        text = str(error).rpartition(": ")[2].lower()
        return AddressFacts(flag, str(endpoint), endpoint.port, text, ", ".join(_holders(endpoint.port)))
    return AddressFacts(flag, str(endpoint), endpoint.port)


def _holders(port: int) -> Iterator[str]:
    """Processes that listen on the port: those that we may look at."""
    inodes = set[str]()
    for name in ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/net/{name}", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
            inodes |= {row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            folder = f"/proc/{process}/fd"
            if any(os.readlink(f"{folder}/{number}") in wanted for number in os.listdir(folder)):
                with open(f"/proc/{process}/cmdline", "rb") as file:
                    command = file.read(200).replace(b"\0", b" ").decode("utf-8", "replace").strip()
                yield f"process {process} ({command[:100]})"


def files_limit(settings: Settings) -> FilesLimit:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 30
    workers = max(settings.workers, 1)
    pages = sum(page is not None for page in (settings.admin, settings.health_listen))
    fits = Descriptors(hard, _OWN_FILES + pages * PAGE_SPARES).connections * workers
    return FilesLimit(hard, fits, settings.limits.max_connections)


def table(settings: Settings) -> tuple[list[FileFacts], RoutingTable | None]:
    """The table's file, if there is one to be."""
    path = settings.table_file
    if path is None:
        return [], None
    try:
        with open(path, "rb") as file:
            found = read_document(parse_text(file.read()))
    except OSError as error:
        return [FileFacts("--table", path, (f"can't be read: {error.strerror}",))], None
    except TableError as error:
        return [FileFacts("--table", path, tuple(error.faults[:10]))], None
    says = f"version {found.version}, {len(found.routes)} routes"
    if settings.sidecar is not None:
        says += f", {len(found.routes_of.get(settings.sidecar.workload, {}))} of them for {settings.sidecar.workload}"
    return [FileFacts("--table", path, says=says)], found


def files(settings: Settings) -> list[FileFacts]:
    """Tokens, authorities, folders to be written."""
    found = []
    controller = settings.controller
    if controller is not None and controller.token_file is not None:
        found.append(FileFacts("--token-file", controller.token_file, tuple(_token_faults(controller.token_file))))
    if controller is not None and controller.ca_file is not None:
        found.append(FileFacts("--controller-ca", controller.ca_file, tuple(_authority_faults(controller.ca_file))))
    if controller is not None and controller.state_dir is not None:
        found.append(FileFacts("--state-dir", controller.state_dir, tuple(_folder_faults(controller.state_dir))))
    for flag, path in (
        ("--admin-token-file", settings.admin_token_file),
        ("--preview-token-file", settings.previews.token_file),
    ):
        if path is not None:
            found.append(FileFacts(flag, path, tuple(_tokens_faults(path))))
    log = settings.watch.access_log
    if log is not None and log.file is not None:
        folder = os.path.dirname(log.file) or "."
        found.append(FileFacts("--access-log-file", log.file, tuple(_folder_faults(folder))))
    return found


def _tokens_faults(path: str) -> Iterator[str]:
    try:
        if not tokens_of_file(path):
            yield "holds no token"
    except ReloadError as error:
        yield str(error).removeprefix(f"{path}: ")


def _token_faults(path: str) -> Iterator[str]:
    try:
        with open(path, encoding="ascii") as file:
            token = file.read(1 << 16).strip()
    except UnicodeDecodeError:
        yield "must be ASCII"
        return
    except OSError as error:
        yield f"can't be read: {error.strerror}"
        return
    if not token or not token.isprintable() or " " in token:
        yield "must hold one token"


def _authority_faults(path: str) -> Iterator[str]:
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        yield "holds no certificates (PEM)"
    except OSError as error:
        yield f"can't be read: {error.strerror}"


def _folder_faults(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        parent = os.path.dirname(os.path.abspath(path))
        if not os.access(parent, os.W_OK):
            yield f"does not exist and can't be made in {parent}"
    elif not os.access(path, os.W_OK | os.X_OK):
        yield "can't be written in"


def baselines(settings: Settings) -> list[BaselineFacts]:
    if settings.sidecar is None:
        return []
    configured = PROTOCOLS[settings.baseline_version]
    found = []
    for port in settings.sidecar.ports:
        spoken = spoken_at(port.baseline.host, port.baseline.port, EXCHANGE_S, configured)
        found.append(BaselineFacts(str(port.baseline), configured, spoken))
    return found


def names(settings: Settings, table_: RoutingTable | None) -> list[NameFacts]:
    wanted = dict[str, str]()
    if settings.sidecar is not None:
        wanted.update({port.baseline.host: "a baseline" for port in settings.sidecar.ports})
    if settings.controller is not None and (host := urlsplit(settings.controller.url).hostname):
        wanted[host] = "the controller"
    if table_ is not None:
        document: dict[str, object] = {"routes": [route.document() for route in table_.routes]}
        if settings.sidecar is None:
            document["services"] = [service.document() for service in table_.services]
        for name, what in document_names(document).items():
            wanted.setdefault(name, what)
    return look_up(wanted, settings.dns_servers)


def capture() -> list[CaptureFacts]:
    """Of IPv4, and of IPv6 where others may come by it."""
    commands = ["iptables", "ip6tables"] if _has_ipv6() else ["iptables"]
    return [_rules(command) for command in commands]


def _rules(command: str) -> CaptureFacts:
    path = shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        return CaptureFacts(command, error=f"{command} is not installed here")
    try:
        found = subprocess.run([path, "-w", "2", "-t", "nat", "-S"], capture_output=True, text=True, timeout=_RULES_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return CaptureFacts(command, error=str(error))
    if found.returncode:
        why = (found.stderr.strip().splitlines() or ["it says nothing"])[0]
        may_not = os.geteuid() != 0 or "ermission" in why or "not permitted" in why
        return CaptureFacts(command, error=f"no right to look ({why})" if may_not else why, may_not=may_not)
    return read_rules(command, found.stdout)


def read_rules(command: str, text: str) -> CaptureFacts:
    """Of what `iptables -t nat -S` prints."""
    lines = [line.split() for line in text.splitlines()]
    ports = [
        int(line[line.index("--to-ports") + 1])
        for line in lines
        if line[:2] == ["-A", _CHAIN] and "--to-ports" in line and line[line.index("--to-ports") + 1].isdecimal()
    ]
    return CaptureFacts(
        command,
        has_chain=["-N", _CHAIN] in lines,
        is_led_to=any(line[:2] == ["-A", "PREROUTING"] and line[-1] == _CHAIN for line in lines),
        to_ports=tuple(dict.fromkeys(ports)),
    )


def _has_ipv6() -> bool:
    """Whether others can come by IPv6: there is an address beside those of loopback and of the link."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return False
    return socket.has_ipv6 and any(row[-1] != "lo" and row[0][:3] not in ("fe8", "fe9", "fea", "feb") for row in rows)
