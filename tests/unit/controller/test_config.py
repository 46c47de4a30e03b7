"""Flags and variables of the controller."""

from __future__ import annotations

import pytest

from controller.config import OPTIONS, ConfigError, Tls, help_text, is_loopback, parse
from controller.quotas import Quotas
from proxy.routing.names import Endpoint


def faults(*argv: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(argv, {})
    return caught.value.faults


def test_defaults() -> None:
    settings = parse(["--source", "dir:/objects"], {})
    assert settings.folder == "/objects"
    assert settings.state_folder == "/objects/.pointsman"
    assert settings.listen == Endpoint("127.0.0.1", 16030)
    assert settings.quotas == Quotas()
    assert (settings.tokens_file, settings.tls, settings.audit_file) == (None, None, None)
    assert settings.drain_limit_s == 30
    assert (settings.services_file, settings.preview_domain, settings.istio_mode) == (None, None, "off")
    assert [str(network) for network in settings.destination_allow] == ["127.0.0.0/8", "::1/128"]


def test_everything() -> None:
    argv = "--source dir:/o --listen [::]:1 --state-dir /s --tokens-file t --tls-cert c --tls-key k --audit-log a"
    argv += " --quota-namespace 5 --quota-owner 6 --owner-label team --drain-limit 0.5"
    argv += " --services s.yaml --preview-domain P.example. --istio-mode router"
    argv += " --destination-allow 10.0.0.0/8 --destination-allow 192.0.2.1"
    settings = parse(argv.split(), {})
    assert settings.listen == Endpoint("::", 1)
    assert (settings.state_folder, settings.tokens_file, settings.audit_file) == ("/s", "t", "a")
    assert settings.tls == Tls("c", "k")
    assert settings.quotas == Quotas(5, 6, "team")
    assert settings.drain_limit_s == 0.5
    assert (settings.services_file, settings.preview_domain, settings.istio_mode) == ("s.yaml", "p.example", "router")
    assert [str(network) for network in settings.destination_allow] == ["10.0.0.0/8", "192.0.2.1/32"]


def test_nowhere_is_allowed_where_others_can_ask() -> None:
    assert parse(["--source", "dir:/o", "--listen", "0.0.0.0:1", "--tokens-file", "t"], {}).destination_allow == ()


def test_variables_and_all_faults_together() -> None:
    settings = parse([], {"POINTSMAN_SOURCE": "dir:/o", "POINTSMAN_PORT": "tcp://10.0.0.1:80"})
    assert settings.folder == "/o"
    found = faults("--listen", "10.0.0.1:1", "--tls-key", "k", "--owner-label", "a b", "--quota-owner", "0")
    assert len(found) == 5
    assert {fault.partition(":")[0].partition(" ")[0] for fault in found} == {
        "--source",
        "--listen",
        "--tls-key",
        "--owner-label",
        "--quota-owner",
    }


@pytest.mark.parametrize("source", ["", "dir:", "folder:/x", "/x", "kubernetes"])
def test_sources_that_are_none(source: str) -> None:
    assert faults("--source", source)[0].startswith("--source: ")


@pytest.mark.parametrize("domain", ["", ".", "a..b", "10.0.0.1", "a b", "a" * 63 + ".b" * 64])
def test_preview_domains_that_are_none(domain: str) -> None:
    assert faults("--source", "dir:/o", "--preview-domain", domain)[0].startswith("--preview-domain: ")


def test_istio_modes() -> None:
    for mode in ("off", "rules", "router"):
        settings = parse(["--source", "dir:/o", "--istio-mode", mode], {})
        assert (settings.istio_mode, settings.has_mesh) == (mode, mode != "off")
    assert faults("--source", "dir:/o", "--istio-mode", "on")[0].startswith("--istio-mode: ")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST.")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "example", "::ffff:10.0.0.1")),
    ],
)
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_help_says_all() -> None:
    for option in OPTIONS:
        assert f"  {option.flag} " in help_text()
        assert option.variable in help_text()
