"""Starting: a line for each fault that names its place, exit code 2; and what variables say counts like flags."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.badtables import BAD_TABLES, are_these
from tests.support.client import ask, get
from tests.support.origin import Origin, running
from tests.support.proxy import KEY, WORKLOAD, route, run_proxy, table, write_table

IN_USE = "Address already in use"


def start(*flags: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A proxy that is expected to end by itself."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    return subprocess.run(
        [sys.executable, "-m", "proxy", *flags],
        env={**own, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )


def check_faults(ended: subprocess.CompletedProcess[str], *beginnings: str) -> None:
    """These faults, a line each, and not another word: no traceback, no line that says it is up."""
    lines = ended.stderr.splitlines()
    assert are_these(lines, [f"pointsman proxy: {beginning}" for beginning in beginnings]), ended.stderr
    assert (ended.returncode, ended.stdout) == (2, "")


@pytest.fixture
def good(tmp_path: Path) -> tuple[str, ...]:
    """Flags with which a proxy would start."""
    write_table(tmp_path / "table", table())
    return (
        *("--listen", "127.0.0.1:0", "--baseline", "127.0.0.1:9", "--admin", "127.0.0.1:0"),
        *("--workload", WORKLOAD, "--table", str(tmp_path / "table")),
    )


@pytest.fixture
def used_ports() -> Iterator[tuple[int, int, int]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    first, second, third = (used.getsockname()[1] for used in sockets)
    yield first, second, third
    for used in sockets:
        used.close()


# --- flags and variables ---


@pytest.mark.parametrize(
    ("flags", "faults"),
    [
        (["--drain-timout", "5"], ["unknown flag '--drain-timout' (did you mean --drain-timeout?)"]),
        (["--listen=127.0.0.1:16006", "--baseline=127.0.0.1:16006"], ["--baseline: 127.0.0.1:16006 is where this"]),
        (["--listen=0.0.0.0:16006", "--baseline=localhost:16006"], ["--baseline: localhost:16006 is where this"]),
        (["--listen=127.0.0.1:16006"], ["--baseline: one for each --listen, are 1 for 2"]),
        (["--workload-port", "65536"], ["--workload-port: must be in 1-65535, is 65536"]),
        (["--drain-timeout", "soon"], ["--drain-timeout: must be a number of seconds, at least 0, is 'soon'"]),
        (["--table", "another"], ["--table: given 2 times, may be given once"]),
        (["--table"], ["--table: needs a value, FILE", "--table: given 2 times, may be given once"]),
        (
            ["--frobnicate", "x", "--unknown-key", "drop"],
            ["unknown flag '--frobnicate'", "--unknown-key: must be baseline or reject, is 'drop'"],
        ),
    ],
)
def test_flags(good: tuple[str, ...], flags: list[str], faults: list[str]) -> None:
    check_faults(start(*good, *flags), *faults)


def test_nothing_given() -> None:
    required = [f"--{flag} (or POINTSMAN_{flag.upper()}) is required: " for flag in ("listen", "baseline", "workload")]
    source = "--table (or POINTSMAN_TABLE) or --controller (or POINTSMAN_CONTROLLER) is required: "
    check_faults(start(), *required, source)


def test_faults_of_variables_name_the_variable(good: tuple[str, ...]) -> None:
    environ = {"POINTSMAN_CONNECT_TIMEOUT": "5s", "POINTSMAN_KEY_NAME": "a b,c", "POINTSMAN_DECISION_HEADER": "perhaps"}
    check_faults(
        start(*good, "--gone-key", "keep", environ=environ),
        "POINTSMAN_KEY_NAME: must be a token",
        "--gone-key: must be reject or baseline, is 'keep'",
        "POINTSMAN_DECISION_HEADER: must be true or false, is 'perhaps'",
        "POINTSMAN_CONNECT_TIMEOUT: must be a number of seconds, at least 0.001, is '5s'",
    )


def test_help() -> None:
    ended = start("--listen", "nonsense", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "POINTSMAN_DRAIN_TIMEOUT" in ended.stdout


# --- ports ---


@pytest.mark.parametrize("by_variable", [False, True])
def test_every_port_in_use_is_named(good: tuple[str, ...], used_ports: tuple[int, int, int], by_variable: bool) -> None:
    """The ones that are free are not announced."""
    listens = [f"127.0.0.1:{port}" for port in used_ports[:2]]
    admin = f"127.0.0.1:{used_ports[2]}"
    baselines = ("--baseline", "127.0.0.1:9", "--baseline", "127.0.0.1:9")
    if by_variable:
        listen_origin, admin_origin = "POINTSMAN_LISTEN", "POINTSMAN_ADMIN"
        environ = {listen_origin: ",".join(["127.0.0.1:0", *listens]), admin_origin: admin}
        ended = start(*good[2:4], *good[6:], *baselines, environ=environ)
    else:
        listen_origin, admin_origin = "--listen", "--admin"
        flags = [f"--listen={listen}" for listen in listens]
        ended = start(*good[:4], *good[6:], *baselines, *flags, "--admin", admin)
    check_faults(
        ended,
        *(f"{listen_origin}: cannot listen on {listen}: {IN_USE}" for listen in listens),
        f"{admin_origin}: cannot listen on {admin}: {IN_USE}",
    )


def test_the_default_admin_port_is_named_by_its_flag(good: tuple[str, ...]) -> None:
    """Nobody gave it, so the fault must say how to give another."""
    used = socket.socket()
    used.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        used.bind(("127.0.0.1", 16020))
        used.listen()
    except OSError:
        pass  # somebody else has it, which is as good
    ended = start(*good[:4], *good[6:])
    used.close()
    check_faults(ended, f"--admin: cannot listen on 127.0.0.1:16020: {IN_USE}")


def test_an_address_that_is_not_ours(good: tuple[str, ...]) -> None:
    """RFC 5737 section 3: nobody has it."""
    listen = "192.0.2.1:16006"
    ended = start(*good[2:], "--listen", listen)
    check_faults(ended, f"--listen: cannot listen on {listen}: Cannot assign requested address")


# --- the table ---


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables(tmp_path: Path, good: tuple[str, ...], name: str) -> None:
    text, faults = BAD_TABLES[name]
    path = tmp_path / "table"
    path.write_text(text)
    check_faults(start(*good), *(f"--table {path}: {fault}" for fault in faults))


def test_no_table(tmp_path: Path, good: tuple[str, ...]) -> None:
    path = tmp_path / "table"
    path.unlink()
    check_faults(start(*good), f"--table {path}: can't be read: No such file or directory")
    path.mkdir()
    check_faults(start(*good), f"--table {path}: can't be read: Is a directory")


def test_a_table_given_by_variable_is_named_by_it(tmp_path: Path, good: tuple[str, ...]) -> None:
    path = tmp_path / "another"
    ended = start(*good[:-2], environ={"POINTSMAN_TABLE": str(path)})
    check_faults(ended, f"POINTSMAN_TABLE {path}: can't be read: No such file or directory")


def test_a_large_table(tmp_path: Path, good: tuple[str, ...]) -> None:
    """Read in a process of its own; its faults are told by this one."""
    document = table(*(route(f"k{index}", [9]) for index in range(700)), {**route("last"), "sandbox": ""})
    (tmp_path / "table").write_text(json.dumps(document))
    check_faults(start(*good), f"--table {tmp_path / 'table'}: routes[700].sandbox: must be 1-253 of ")


# --- variables ---


def test_variables_are_honoured(tmp_path: Path) -> None:
    """All of these by variable; a flag beats its variable; what Kubernetes injects for Services is ignored."""
    first, second, sandbox = Origin("first"), Origin("second"), Origin("sandbox")
    environ = {
        "POINTSMAN_LISTEN": "127.0.0.1:0, 127.0.0.1:0",
        "POINTSMAN_BASELINE": f"127.0.0.1:{first.port},127.0.0.1:{second.port}",
        "POINTSMAN_WORKLOAD_PORT": "8081,8082",
        "POINTSMAN_KEY_NAME": "my-key",
        "POINTSMAN_DECISION_HEADER": "true",
        "POINTSMAN_UNKNOWN_KEY": "baseline",
        "POINTSMAN_TABLE": "/nowhere",  # the kit gives --table
        "POINTSMAN_PORT": "tcp://10.0.0.1:80",
        "POINTSMAN_PORT_80_TCP": "tcp://10.0.0.1:80",
        "POINTSMAN_SERVICE_HOST": "10.0.0.1",
        "POINTSMAN_CONNECT_TIMEOUT": "tcp://10.0.0.1:80",
        "POINTSMAN_GONE_KEY": "",
    }
    document = table(route(KEY, [sandbox.port]), goneKeys=["gone"])
    flags = ("--unknown-key", "reject")
    with (
        running(first, second, sandbox),
        run_proxy(tmp_path, document=document, flags=flags, workload_ports=(), environ=environ) as proxy,
    ):
        assert [ask(port, get()).origin for port in proxy.ports] == ["first", "second"]
        assert [ask(port, get("/", f"baggage: my-key={KEY}")).status for port in proxy.ports] == [200, 503]
        response = ask(proxy.port, get("/", f"baggage: my-key={KEY}"))
        assert (response.origin, response.decision) == ("sandbox", "sandbox=local-location; reason=route")
        assert ask(proxy.port, get("/", f"baggage: sd-routing-key={KEY}")).decision == "baseline; reason=no_key"
        assert ask(proxy.port, get("/", "baggage: my-key=nobody")).status == 424
        assert ask(proxy.port, get("/", "baggage: my-key=gone")).status == 424


def test_everything_that_is_required_by_variable(tmp_path: Path) -> None:
    """Starts with no flag at all, as far as to the port that is in use."""
    write_table(tmp_path / "table", table())
    with socket.create_server(("127.0.0.1", 0)) as used:
        admin = f"127.0.0.1:{used.getsockname()[1]}"
        environ = {
            "POINTSMAN_LISTEN": "127.0.0.1:0",
            "POINTSMAN_BASELINE": "127.0.0.1:9",
            "POINTSMAN_WORKLOAD": WORKLOAD,
            "POINTSMAN_TABLE": str(tmp_path / "table"),
            "POINTSMAN_ADMIN": admin,
        }
        check_faults(start(environ=environ), f"POINTSMAN_ADMIN: cannot listen on {admin}: {IN_USE}")
