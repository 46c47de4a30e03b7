"""`pointsman doctor`: from a command line to findings and an exit code."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pointsman.adminclient import AdminClient, BadTokenFile
from pointsman.cli.console import Console
from pointsman.cli.exits import INTERRUPTED, INVALID
from pointsman.cli.flags import CONTROLLER, CONTROLLER_CA, TIMEOUT, TOKEN_FILE, timeout
from pointsman.doctor import findings as saying
from pointsman.doctor.asking import admin_address
from pointsman.doctor.findings import Finding
from proxy.options import Option, Values, asks_for_help, choice, help_rows, plain, read_options

_DEFAULT_ADMIN: Final = "http://127.0.0.1:16020"
BEFORE: Final = "--before"


def _output(text: str) -> str:
    # The variable POINTSMAN_OUTPUT is also of commands that print tables.
    return choice("text", "json")("text" if text == "table" else text)


def _url(text: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"must be http://HOST[:PORT][/PATH], is {text!r}")
    return text


ADMIN: Final = Option(
    "admin",
    "URL|HOST:PORT",
    admin_address,
    "admin address of a running proxy to look at",
    default_text=f"{_DEFAULT_ADMIN}, if neither it, --controller nor --send is given",
    repeatable=True,
)
ADMIN_TOKEN_FILE: Final = Option(
    "admin-token-file", "FILE", plain, "holds the token that the admin pages ask for", default_text="none"
)
CONTROLLERS: Final = replace(
    CONTROLLER, text="a controller to look at", default=None, default_text="none", repeatable=True
)
SEND: Final = Option(
    "send",
    "URL",
    _url,
    "send a marked request there, and say at which hop the mark was lost, by the records of all --admin",
    default_text="none",
)
INTERVAL: Final = Option(
    "interval", "DURATION", timeout, "how long to watch counters, to tell what happens now from what has", default="1s"
)
OUTPUT: Final = Option(
    "output", "text|json", _output, "what stdout gets: lines for people, or one JSON document", default="text"
)
OPTIONS: Final[tuple[Option[object], ...]] = (
    ADMIN,
    ADMIN_TOKEN_FILE,
    CONTROLLERS,
    TOKEN_FILE,
    CONTROLLER_CA,
    SEND,
    replace(TIMEOUT, text="how long the marked request may take", default="10s", why=""),
    INTERVAL,
    OUTPUT,
)
_HELP: Final = """\
usage: pointsman doctor [--admin URL]... [--controller URL]... [options]    of what runs
       pointsman doctor --send URL --admin URL...                            where a routing key is lost
       pointsman doctor [--output json] --before ARGS...                     of this machine, before
                                                                             `pointsman proxy ARGS...` starts

Says what is wrong and what to do about it. `unknown` is what could not be seen.

{options}

Exit codes:
  0  healthy (warnings are none the less told)
  1  can't tell: something could not be seen, and nothing is wrong with the rest
  2  bad arguments, also of those behind --before
  3  not healthy
"""


def main(argv: Sequence[str]) -> int:
    argv, proxys = _split(argv)
    if asks_for_help(argv):
        sys.stdout.write(_HELP.format(options=help_rows(OPTIONS)))
        return 0
    values, faults = read_options(OPTIONS, argv, os.environ)
    console = Console(sys.stdout, sys.stderr, is_json="json" in values.present(OUTPUT))
    settings = None
    if proxys is not None:
        from proxy.config import ConfigError, parse

        try:
            settings = parse(proxys, os.environ)
        except ConfigError as error:
            faults += error.faults
    if faults:
        return _refuse(console, faults)
    try:
        if settings is not None:
            from pointsman.doctor.before import findings_before

            found = findings_before(settings)
        else:
            found = _of_what_runs(values, console)
    except BadTokenFile as error:
        return _refuse(console, [f"{values.origin(ADMIN_TOKEN_FILE)}: {error}"])
    except KeyboardInterrupt:
        console.say("interrupted")
        return INTERRUPTED
    console.result(saying.text(found))
    console.document(saying.document(found))
    return saying.exit_code(found)


def _refuse(console: Console, faults: Sequence[str]) -> int:
    for fault in faults:
        console.say(f"pointsman doctor: {fault}")
    console.document({"error": {"title": faults[0], "faults": list(faults)}, "exitCode": INVALID})
    return INVALID


def _split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """The doctor's own arguments, and the proxy's behind `--before`."""
    words = list(argv)
    if BEFORE not in words:
        return words, None
    at = words.index(BEFORE)
    rest = words[at + 1 :]
    return words[:at], rest[1:] if rest[:1] == ["--"] else rest


def _of_what_runs(values: Values, console: Console) -> list[Finding]:
    admins = [url for url in values.present(ADMIN) if url != "off"]
    controllers, send = values.present(CONTROLLERS), values.optional(SEND)
    if not admins and not controllers and send is None:
        admins = [_DEFAULT_ADMIN]
    pages = [AdminClient(url, values.optional(ADMIN_TOKEN_FILE)) for url in admins]
    found: list[Finding] = []
    if pages:
        found += _of_proxies(pages, values.one(INTERVAL))
    for url in controllers:
        from pointsman.doctor.gather_controller import look_at
        from pointsman.doctor.rules_controller import of_controller

        found += of_controller(look_at(url, values.optional(TOKEN_FILE), values.optional(CONTROLLER_CA)))
    if send is not None:
        from pointsman.doctor.gather_probe import send_through
        from pointsman.doctor.rules_probe import of_probe

        found += of_probe(send_through(send, pages, values.one(TIMEOUT)))
    return found


def _of_proxies(pages: Sequence[AdminClient], interval_s: float) -> list[Finding]:
    from pointsman.doctor.gather_proxy import baselines_of, first_look, names_of, second_look
    from pointsman.doctor.rules_common import of_baseline, of_names
    from pointsman.doctor.rules_proxy import of_proxy

    looks = [(each, first_look(each), time.monotonic()) for each in pages]
    found: list[Finding] = []
    for each, facts, started_s in looks:
        facts = second_look(each, facts, started_s, interval_s)
        found += of_proxy(facts)
        if facts.unreachable or facts.state is None:
            continue
        subject = f"proxy {facts.address}"
        if not facts.is_here:
            found.append(
                saying.note(
                    "baseline",
                    subject,
                    "it runs on another machine, so its baseline and names were not tried; run the doctor there",
                )
            )
            continue
        for baseline in baselines_of(facts):
            found += of_baseline(subject, baseline)
        found += of_names(subject, names_of(facts))
    return found
