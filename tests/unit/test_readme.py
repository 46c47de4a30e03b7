"""README.md says what the code does: tables, names, commands and outputs are compared with it.

Tables between markers are rewritten by whoever changes the code; a failure shows what must stand there.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks import tune
from controller.config import OPTIONS as CONTROLLER_OPTIONS
from pointsman import explain as explain_command
from pointsman.__main__ import main
from pointsman.cli import exits
from pointsman.cli.commands import COMMANDS
from pointsman.doctor.command import BEFORE
from pointsman.doctor.command import OPTIONS as DOCTOR_OPTIONS
from proxy import flags
from proxy.answers import own_head
from proxy.config import help_text, options_markdown
from proxy.errors import REASONS, Side
from proxy.options import Option, markdown_rows
from proxy.routing.decision import Decider, Decision, Policy
from proxy.routing.explain import Explanation
from proxy.routing.faults import TableError
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Workload
from proxy.routing.table import RoutingTable
from proxy.routing.text import parse_text
from proxy.routing.wire import read_document
from proxy.telemetry.exposition import Exposition, FeedState, TableState
from proxy.telemetry.metrics import Metrics
from proxy.workers.ownmetrics import State, of_workers
from tests.support.cluster import CRDS_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")

OPTIONS: tuple[Option[object], ...] = (
    *flags.OPTIONS,
    *CONTROLLER_OPTIONS,
    *explain_command._PROXY_OPTIONS,
    *explain_command._OPTIONS,
    *DOCTOR_OPTIONS,
    *(option for command in COMMANDS for option in command.options),
)

# Fenced blocks by language, and blocks that are indented by four blanks.
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
SPANS = re.findall(r"`([^`\n]+)`", PROSE)


def between(name: str) -> str:
    """What stands between a pair of markers."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->\n"
    assert TEXT.count(begin) == TEXT.count(end) == 1, f"the markers of {name} must stand once"
    return TEXT.partition(begin)[2].partition(end)[0]


def rows(table: str) -> Iterator[list[str]]:
    """The cells of a Markdown table's rows, without its head."""
    for line in table.splitlines()[2:]:
        yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def reasons_markdown() -> str:
    """`errors.REASONS` as the README shows it."""
    lines = ["| reason | flag | status | `Proxy-Status` error | when |", "|---|---|---|---|---|"]
    for reason in REASONS:
        if reason.status:
            status, error = str(reason.status), f"`{reason.proxy_error}`"
        else:
            status, error = "forwarded" if reason.side is Side.NONE else "none", ""
        lines.append(f"| `{reason}` | {reason.flag} | {status} | {error} | {reason.text} |")
    return "\n".join(lines) + "\n"


def table_documents() -> dict[str, str]:
    """The routing tables of the README: YAML blocks, and files that a shell block writes, by name."""
    found = {
        f"yaml block {number}": text
        for number, (language, text) in enumerate(BLOCKS)
        if language == "yaml" and "RoutingTable" in text
    }
    for language, text in BLOCKS:
        if language == "sh":
            found.update(re.findall(r"cat > (\S+) <<'EOF'\n(.*?\n)EOF\n", text, re.DOTALL))
    return found


def console() -> Iterator[tuple[str, str]]:
    """(command, output) of every `$` in a console block."""
    for language, text in BLOCKS:
        if language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                lines = part.splitlines(keepends=True)
                command = ""
                while lines:
                    command += lines.pop(0)
                    if not command.endswith("\\\n"):
                        break
                    command = command[:-2]
                yield command.strip(), "".join(lines)


def benchmark_flags() -> set[str]:
    """Of `python -m benchmarks cpu`."""
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    return set(parser._option_string_actions)


EXPLAINED = [(command, output) for command, output in console() if command.startswith("pointsman explain ")]


PROGRAMS = ("proxy", "controller", "pointsman")


class TestBlocks:
    def test_options(self) -> None:
        assert between("options") == options_markdown()

    def test_controller_options(self) -> None:
        assert between("controller-options") == markdown_rows(CONTROLLER_OPTIONS)

    def test_exit_codes_of_commands(self) -> None:
        assert between("exits") == exits.markdown_rows()

    def test_reasons(self) -> None:
        assert between("reasons") == reasons_markdown()

    def test_figures_have_a_place(self) -> None:
        assert between("bench").strip()

    def test_layout_names_what_exists(self) -> None:
        named = set(self._layout())
        assert [path for path in named if not (ROOT / path).exists()] == []
        modules = {f"proxy/{path.name}" for path in (ROOT / "proxy").glob("*.py")} - {"proxy/__init__.py"}
        packages = {
            f"{path.parent.relative_to(ROOT)}/" for path in ROOT.glob("*/*/__init__.py") if path.parts[-3] in PROGRAMS
        }
        assert modules | packages <= named

    def _layout(self) -> Iterator[str]:
        folder = ""
        for line in between("layout").strip().removeprefix("```\n").removesuffix("\n```").splitlines():
            names = re.split(r" {2,}", line.strip())[0].split()
            if line.startswith("  "):
                yield from (folder + name for name in names)
            else:
                folder = names[0]
                yield folder


def outcome(decision: Decision) -> str:
    return str(decision.status) if decision.status else decision.kind


class TestDecisions:
    ME = Workload.parse("hotrod/Deployment/location")
    PORT = 8081

    # Headers for each reason, beside which every other row of the table does not hold.
    BAGGAGE = {
        "loop": "sd-routing-key=routed",
        "ambiguous_key": "sd-routing-key=other,sd-routing-key=routed",
        "no_key": "a=b",
        "invalid_key": "sd-routing-key=%zz",
        "not_synced": "sd-routing-key=routed",
        "route": "sd-routing-key=routed",
        "no_destination": "sd-routing-key=waiting",
        "port_not_mapped": "sd-routing-key=elsewhere",
        "gone_route": "sd-routing-key=taken",
        "not_forked": "sd-routing-key=alive",
        "gone_key": "sd-routing-key=gone",
        "unknown_key": "sd-routing-key=nobody",
    }

    def table(self) -> RoutingTable:
        def route(key: str, port: int, *destinations: int) -> dict[str, object]:
            mapping = {"port": port, "destinations": [{"host": "127.0.0.1", "port": number} for number in destinations]}
            return {"routingKey": key, "sandbox": key, "baseline": self.ME._asdict(), "mappings": [mapping]}

        return read_document(
            {
                "apiVersion": "pointsman.dev/v1alpha1",
                "kind": "RoutingTable",
                "version": "1",
                "routes": [route("routed", 8081, 9081), route("waiting", 8081), route("elsewhere", 8082, 9082)],
                "liveKeys": ["alive", "taken"],
                "goneKeys": ["gone"],
                "goneRoutes": [{"routingKey": "taken", "baseline": self.ME._asdict()}],
            }
        )

    def decide(self, reason: str, *, strict: bool, policy: Policy | None = None) -> Decision:
        baggage = self.BAGGAGE[reason] + (",sd-strict=1" if strict else "")
        reading = KeyReader(KeySettings()).read([baggage.encode()], [])
        view = None if reason == "not_synced" else self.table().view(self.ME)
        hops = [str(self.ME).encode()] if reason == "loop" else []
        return Decider(self.ME, policy or Policy()).decide(reading, view, self.PORT, hops)

    def test_each_row_is_what_is_decided(self) -> None:
        named = []
        for _, result, reason_cell, if_strict in rows(between("decisions")):
            reason = reason_cell.removeprefix("note ").strip("`")
            named.append(reason)
            usual, strict = self.decide(reason, strict=False), self.decide(reason, strict=True)
            if reason == "ambiguous_key":
                assert usual.note is not None
                assert (usual.note.name, result) == (reason, "by the one that counts")
            else:
                assert (usual.reason.name, outcome(usual)) == (reason, result)
            is_same = (strict.reason, outcome(strict)) == (usual.reason, outcome(usual))
            assert if_strict == ("same" if is_same else outcome(strict)), reason_cell
        assert named == list(self.BAGGAGE)

    def test_what_changes_the_last_two(self) -> None:
        assert "`--gone-key baseline` and `--unknown-key reject` change the last two rows." in PROSE
        policy = Policy(unknown_key_rejects=True, gone_key_rejects=False)
        assert outcome(self.decide("gone_key", strict=False, policy=policy)) == "baseline"
        assert outcome(self.decide("unknown_key", strict=False, policy=policy)) == "424"


class TestNames:
    def test_metrics(self) -> None:
        """The metrics' table has every family with its labels, and nothing else does the README call a metric."""
        exposed = self._exposed()
        shown = {
            name: tuple(re.findall(r"`(\w+)`", labels))
            for names, labels in re.findall(r"^\| (`pointsman_[^|]*) \|([^|]*)\|", TEXT, re.MULTILINE)
            for name in re.findall(r"`(\w+)`", names)
        }
        assert shown == exposed
        assert set(re.findall(r"\bpointsman_[a-z_]+", TEXT)) == set(exposed)

    def _exposed(self) -> dict[str, tuple[str, ...]]:
        """Name as Prometheus sees it -> its labels, in the order of the code."""
        metrics = Metrics()
        decision = TestDecisions().decide("route", strict=False)
        reason = REASONS[0]
        metrics.finished(decision, reason, 200, 0.001)
        metrics.grpc_finished(decision, 0)
        metrics.refuse(reason)
        metrics.upstream_failed(decision, reason)
        metrics.passed(8443, "tls")
        state = TableState(version="1", age_s=1.0, stale_s=0.0, routes=1, is_stale=False, refused_total=0)
        feed = FeedState(
            is_connected=True,
            is_synced=True,
            connected_total=0,
            failures_total=0,
            state_file_failures_total=0,
            lost_counts_total=0,
        )
        found: dict[str, tuple[str, ...]] = {}
        for family in Exposition(metrics, lambda: state, lambda: feed).collect():
            name = family.name + ("_total" if family.type == "counter" else "")
            found[name] = tuple(label for label in family.samples[0].labels if label != "le")
        for name, kind, _, samples in of_workers([State(1, True, 0.5, 3)], {(1, "SIGKILL"): 1}):
            found[name + ("_total" if kind == "counter" else "")] = tuple(label for label, _ in samples[0][1])
        return found

    def test_flags(self) -> None:
        known = {option.flag for option in OPTIONS} | benchmark_flags() | {BEFORE}
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT)) <= known

    def test_values_of_flags(self) -> None:
        """`--flag value` in code is read without a fault, if the value is one."""
        by_flag = {option.flag: option for option in OPTIONS}
        for span in SPANS:
            flag, _, value = span.partition(" ")
            if flag in by_flag and value and not value.isupper() and "|" not in value:
                by_flag[flag].read(value)

    def test_variables(self) -> None:
        known = {option.variable for option in OPTIONS}
        known |= {"POINTSMAN_PURE_PYTHON", CRDS_VARIABLE}  # of `proxy.compiled`, of the cluster tests
        assert set(re.findall(r"\bPOINTSMAN_[A-Z_]+\w", TEXT)) <= known

    def test_reasons(self) -> None:
        """Whatever is shown as a reason is one, in the sidecar's own words."""
        texts = {reason.name: reason for reason in REASONS}
        shown = re.findall(r"(?:reason|note)=(\w+)", TEXT)
        assert len(shown) > 2
        assert set(shown) <= set(texts)
        bodies = re.findall(r"^pointsman: (\w+): (.*)$", TEXT, re.MULTILINE)
        assert bodies
        assert [(name, texts[name].text) for name, _ in bodies] == bodies

    def test_answers(self) -> None:
        """An answer of the sidecar in a console block has the head that the code writes."""
        texts = {reason.name: reason for reason in REASONS}
        answers = [output for _, output in console() if output.startswith("HTTP/1.1 ")]
        assert answers
        for output in answers:
            head, _, body = output.partition("\n\n")
            match = re.match(r"pointsman: (\w+): ", body)
            assert match is not None
            reason = texts[match[1]]
            expected = own_head(reason.status, reason, reason.name, body.encode()).lines
            assert head.splitlines()[: len(expected)] == [line.decode() for line in expected]

    def test_exit_codes(self) -> None:
        assert re.findall(r"(\d) [a-z]", help_text().partition("Exit codes: ")[2]) == ["0", "2", "1"]
        assert re.search(r"\*\*Exit codes\*\*: 0 .*?; 2 .*?; 1 ", TEXT, re.DOTALL)


class TestCommands:
    def test_make(self) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
        shown = set(re.findall(r"^    make ([a-z-]+)$", TEXT, re.MULTILINE))
        shown |= {match[1] for span in SPANS if (match := re.fullmatch(r"make ([a-z-]+)(?: [A-Z]+=\d+)?", span))}
        assert shown == targets - {"help"}
        assert all(f"$({name})" in makefile for name in re.findall(r"make [a-z-]+ ([A-Z]+)=", TEXT))

    def test_commands_of_pointsman(self, capsys: pytest.CaptureFixture[str]) -> None:
        main(["--help"])
        known = re.findall(r"^  (\w+)  ", capsys.readouterr().out, re.MULTILINE)
        shown = re.findall(r"^(?:\$ )?pointsman (\w+) ", TEXT, re.MULTILINE)
        assert {"proxy", "explain"} <= set(shown) <= set(known)

    def test_there_is_an_explanation(self) -> None:
        assert len(EXPLAINED) == 2

    @pytest.mark.parametrize(("command", "output"), EXPLAINED, ids=["text", "json"])
    def test_explain(
        self,
        command: str,
        output: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The documented command prints the documented text; ` | grep -E` is understood."""
        for option in OPTIONS:
            monkeypatch.delenv(option.variable, raising=False)
        (tmp_path / "table.yaml").write_text(table_documents()["table.yaml"], encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        words, _, piped = map(shlex.split, command.partition(" | "))
        assert main(words[1:]) == 0
        printed = capsys.readouterr().out
        if piped:
            assert piped[:2] == ["grep", "-E"]
            lines = printed.splitlines(keepends=True)
            printed = "".join(line for line in lines if re.search(piped[2], line))
        assert printed == output

    def test_istio_render(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        (shown,) = [each for each in console() if each[0].startswith("pointsman istio render ")]
        for option in OPTIONS:
            monkeypatch.delenv(option.variable, raising=False)
        monkeypatch.chdir(ROOT)
        assert main(shlex.split(shown[0])[1:]) == 0
        assert capsys.readouterr() == (shown[1], "")

    def test_fields_of_an_explanation(self) -> None:
        sentence = TEXT.partition("`--json` prints one object: ")[2].partition(".\n")[0]
        assert re.findall(r"`(\w+)`", sentence) == [field.name for field in fields(Explanation)]

    def test_the_proxys_command_line(self) -> None:
        """The flags of the start are complete and have no fault."""
        from proxy.config import parse

        commands = re.findall(r"^pointsman proxy ((?:.*\\\n)*.*?)(?: > \S+ 2>&1)? &$", TEXT, re.MULTILINE)
        settings, with_controller = (parse(shlex.split(command.replace("\\\n", "")), {}) for command in commands)
        assert with_controller.controller is not None
        assert settings.decision_header
        assert settings.sidecar is not None
        for number in (settings.listens[0].port, settings.sidecar.ports[0].baseline.port):
            assert f"127.0.0.1:{number}/" in TEXT or f"http.server {number} " in TEXT


class TestDocuments:
    def test_there_are_tables(self) -> None:
        assert "table.yaml" in table_documents()
        assert len(table_documents()) >= 2

    @pytest.mark.parametrize("name", table_documents())
    def test_the_strict_loader_takes_each(self, name: str) -> None:
        assert read_document(parse_text(table_documents()[name].encode())).routes

    def test_a_fault_reads_as_shown(self) -> None:
        (shown,) = [span for span in SPANS if span.startswith("routes[0].")]
        document = table_documents()["table.yaml"].replace("port: 8081", "port: 99999")
        with pytest.raises(TableError) as refused:
            read_document(parse_text(document.encode()))
        assert refused.value.faults == [shown]


class TestPaths:
    TOPS = {path.name for path in ROOT.iterdir() if path.is_dir()}

    def exists(self, path: str) -> bool:
        return (ROOT / path).exists()

    def test_links(self) -> None:
        anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in self._headings()}
        for target in re.findall(r"\]\(([^)\s]+)\)", TEXT):
            if target.startswith("#"):
                assert target[1:] in anchors, target
            elif "://" not in target:
                assert self.exists(target.partition("#")[0]), target

    def _headings(self) -> list[str]:
        return re.findall(r"^#+ (.*)$", PROSE, re.MULTILINE)

    def test_paths_in_code(self) -> None:
        """A word in code that begins with one of our folders, or ends like one of our files, is there."""
        begins = rf"(?:{'|'.join(map(re.escape, self.TOPS))})/[\w./-]*"
        paths = [span for span in SPANS if re.fullmatch(rf"{begins}|[\w./-]+\.(?:py|md|toml)", span)]
        assert paths
        assert [path for path in paths if not self.exists(path)] == []
