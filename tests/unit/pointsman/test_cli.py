from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pointsman.__main__ import COMMAND_WORDS, main
from pointsman.explain import asks_controller

TABLE = """\
apiVersion: pointsman.dev/v1alpha1
kind: RoutingTable
version: "42"
routes:
- routingKey: qwblp48fpmb30
  sandbox: local-location
  baseline: {kind: Deployment, namespace: hotrod, name: location}
  mappings: [{port: 8081, destinations: [{host: 127.0.0.1, port: 9081}]}]
goneKeys: [k3v0z8m1c2d4e]
"""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "TABLE",
        "CONTROLLER",
        "WORKLOAD",
        "KEY_NAME",
        "KEY_HEADER",
        "UNKNOWN_KEY",
        "GONE_KEY",
        "HEADER",
        "JSON",
        "PORT",
    ):
        monkeypatch.delenv(f"POINTSMAN_{name}", raising=False)


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "table.yaml"
    path.write_text(TABLE)
    return str(path)


class TestCommands:
    @pytest.mark.parametrize("flag", ["--help", "-h", "help"])
    def test_help(self, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([flag]) == 0
        out, err = capsys.readouterr()
        assert all(f"\n  {command} " in out for command in ("proxy", "explain", "demo"))
        assert err == ""

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert re.fullmatch(r"pointsman \S.*\n", capsys.readouterr().out)

    def test_nothing_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == 2
        assert "usage: pointsman COMMAND" in capsys.readouterr().err

    def test_unknown_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["prxy"]) == 2
        assert capsys.readouterr().err == f"pointsman: unknown command 'prxy' ({', '.join(COMMAND_WORDS)}; --help)\n"

    @pytest.mark.parametrize("command", ["proxy", "controller", "explain"])
    def test_help_of_a_command(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([command, "--help"]) == 0
        assert f"usage: pointsman {command} --" in capsys.readouterr().out

    def test_faults_of_the_proxy_are_lines(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["proxy", "--admin", "x", "--frobnicate"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 6
        assert all(line.startswith("pointsman proxy: ") for line in lines)


class TestExplain:
    def explained(self, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
        assert main(["explain", "--workload", "hotrod/Deployment/location", "--json", *words]) == 0
        found = json.loads(capsys.readouterr().out)
        assert isinstance(found, dict)
        return found

    def test_readable(self, table: str, capsys: pytest.CaptureFixture[str]) -> None:
        header = ("--header", "baggage: a=b, sd-routing-key=qwblp48fpmb30")
        assert main(["explain", "--table", table, "--workload", "hotrod/Deployment/location", *header]) == 0
        out = capsys.readouterr().out
        assert "route" in out
        assert "local-location" in out
        assert "qwblp48fpmb30" in out

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            ((), "no_key"),
            (("--header", "baggage: sd-routing-key=qwblp48fpmb30"), "route"),
            (("--header", "Baggage: sd-sandbox=qwblp48fpmb30"), "route"),
            (("--header", "baggage: sd-routing-key=qwblp48fpmb30", "--port", "9999"), "port_not_mapped"),
            (("--header", "baggage: sd-routing-key=nobody"), "unknown_key"),
            (("--header", "tracestate: sd-routing-key=k3v0z8m1c2d4e"), "gone_key"),
            (("--key-header", "X-Key", "--header", "x-key: qwblp48fpmb30"), "route"),
            (("--key-name", "k", "--header", "baggage: sd-routing-key=qwblp48fpmb30"), "no_key"),
        ],
    )
    def test_json(self, table: str, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str) -> None:
        found = self.explained(capsys, "--table", table, *words)
        assert found["reason"] == reason

    def test_a_workload_that_the_table_does_not_name_gets_a_hint(
        self, table: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["explain", "--table", table, "--workload", "hotrod/Deployment/loction"]) == 0
        assert capsys.readouterr().err == (
            "pointsman explain: no route in this table is for hotrod/Deployment/loction "
            "(it has routes for: hotrod/Deployment/location)\n"
        )
        assert main(["explain", "--table", table, "--workload", "hotrod/Deployment/location"]) == 0
        assert capsys.readouterr().err == ""

    def test_every_fault_is_a_line(self, table: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", "--table", table, "--header", "no colon", "--port", "x", "--jsn"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line.removeprefix("pointsman explain: ") for line in lines] == [
            "unknown flag '--jsn' (did you mean --json?)",
            "--port: must be a whole number in 1-65535, is 'x'",
            "--header: must be 'name: value', is 'no colon'",
            "--workload or --header 'Host: ...' is required: whose request it is",
            "--port: needs --workload; a router tells the port from the Host",
        ]
        assert main(["explain", "--table", table, "--header", "Host: location", "--port", "80"]) == 2
        fault = "pointsman explain: --port: needs --workload; a router tells the port from the Host\n"
        assert capsys.readouterr().err == fault

    @pytest.mark.parametrize(
        ("host", "key", "workload", "reason"),
        [
            ("LOCATION.:80", "qwblp48fpmb30", "hotrod/Deployment/location", "route"),
            ("location", "nobody", "hotrod/Deployment/location", "unknown_key"),
            ("elsewhere", "qwblp48fpmb30", "", "unknown_host"),
            ("web--qwblp48fpmb30.preview.example", "nobody", "hotrod/Deployment/location", "route"),
            ("web--nobody.preview.example", "qwblp48fpmb30", "", "unknown_key"),
            ("api--qwblp48fpmb30.preview.example", "qwblp48fpmb30", "", "unknown_preview"),
        ],
    )
    def test_as_a_router(
        self, table: str, capsys: pytest.CaptureFixture[str], host: str, key: str, workload: str, reason: str
    ) -> None:
        baseline = "{kind: Deployment, namespace: hotrod, name: location}"
        upstream = "{host: location, port: 80}"
        Path(table).write_text(
            f"{TABLE}\nservices: [{{hosts: [location], port: 8081, baseline: {baseline}, upstream: {upstream}}}]\n"
            f"previews: [{{domain: preview.example, endpoint: web, upstream: {upstream}}}]\n"
        )
        header = ("--header", f"Host: {host}", "--header", f"baggage: sd-routing-key={key}")
        assert main(["explain", "--table", table, "--json", *header]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["host"], found["workload"], found["reason"]) == (host, workload, reason)

    def test_a_bad_table(self, table: str, capsys: pytest.CaptureFixture[str]) -> None:
        Path(table).write_text(TABLE.replace("8081", "0").replace("9081", "0"))
        assert main(["explain", "--table", table, "--workload", "a/b/c"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert lines[0].startswith(f"pointsman explain: --table {table}: routes[0].mappings[0].port: ")

    @pytest.mark.parametrize(
        ("argv", "environ", "asks"),
        [
            ([], {}, False),
            (["--table", "t"], {}, False),
            (["--controller", "http://c"], {}, True),
            (["--controller=http://c"], {"POINTSMAN_TABLE": "t"}, True),
            ([], {"POINTSMAN_CONTROLLER": "http://c"}, True),
            (["--table", "t"], {"POINTSMAN_CONTROLLER": "http://c"}, False),
            (["--table=t"], {"POINTSMAN_CONTROLLER": "http://c"}, False),
            ([], {"POINTSMAN_CONTROLLER": "http://c", "POINTSMAN_TABLE": "t"}, False),
            (["--header", "--controller"], {}, True),  # a header's value does not begin with dashes
        ],
    )
    def test_who_is_asked(self, argv: list[str], environ: dict[str, str], asks: bool) -> None:
        assert asks_controller(argv, environ) is asks

    def test_not_both(self, table: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", "--table", table, "--controller", "http://c", "--workload", "a/b/c"]) == 2
        assert capsys.readouterr().err.startswith("pointsman explain: unknown flag '--table'")

    def test_no_table(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["explain", "--table", "/nonexistent", "--workload", "a/b/c"]) == 2
        assert "No such file" in capsys.readouterr().err
