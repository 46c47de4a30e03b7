from __future__ import annotations

import pytest

from proxy.config import ConfigError, PortSettings, SidecarSettings, help_text, options_markdown, parse
from proxy.flags import OPTIONS
from proxy.options import read_options
from proxy.routing.names import Endpoint, Workload

GOOD = {
    "--listen": "127.0.0.1:16006",
    "--baseline": "127.0.0.1:8081",
    "--workload": "hotrod/Deployment/location",
    "--table": "table.yaml",
}


def argv(*more: str, without: str = "") -> list[str]:
    return [word for flag, value in GOOD.items() if flag != without for word in (flag, value)] + list(more)


def faults(arguments: list[str], environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse(arguments, environ or {})
    return raised.value.faults


class TestDefaults:
    def test_only_what_is_required(self) -> None:
        settings = parse(argv(), {})
        assert settings.listens == (Endpoint("127.0.0.1", 16006),)
        workload = Workload("hotrod", "Deployment", "location")
        assert settings.sidecar == SidecarSettings(workload, (PortSettings(Endpoint("127.0.0.1", 8081), number=8081),))
        assert settings.table_file == "table.yaml"
        assert settings.admin == Endpoint("127.0.0.1", 16020)
        assert settings.keys.names == (b"sd-routing-key", b"sd-sandbox")
        assert settings.keys.headers == ()
        assert not settings.policy.unknown_key_rejects
        assert settings.policy.gone_key_rejects
        assert not settings.sandbox_failure_to_baseline
        assert not settings.decision_header
        assert (settings.drain.delay_s, settings.drain.timeout_s) == (0.0, 30.0)
        assert settings.limits.max_head_bytes == 60 * 1024
        assert settings.limits.max_fields == 100

    def test_every_default_is_one_that_could_be_given(self) -> None:
        values, wrong = read_options(OPTIONS, [], {})
        assert [fault for fault in wrong if "is required" not in fault] == []
        for option in OPTIONS:
            assert None not in values.all(option) or option.name == "admin"

    def test_every_default_has_its_reason(self) -> None:
        assert [option.flag for option in OPTIONS if option.default is not None and not option.why] == []


class TestFlags:
    def test_several_ports(self) -> None:
        settings = parse(
            argv("--listen", "[::1]:0", "--baseline=[::1]:9090", "--workload-port=80", "--workload-port", "90"), {}
        )
        assert settings.listens == (Endpoint("127.0.0.1", 16006), Endpoint("::1", 0))
        assert settings.sidecar is not None
        assert settings.sidecar.ports == (
            PortSettings(Endpoint("127.0.0.1", 8081), 80),
            PortSettings(Endpoint("::1", 9090), 90),
        )

    def test_policy_and_keys(self) -> None:
        settings = parse(
            argv(
                *("--unknown-key", "reject", "--gone-key", "baseline", "--on-sandbox-failure", "baseline"),
                *("--key-name", "b", "--key-name", "a", "--key-header", "OT-Baggage-Key", "--decision-header"),
            ),
            {},
        )
        assert settings.policy.unknown_key_rejects
        assert not settings.policy.gone_key_rejects
        assert settings.sandbox_failure_to_baseline
        assert settings.decision_header
        assert settings.keys.names == (b"b", b"a")
        assert settings.keys.headers == (b"ot-baggage-key",)

    def test_numbers(self) -> None:
        settings = parse(argv("--drain-timeout", "0.5", "--response-timeout=0", "--max-connections", "7"), {})
        assert settings.drain.timeout_s == 0.5
        assert settings.timeouts.response_timeout_s == 0
        assert settings.limits.max_connections == 7

    def test_admin_off(self) -> None:
        assert parse(argv("--admin", "off"), {}).admin is None

    def test_a_switch_takes_no_word_that_follows(self) -> None:
        assert faults(argv("--decision-header", "true")) == ["unexpected argument 'true'"]
        assert not parse(argv("--decision-header=false"), {}).decision_header


class TestEnvironment:
    def test_everything_by_variable(self) -> None:
        settings = parse(
            [],
            {
                "POINTSMAN_LISTEN": "127.0.0.1:1, 127.0.0.1:2",
                "POINTSMAN_BASELINE": "127.0.0.1:3,127.0.0.1:4",
                "POINTSMAN_WORKLOAD": "a/b/c",
                "POINTSMAN_TABLE": "t,able.yaml",
                "POINTSMAN_KEY_NAME": "x,y",
                "POINTSMAN_DECISION_HEADER": "1",
            },
        )
        assert settings.sidecar is not None
        assert [port.number for port in settings.sidecar.ports] == [3, 4]
        assert settings.table_file == "t,able.yaml"
        assert settings.keys.names == (b"x", b"y")
        assert settings.decision_header

    def test_a_flag_beats_its_variable_even_a_faulty_one(self) -> None:
        environ = {"POINTSMAN_DRAIN_TIMEOUT": "soon", "POINTSMAN_KEY_NAME": "x,y"}
        settings = parse(argv("--drain-timeout", "1", "--key-name", "z"), environ)
        assert settings.drain.timeout_s == 1.0
        assert settings.keys.names == (b"z",)

    @pytest.mark.parametrize("text", ["", "tcp://10.0.0.1:80"])
    def test_what_kubernetes_injects_counts_as_unset(self, text: str) -> None:
        settings = parse(argv(), {"POINTSMAN_WORKLOAD_PORT": text, "POINTSMAN_PORT": text, "POINTSMAN_ADMIN": text})
        assert settings.sidecar is not None
        assert settings.sidecar.ports[0].number == 8081
        assert settings.admin is not None

    def test_a_fault_names_the_variable(self) -> None:
        assert faults(argv(), {"POINTSMAN_DRAIN_TIMEOUT": "soon"}) == [
            "POINTSMAN_DRAIN_TIMEOUT: must be a number of seconds, at least 0, is 'soon'"
        ]


class TestFaults:
    @pytest.mark.parametrize(
        ("words", "fault"),
        [
            (["--lisen", "x"], "unknown flag '--lisen' (did you mean --listen?)"),
            (["--drain-time", "1"], "unknown flag '--drain-time' (did you mean --drain-timeout?)"),  # no abbreviations
            (["--frobnicate=1"], "unknown flag '--frobnicate'"),
            (["-x"], "unknown flag '-x'"),
            (["stray"], "unexpected argument 'stray'"),
            (["--drain-delay"], "--drain-delay: needs a value, SECONDS"),
            (["--table", "b"], "--table: given 2 times, may be given once"),
            (["--workload-port", "70000"], "--workload-port: must be in 1-65535, is 70000"),
            (["--workload-port", "0"], "--workload-port: must be in 1-65535, is 0"),
            (["--workload-port", "8_0"], "--workload-port: must be a whole number in 1-65535, is '8_0'"),
            (["--workload-port", "٣"], "--workload-port: must be a whole number in 1-65535, is '٣'"),
            (
                ["--workload-port=80", "--workload-port=81"],
                "--workload-port: one for each --listen or none at all, are 2 for 1",
            ),
            (["--drain-delay", "-1"], "--drain-delay: must be a number of seconds, at least 0, is '-1'"),
            (["--drain-delay", "nan"], "--drain-delay: must be a number of seconds, at least 0, is 'nan'"),
            (["--drain-delay", "1e3"], "--drain-delay: must be a number of seconds, at least 0, is '1e3'"),
            (["--connect-timeout", "0"], "--connect-timeout: must be in 0.001-604800 seconds, is 0"),
            (["--drain-timeout", "30000000"], "--drain-timeout: must be in 0-604800 seconds, is 30000000"),
            (["--unknown-key", "drop"], "--unknown-key: must be baseline or reject, is 'drop'"),
            (["--decision-header=maybe"], "--decision-header: must be true or false, is 'maybe'"),
            (["--key-name", "a b"], "--key-name: must be a token (RFC 9110 section 5.6.2), is 'a b'"),
            (["--key-name", "sd-strict"], "--key-name: must not be sd-strict, which makes a request strict"),
            (["--key-name", "a", "--key-name", "a"], "--key-name: 'a' is given twice"),
            (["--key-header", "x", "--key-header", "X"], "--key-header: 'x' is given twice"),
            (["--admin", "127.0.0.1:16006"], "--admin: 127.0.0.1:16006 is also given as --listen"),
            (["--admin", "localhost:8081"], "--admin: localhost:8081 is also given as --baseline"),
        ],
    )
    def test_one_line(self, words: list[str], fault: str) -> None:
        assert faults(argv(*words)) == [fault]

    @pytest.mark.parametrize("name", ["Host", "connection", "Content-Length", "te", "baggage", "pointsman-hop"])
    def test_fields_that_are_no_key_headers(self, name: str) -> None:
        assert faults(argv("--key-header", name)) == [
            f"--key-header: must not be a field that has another meaning, is {name!r}"
        ]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "8080",
            ":8080",
            "host",
            "host:",
            "host:65536",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[host]:80",
            "a b:80",
            "127.1:80",
        ],
    )
    def test_what_is_no_address(self, text: str) -> None:
        [fault] = faults([*argv(without="--listen"), f"--listen={text}"])
        assert fault.startswith("--listen: ")

    def test_a_baseline_has_a_port(self) -> None:
        assert faults([*argv(without="--baseline"), "--baseline", "127.0.0.1:0"]) == [
            "--baseline: must be in 1-65535, is 0"
        ]

    @pytest.mark.parametrize("flag", list(GOOD))
    def test_a_missing_flag_is_named_with_its_variable(self, flag: str) -> None:
        variable = "POINTSMAN_" + flag[2:].upper()
        [fault] = faults(argv(without=flag))
        assert fault.startswith(f"{flag} (or {variable}) ")
        assert " is required: " in fault

    def test_all_faults_come_together(self) -> None:
        found = faults(
            ["--lisen", "x", "--baseline", "h:1", "--baseline", "h:0", "--admin", "0.0.0.0:1"],
            {"POINTSMAN_MAX_FIELDS": "0"},
        )
        assert [fault.partition(" ")[0] for fault in found] == [
            *("unknown", "--listen", "--baseline:", "POINTSMAN_MAX_FIELDS:", "--workload", "--table", "--admin:"),
        ]
        assert not any("\n" in fault for fault in found)

    def test_a_line_stays_a_line(self) -> None:
        assert not any("\n" in fault for fault in faults(argv("a\nb", "--x\ny", "--admin", "h:1\n", "--table", "a\nb")))


class TestAddressesThatMeet:
    @pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[::ffff:0.0.0.0]"])
    def test_a_baseline_that_no_connection_reaches(self, host: str) -> None:
        [fault] = faults(["--listen", "127.0.0.1:1", "--baseline", f"{host}:8081", *argv()[4:]])
        assert fault.startswith("--baseline: ")
        assert fault.endswith(":8081 can be listened on, not connected to")

    @pytest.mark.parametrize(
        ("listen", "baseline"),
        [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "LOCALHOST.:80"),
            ("[::1]:80", "localhost:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("0.0.0.0:80", "127.0.0.9:80"),
            ("[::]:80", "[::1]:80"),
            ("127.0.0.1:80", "0.0.0.0:80"),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80"),
            ("[0:0:0:0:0:0:0:1]:80", "[::1]:80"),
            ("app:80", "App.:80"),
        ],
    )
    def test_a_baseline_that_is_a_listener(self, listen: str, baseline: str) -> None:
        [fault] = faults(["--listen", listen, "--baseline", baseline, *argv()[4:]])
        assert fault.startswith("--baseline: ")
        assert fault.endswith("is where this proxy listens itself (--listen)")

    @pytest.mark.parametrize(
        ("listen", "baseline"),
        [
            ("127.0.0.1:80", "127.0.0.1:81"),
            ("127.0.0.1:80", "10.0.0.5:80"),
            ("10.0.0.5:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("127.0.0.1:80", "[::1]:80"),
            ("0.0.0.0:80", "app:80"),  # not known without resolving
        ],
    )
    def test_neighbours(self, listen: str, baseline: str) -> None:
        parse(["--listen", listen, "--baseline", baseline, *argv()[4:]], {})

    def test_the_same_listener_twice(self) -> None:
        again = ["--listen", "localhost:16006", "--baseline", "127.0.0.1:8082"]
        assert faults(argv(*again)) == ["--listen: localhost:16006 is listened on twice"]

    def test_port_0_is_never_the_same(self) -> None:
        zeros = ["--listen=127.0.0.1:0", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]
        parse([*argv(without="--listen"), *zeros, "--baseline=127.0.0.1:8082"], {})

    @pytest.mark.parametrize("admin", ["0.0.0.0:1", "[::]:1", "10.0.0.5:1", "host:1"])
    def test_admin_stays_on_loopback(self, admin: str) -> None:
        [fault] = faults(argv("--admin", admin))
        assert fault.startswith(f"--admin: {admin} is not a loopback address")
        assert "needs --admin-token-file" in fault
        assert parse(argv("--admin", admin, "--admin-token-file", "tokens"), {}).admin_token_file == "tokens"

    @pytest.mark.parametrize("admin", ["127.0.0.9:1", "[::1]:1", "localhost:0"])
    def test_loopback_forms(self, admin: str) -> None:
        assert str(parse(argv("--admin", admin), {}).admin) == admin

    @pytest.mark.parametrize("health", ["0.0.0.0:1", "[::]:1", "10.0.0.5:1", "127.0.0.1:0"])
    def test_health_may_be_anywhere(self, health: str) -> None:
        assert str(parse(argv("--health-listen", health), {}).health_listen) == health

    @pytest.mark.parametrize(
        ("health", "other"),
        [("0.0.0.0:16006", "--listen"), ("127.0.0.1:8081", "--baseline"), ("0.0.0.0:16020", "--admin")],
    )
    def test_health_where_something_else_is(self, health: str, other: str) -> None:
        assert faults(argv("--health-listen", health)) == [f"--health-listen: {health} is also given as {other}"]


class TestPreviews:
    ROUTER = ("--mode", "router", "--listen", "127.0.0.1:1", "--table", "t")

    def test_closed_by_default(self) -> None:
        previews = parse(self.ROUTER, {}).previews
        assert (previews.is_auth_required, previews.auth_header, previews.token_file) == (True, None, None)
        assert (previews.session_s, previews.scheme) == (43200, "http")

    def test_everything(self) -> None:
        words = ["--preview-auth-header", "X-User", "--preview-auth-from", "10.0.0.0/8", "--preview-auth-from", "::1"]
        words += ["--preview-session", "60", "--preview-scheme", "https", "--preview-auth", "off"]
        previews = parse([*self.ROUTER, *words], {"POINTSMAN_PREVIEW_TOKEN_FILE": "tokens"}).previews
        assert (previews.is_auth_required, previews.auth_header) == (False, b"x-user")
        assert list(map(str, previews.auth_from)) == ["10.0.0.0/8", "::1/128"]
        assert (previews.token_file, previews.token_file_origin) == ("tokens", "POINTSMAN_PREVIEW_TOKEN_FILE")
        assert (previews.session_s, previews.scheme) == (60, "https")

    @pytest.mark.parametrize(
        ("words", "fault"),
        [
            (["--preview-auth-header", "x-user"], "--preview-auth-header: needs --preview-auth-from"),
            (["--preview-auth-from", "::1"], "--preview-auth-from: needs --preview-auth-header"),
            (["--preview-auth", "no"], "--preview-auth: must be required or off, is 'no'"),
            (["--preview-session", "0"], "--preview-session: must be in 1-604800 seconds, is 0"),
            (
                ["--preview-auth-header", "x-k", "--preview-auth-from", "::1", "--key-header", "x-k"],
                "--preview-auth-header: 'x-k' is also given as --key-header",
            ),
        ],
    )
    def test_faults(self, words: list[str], fault: str) -> None:
        assert faults([*self.ROUTER, *words]) == [fault]

    @pytest.mark.parametrize("name", ["Authorization", "cookie", "Host", "te", "baggage", "pointsman-hop"])
    def test_fields_that_say_something_else(self, name: str) -> None:
        (fault,) = faults([*self.ROUTER, "--preview-auth-header", name, "--preview-auth-from", "::1"])
        assert fault.startswith("--preview-auth-header: must not be a field that ")

    def test_a_sidecar_has_none(self) -> None:
        assert faults(argv("--preview-token-file", "t")) == ["--preview-token-file: needs --mode router"]


class TestRouter:
    ROUTER = ("--mode", "router", "--listen", "127.0.0.1:16006", "--table", "table.yaml")

    def test_only_what_is_required(self) -> None:
        settings = parse(self.ROUTER, {})
        assert settings.sidecar is None
        assert settings.listens == (Endpoint("127.0.0.1", 16006),)
        assert settings.identity_from == ()

    def test_by_variables(self) -> None:
        environ = {"POINTSMAN_MODE": "router", "POINTSMAN_LISTEN": "127.0.0.1:1,127.0.0.1:2", "POINTSMAN_TABLE": "t"}
        assert parse([], environ).listens == (Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2))

    def test_identity(self) -> None:
        networks = parse([*self.ROUTER, "--identity-from", "127.0.0.6", "--identity-from=fd00::/8"], {}).identity_from
        assert list(map(str, networks)) == ["127.0.0.6/32", "fd00::/8"]

    @pytest.mark.parametrize(
        "words", [("--baseline", "127.0.0.1:1"), ("--workload", "a/b/c"), ("--workload-port", "80")]
    )
    def test_what_the_table_tells(self, words: tuple[str, str]) -> None:
        fault = f"{words[0]}: makes no sense in a router, whose table tells it (services)"
        assert faults([*self.ROUTER, *words]) == [fault]

    def test_what_only_a_router_takes(self) -> None:
        fault = "--identity-from: makes no sense in a sidecar, which asks nobody's identity"
        assert faults(argv("--identity-from", "127.0.0.6")) == [fault]

    def test_another_mode(self) -> None:
        assert faults(argv("--mode", "gateway")) == ["--mode: must be sidecar or router, is 'gateway'"]


class TestTransparent:
    BARE = ("--transparent", "--listen", "0.0.0.0:16006", "--workload", "a/b/c", "--table", "table.yaml")

    def test_without_baselines(self) -> None:
        settings = parse([*self.BARE, "--listen", "[::]:16006"], {})
        assert settings.sidecar == SidecarSettings(Workload("a", "b", "c"), (), 0.1)
        assert len(settings.listens) == 2

    def test_named_baselines(self) -> None:
        """Any number, whatever the number of listeners."""
        words = ("--baseline", "127.0.0.1:9000", "--baseline=localhost:8082")
        settings = parse([*self.BARE, *words, "--detect-timeout", "0.5"], {})
        named = (PortSettings(Endpoint("127.0.0.1", 9000), 9000), PortSettings(Endpoint("localhost", 8082), 8082))
        assert settings.sidecar == SidecarSettings(Workload("a", "b", "c"), named, 0.5)
        settings = parse([*self.BARE, *words, "--workload-port=8081", "--workload-port=8082"], {})
        assert settings.sidecar is not None
        assert [port.number for port in settings.sidecar.ports] == [8081, 8082]

    def test_switched_off(self) -> None:
        settings = parse(argv("--transparent=false"), {})
        assert settings.sidecar is not None
        assert settings.sidecar.detect_timeout_s is None

    @pytest.mark.parametrize(
        ("words", "fault"),
        [
            (
                ["--workload-port", "80"],
                "--workload-port: with --transparent one for each --baseline or none at all, are 1 for 0",
            ),
            (["--baseline", "a:1", "--baseline", "b:1"], "--baseline: port 1 is named twice"),
            (
                ["--baseline=a:1", "--baseline=b:2", "--workload-port=80", "--workload-port=80"],
                "--workload-port: port 80 is named twice",
            ),
            (["--baseline", "127.0.0.1:16006"], "--baseline: 127.0.0.1:16006 is where this proxy listens itself"),
            (["--detect-timeout", "0"], "--detect-timeout: must be in 0.001-60 seconds, is 0"),
        ],
    )
    def test_faults(self, words: list[str], fault: str) -> None:
        assert [each.removesuffix(" (--listen)") for each in faults([*self.BARE, *words])] == [fault]

    def test_a_router_is_not(self) -> None:
        fault = "--transparent: makes no sense in a router, which is called by its address"
        assert faults([*TestRouter.ROUTER, "--transparent"]) == [fault]


class TestShown:
    def test_help_names_every_flag_variable_and_default(self) -> None:
        words = help_text()
        for option in OPTIONS:
            assert f"  {option.flag}" in words
            assert option.variable in words
            assert option.default is None or f"default {option.default}" in words

    def test_markdown_has_a_row_of_four_cells_for_each(self) -> None:
        lines = options_markdown().splitlines()
        assert len(lines) == len(OPTIONS) + 2
        assert {line.replace("\\|", "").count("|") for line in lines} == {5}
