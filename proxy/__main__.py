"""`python -m proxy`: wiring only. Settings, table, listeners, signals, drain."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial

from proxy import errors
from proxy.config import ConfigError, ListenerSettings, Settings, asks_for_help, help_text, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the proxy until it is asked to stop. Exit codes: SPEC 6."""
    arguments = sys.argv[1:] if argv is None else argv
    if asks_for_help(arguments):
        sys.stdout.write(help_text())
        return 0
    try:
        settings = parse(arguments, os.environ)
    except ConfigError as error:
        return _refuse(error.faults)

    import uvloop

    from proxy.heap import keep_buffers

    keep_buffers()
    logging.basicConfig(format="pointsman proxy: %(message)s", level=logging.INFO, stream=sys.stderr)
    return uvloop.run(_run(settings))


def _refuse(faults: Sequence[str]) -> int:
    for fault in faults:
        sys.stderr.write(f"pointsman proxy: {fault}\n")
    return 2


async def _run(settings: Settings) -> int:
    from proxy.admin import Admin
    from proxy.codec.fields import request_kinds, response_kinds
    from proxy.codec.h1.reader import HeadLimits
    from proxy.exchange import Port
    from proxy.net.addresses import DestinationPolicy
    from proxy.net.background import spawn
    from proxy.net.connections import Connections
    from proxy.net.downstream import H1Downstream
    from proxy.net.http_server import PageConnection
    from proxy.net.listener import ListenError, bound, listen
    from proxy.net.pool import Network, Pool
    from proxy.net.resolver import Resolver
    from proxy.routing.decision import Decider
    from proxy.routing.key import KeyReader
    from proxy.routing.wire import TableError
    from proxy.tablefile import TableFile
    from proxy.tables import TableHolder
    from proxy.telemetry.exposition import Exposition
    from proxy.telemetry.metrics import Metrics

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    tables = TableHolder(settings.workload, source=settings.table_file)
    table_file = TableFile(settings.table_file, tables)
    try:
        await table_file.load()
    except TableError as error:
        return _refuse([f"{settings.origins.table_file} {settings.table_file}: {fault}" for fault in error.faults])

    metrics = Metrics()
    baselines = frozenset(listener.baseline for listener in settings.listeners)
    destinations = DestinationPolicy(baselines, settings.destination_allow)
    network = Network(
        Resolver(settings.dns_servers).look_up,
        destinations.is_refused,
        lambda endpoint: settings.upstream_source if endpoint in baselines else None,
    )
    limits = HeadLimits(settings.limits.max_head_bytes, settings.limits.max_fields)
    pool = Pool(
        response_kinds(errors.UPSTREAM_INVALID, replace_decision=settings.decision_header),
        limits,
        settings.timeouts,
        metrics,
        network,
    )
    kinds = request_kinds(errors.BAD_REQUEST, settings.keys.headers)
    connections = Connections(kinds, limits, settings.limits.max_connections, settings.timeouts, pool, metrics)
    reader = KeyReader(settings.keys)
    decider = Decider(settings.workload, settings.policy)

    def port_of(listener: ListenerSettings) -> Port:
        return Port(
            number=listener.workload_port,
            baseline=(listener.baseline,),
            hop_line=b"pointsman-hop: %b" % str(settings.workload).encode(),
            reader=reader,
            decider=decider,
            tables=tables,
            pool=pool,
            metrics=metrics,
            failure_to_baseline=settings.sandbox_failure_to_baseline,
            decision_field=settings.decision_header,
            appends_forwarded=settings.appends_forwarded,
        )

    def table_swapped() -> None:
        table = tables.current
        if table is not None:
            metrics.table_swapped({route.sandbox for route in table.routes})
            pool.keep_only(baselines, tables.endpoints())
            connections.table_swapped(settings.drain.timeout_s)

    tables.on_swap(table_swapped)

    admin = Admin(
        tables=tables,
        exposition=Exposition(metrics, tables.metrics_state),
        keys=settings.keys,
        reader=reader,
        decider=decider,
        ports=tuple(listener.workload_port for listener in settings.listeners),
        why_not_ready=lambda: "draining" if stop.is_set() else None,
        start_drain=stop.set,
    )
    servers: list[asyncio.Server] = []
    announcements: list[str] = []  # none if anything is wrong
    faults: list[str] = []
    for listener in settings.listeners:
        try:
            server = await listen(listener.listen, partial(H1Downstream, port_of(listener), connections))
        except ListenError as error:
            faults.append(f"{settings.origins.listen}: {error}")
            continue
        servers.append(server)
        destinations.add_own(bound(server))
        announcements += [f"listening on {host}:{port} for {listener.baseline}" for host, port in bound(server)]
    if settings.admin is not None:
        try:
            server = await listen(
                settings.admin, partial(PageConnection, admin.answer, request_kinds(errors.BAD_REQUEST))
            )
        except ListenError as error:
            faults.append(f"{settings.origins.admin}: {error}")
        else:
            destinations.add_own(bound(server))
            announcements += [f"admin on {host}:{port}" for host, port in bound(server)]
    if faults:
        return _refuse(faults)
    sys.stderr.writelines(f"pointsman proxy: {announcement}\n" for announcement in announcements)
    sys.stderr.flush()
    spawn(connections.run_clock(), "clock")
    spawn(table_file.watch(), "table file")
    spawn(tables.run_expiry(), "gone keys")

    await stop.wait()
    await asyncio.sleep(settings.drain.delay_s)
    for server in servers:
        server.close()
    is_clean = await connections.drain(settings.drain.timeout_s)
    pool.close()
    if not is_clean:
        sys.stderr.write("pointsman proxy: the drain's time limit passed, connections were cut\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
