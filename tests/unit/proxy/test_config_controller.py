"""The flags of a proxy whose table comes from a controller."""

from __future__ import annotations

import pytest

from proxy.config import parse
from tests.unit.proxy.test_config import GOOD, argv, faults

URL = "http://10.0.0.1:16030"


def controlled(*more: str) -> list[str]:
    return argv("--controller", URL, *more, without="--table")


def test_either_a_file_or_a_controller() -> None:
    settings = parse(controlled(), {})
    assert settings.table_file is None
    assert settings.controller is not None
    assert settings.controller.url == URL
    assert settings.controller.sync_timeout_s == 10.0
    assert (settings.controller.token_file, settings.controller.ca_file, settings.controller.state_dir) == (None,) * 3
    assert parse(argv(), {}).controller is None
    assert faults(argv("--controller", URL)) == ["--table: can't be given with --controller"]
    assert faults(argv(), {"POINTSMAN_CONTROLLER": URL}) == ["--table: can't be given with POINTSMAN_CONTROLLER"]
    [fault] = faults(argv(without="--table"))
    assert fault.startswith("--table (or POINTSMAN_TABLE) or --controller (or POINTSMAN_CONTROLLER) is required")


def test_all_of_it() -> None:
    files = ("--token-file", "t", "--controller-ca", "ca", "--state-dir", "s", "--sync-timeout", "0")
    settings = parse(argv("--controller", "https://c", *files, without="--table"), {}).controller
    assert settings is not None
    assert (settings.url, settings.token_file, settings.ca_file) == ("https://c:443", "t", "ca")
    assert (settings.state_dir, settings.sync_timeout_s) == ("s", 0.0)


@pytest.mark.parametrize("option", ["--token-file", "--controller-ca", "--state-dir"])
def test_what_makes_no_sense_without_a_controller(option: str) -> None:
    assert faults(argv(option, "x")) == [f"{option}: needs --controller"]


def test_an_authority_without_tls() -> None:
    assert faults(controlled("--controller-ca", "x")) == ["--controller-ca: needs a --controller with https"]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://c", "http://c:80"),
        ("https://c.example/", "https://c.example:443"),
        ("https://c:1/some/where/", "https://c:1/some/where"),
        ("http://[::1]:5", "http://[::1]:5"),
        ("http://[::1]", "http://[::1]:80"),
    ],
)
def test_urls(text: str, url: str) -> None:
    settings = parse(argv("--controller", text, without="--table"), {}).controller
    assert settings is not None
    assert settings.url == url


@pytest.mark.parametrize(
    "text",
    [
        *("c:80", "ws://c:80", "http://", "http://:80", "http://c/?a=b", "http://c/#a", "http://c:0", "http://c:x"),
        *("http://c/ b", "http://::1", "file:///x"),
    ],
)
def test_what_is_no_url(text: str) -> None:
    [fault] = faults(argv("--controller", text, without="--table"))
    assert fault.startswith("--controller: ")


@pytest.mark.parametrize("text", ["http://user:secret@c", "https://secret@c:1"])
def test_credentials_in_a_url_are_refused_and_not_shown(text: str) -> None:
    assert faults(argv("--controller", text, without="--table")) == [
        "--controller: must hold no credentials (--token-file)"
    ]


def test_what_the_process_is_called() -> None:
    def name(environ: dict[str, str], listen: str = GOOD["--listen"]) -> str:
        arguments = argv("--controller", URL, without="--table")
        arguments[arguments.index("--listen") + 1] = listen
        controller = parse(arguments, environ).controller
        assert controller is not None
        return controller.proxy_id

    assert name({"POD_NAME": "location-1"}) == "location-1"
    assert name({}).endswith("/127.0.0.1:16006")
    assert name({}) == name({})
    assert "/pid-" in name({}, "127.0.0.1:0")
    assert len(name({"POD_NAME": "x" * 1000})) == 253
