"""`pointsman explain`: where a request would go, and each step that led there: by a table file (`--table`), or by the
table that a controller has now (`--controller`).

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

from pointsman.cli.flags import CONTROLLER, HEADER, PORT
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


def main(argv: Sequence[str]) -> int:
    """Prints the explanation; the exit code is 2 if the arguments or the table are bad."""
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
        for fault in faults:
            sys.stderr.write(f"pointsman explain: {fault}\n")
        return 2
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


def asks_controller(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether the controller is meant: by flag, or by its variable where no table is named."""
    given = {word.partition("=")[0] for word in argv}
    if CONTROLLER.flag in given:
        return True
    return (
        bool(environ.get(CONTROLLER.variable))
        and flags.TABLE.flag not in given
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
        "\n"
        "Says where a request would go by this table, and why. Exit codes: 0 said, 2 bad arguments or table.\n"
        "\n"
        f"{help_rows(_OPTIONS)}\n"
    )
