"""`pointsman explain`: where a request would go, and each step that led there: by a table file (`--table`), by the
table that a controller has now (`--controller`), or by a running proxy (`--proxy`).

With `--workload` it is decided as in that workload's sidecar, without it as in a router, by the field Host.

The same code decides as in the proxy, so a proxy with this table answers the same at `/explain`, save for what only it
remembers: keys and routes that left its earlier tables.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from pointsman.adminclient import AdminClient, BadTokenFile, admin_url
from pointsman.cli.flags import CONTROLLER, HEADER, PORT
from pointsman.client import Unreachable
from proxy import flags
from proxy.config import key_settings, name_faults, policy
from proxy.explaining import explain_at
from proxy.options import Option, Values, asks_for_help, help_rows, read_options, switch
from proxy.places import PREVIEWS, PlaceIndex, router_place
from proxy.routing.decision import UNKNOWN_HOST_DECISION, Decider, Policy
from proxy.routing.explain import Explanation, explain, routing_inputs
from proxy.routing.faults import TableError
from proxy.routing.key import KeyReader
from proxy.routing.names import Workload
from proxy.routing.table import RoutingTable
from proxy.routing.text import parse_text
from proxy.routing.wire import read_document

_NAMED: Final = 5  # workloads in a hint
_JSON: Final = Option("json", "", switch, "print JSON", default="off")
_OPTIONS: Final[tuple[Option[object], ...]] = (
    replace(flags.TABLE, text="routing table, YAML or JSON", required=True),
    replace(
        flags.WORKLOAD,
        text="workload whose sidecar the request reaches; without it a router decides, by a header Host",
        default_text="by Host",
    ),
    PORT,
    HEADER,
    _JSON,
    flags.KEY_NAME,
    flags.KEY_HEADER,
    flags.UNKNOWN_KEY,
    flags.GONE_KEY,
)
_PROXY: Final = Option(
    "proxy", "URL", admin_url, "admin address of the proxy that is asked, e.g. http://127.0.0.1:16020", required=True
)
_PROXY_OPTIONS: Final[tuple[Option[object], ...]] = (
    _PROXY,
    replace(flags.ADMIN_TOKEN_FILE, text="file with the token that the proxy's admin pages ask for"),
    PORT,
    HEADER,
    _JSON,
)


def main(argv: Sequence[str]) -> int:
    """Prints the explanation; the exit code is 2 if the arguments or the table are bad, 1 if whoever was asked does not
    say."""
    if _is_given(_PROXY, argv):
        return _ask_proxy(argv)
    if asks_controller(argv, os.environ):
        from pointsman.cli.commands import EXPLAIN
        from pointsman.cli.run import run

        return run(EXPLAIN, argv)
    if asks_for_help(argv):
        sys.stdout.write(_help_text())
        return 0
    values, faults = read_options(_OPTIONS, argv, os.environ)
    faults += name_faults(values)
    if not values.all(flags.WORKLOAD):
        faults += _router_faults(values)
    if not faults:
        try:
            table = _read_table(values.one(flags.TABLE))
        except TableError as error:
            faults = [f"--table {values.one(flags.TABLE)}: {fault}" for fault in error.faults]
    if faults:
        return _refuse(faults, 2)
    explanation = _explanation(values, table)
    workload = values.optional(flags.WORKLOAD)
    if workload is not None and workload not in table.routes_of:
        others = ", ".join(sorted(map(str, table.routes_of))[:_NAMED]) or "none"
        sys.stderr.write(f"pointsman explain: no route in this table is for {workload} (it has routes for: {others})\n")
    if values.one(_JSON):
        sys.stdout.write(json.dumps(explanation.to_dict(), indent=2) + "\n")
    else:
        sys.stdout.write(explanation.to_text())
    return 0


def _ask_proxy(argv: Sequence[str]) -> int:
    if asks_for_help(argv):
        sys.stdout.write(_proxy_help_text())
        return 0
    values, faults = read_options(_PROXY_OPTIONS, argv, os.environ)
    if faults:
        return _refuse(faults, 2)
    lines = ["GET / HTTP/1.1"]
    lines += [b": ".join(field).decode("utf-8", "surrogateescape") for field in values.present(HEADER)]
    head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("utf-8", "surrogateescape")
    query = [("port", str(port)) for port in values.present(PORT)]
    if not values.one(_JSON):
        query.append(("format", "text"))
    client = AdminClient(values.one(_PROXY), values.optional(flags.ADMIN_TOKEN_FILE))
    try:
        page = client.ask("POST", f"/explain?{urlencode(query)}", head)
    except BadTokenFile as error:
        return _refuse([f"{values.origin(flags.ADMIN_TOKEN_FILE)}: {error}"], 2)
    except Unreachable as error:
        return _refuse([str(error)], 1)
    text = page.body.decode("utf-8", "replace")
    if page.status != 200:
        return _refuse([f"{client.url} says {page.status}: {text.strip()}"], 1)
    sys.stdout.write(text)
    return 0


def _refuse(faults: Sequence[str], code: int) -> int:
    for fault in faults:
        sys.stderr.write(f"pointsman explain: {fault}\n")
    return code


def _is_given(option: Option[object], argv: Sequence[str]) -> bool:
    return option.flag in {word.partition("=")[0] for word in argv}


def asks_controller(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether the controller is meant: by flag, or by its variable where no table is named."""
    if _is_given(CONTROLLER, argv):
        return True
    return (
        bool(environ.get(CONTROLLER.variable))
        and not _is_given(flags.TABLE, argv)
        and not environ.get(flags.TABLE.variable)
    )


def _explanation(values: Values, table: RoutingTable) -> Explanation:
    reader = KeyReader(key_settings(values))
    fields = values.present(HEADER)
    workload = values.optional(flags.WORKLOAD)
    if workload is None:
        host = _host(values) or b""
        index = _index(table, policy(values))
        return explain_at(index.find(host) or UNKNOWN_HOST_DECISION, fields, reader, host, index.previews)
    ports = values.present(PORT)
    return explain(
        routing_inputs(fields, reader.settings),
        reader=reader,
        decider=Decider(workload, policy(values)),
        table=table,
        view=table.view(workload),
        port=ports[0] if ports else _first_port(table, workload),
    )


def _index(table: RoutingTable, policy: Policy) -> PlaceIndex:
    """The hosts that a router with this table has."""
    index = PlaceIndex()
    for service in table.services:
        index.add(service, router_place(service, policy, table.view(service.baseline)))
    index.add_previews(table.previews, table.view(PREVIEWS))
    return index


def _host(values: Values) -> bytes | None:
    return next((value for name, value in values.present(HEADER) if name.lower() in (b"host", b":authority")), None)


def _router_faults(values: Values) -> list[str]:
    faults = []
    if _host(values) is None:
        faults.append(f"{flags.WORKLOAD.flag} or {HEADER.flag} 'Host: ...' is required: whose request it is")
    if values.all(PORT):
        faults.append(f"{values.origin(PORT)}: needs {flags.WORKLOAD.flag}; a router tells the port from the Host")
    return faults


def _first_port(table: RoutingTable, workload: Workload) -> int:
    routes = table.routes_of.get(workload, {}).values()
    return next((mapping.port for route in routes for mapping in route.mappings), 80)


def _read_table(path: str) -> RoutingTable:
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise TableError([f"can't be read: {error.strerror}"]) from None
    return read_document(parse_text(raw))


def _help_text() -> str:
    return (
        "usage: pointsman explain --table FILE --workload NS/KIND/NAME [--header 'baggage: sd-routing-key=...']...\n"
        "       pointsman explain --table FILE --header 'Host: ...' [--header ...]...    (as a router)\n"
        "       pointsman explain --controller URL --workload ... (--controller URL --help tells more)\n"
        "       pointsman explain --proxy URL [--admin-token-file FILE] [--header ...]...    (--proxy URL --help)\n"
        "\n"
        "Says where a request would go by this table, and why. Exit codes: 0 said, 2 bad arguments or table.\n"
        "\n"
        f"{help_rows(_OPTIONS)}\n"
    )


def _proxy_help_text() -> str:
    return (
        "usage: pointsman explain --proxy URL [--admin-token-file FILE] [--header 'baggage: sd-routing-key=...']...\n"
        "\n"
        "Asks a running proxy where a request would go, and why.\n"
        "Exit codes: 0 said, 2 bad arguments, 1 it did not say.\n"
        "\n"
        f"{help_rows(_PROXY_OPTIONS)}\n"
    )
