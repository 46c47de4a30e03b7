"""`python -m proxy`: wiring only. Settings, table, listeners, signals, drain."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from proxy import errors
from proxy.config import ConfigError, Settings, asks_for_help, help_text, parse
from proxy.routing.names import Endpoint

if TYPE_CHECKING:
    from proxy.feed.source import Feed
    from proxy.modes import Mode
    from proxy.net.listener import Bound
    from proxy.places import Places
    from proxy.workers.member import Member


_log = logging.getLogger(__name__)


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
    if settings.workers > 1:
        from proxy.speaking import speak

        speak()
        return asyncio.run(_supervise(settings, arguments))
    return _serve(settings, None)


def work(spec: str, arguments: Sequence[str]) -> int:
    """Runs one of several workers, with the arguments that the supervisor was started with."""
    from proxy.workers.member import Member
    from proxy.workers.spec import Spec

    member = Member(Spec.read(spec))
    return _serve(member.settings(parse(arguments, os.environ)), member)


def _serve(settings: Settings, member: Member | None) -> int:
    import uvloop

    from proxy.heap import keep_buffers
    from proxy.speaking import speak

    keep_buffers()
    speak(f"worker {member.spec.worker}: " if member is not None else "")
    return uvloop.run(_run(settings, member))


async def _supervise(settings: Settings, arguments: Sequence[str]) -> int:
    from proxy.admintokens import admin_tokens
    from proxy.reloading import ReloadError
    from proxy.workers.supervisor import Supervisor

    try:
        tokens = admin_tokens(settings)
    except ReloadError as error:
        return _refuse([str(error)])
    bound, faults = await _bind(settings)
    if faults:
        return _refuse(faults)
    for sock in (sock for sockets in bound.traffic for sock in sockets):
        sock.set_inheritable(True)
    return await Supervisor(settings, arguments, bound, tokens).run()


async def _bind(settings: Settings) -> tuple[Bound, list[str]]:
    """The sockets, and what is wrong with their addresses."""
    from proxy.net.listener import Bound, ListenError, bind

    faults: list[str] = []

    async def bound(endpoint: Endpoint | None, origin: str) -> list[socket.socket]:
        try:
            return await bind(endpoint) if endpoint is not None else []
        except ListenError as error:
            faults.append(f"{origin}: {error}")
            return []

    origins = settings.origins
    traffic = [await bound(listen, origins.listen) for listen in settings.listens]
    admin = await bound(settings.admin, origins.admin)
    health = await bound(settings.health_listen, origins.health_listen)
    return Bound(traffic, admin, health), faults


def _refuse(faults: Sequence[str]) -> int:
    for fault in faults:
        sys.stderr.write(f"pointsman proxy: {fault}\n")
    return 2


def _mode(settings: Settings) -> tuple[Mode, Feed | None]:
    """What the proxy stands for, and what feeds it if no file does.

    Raises: ReloadError.
    """
    from proxy.modes import RouterMode, SidecarMode, TransparentMode
    from proxy.routertables import RouterTables
    from proxy.tables import TableHolder
    from proxy.telemetry.traffic import KeyTraffic, RouterTraffic

    sidecar, controller = settings.sidecar, settings.controller
    mode_of = SidecarMode if sidecar is None or sidecar.detect_timeout_s is None else TransparentMode
    if controller is None:
        assert settings.table_file is not None
        if sidecar is not None:
            return mode_of(sidecar, settings.policy, TableHolder(sidecar.workload, settings.table_file), None), None
        return RouterMode(RouterTables(settings.policy, settings.table_file), settings.previews, settings.keys), None

    from proxy.feed.source import Feed  # only here: a WebSocket library is 6 MB and 20 ms

    if sidecar is not None:
        holder, traffic = TableHolder(sidecar.workload, controller.url), KeyTraffic()
        feed = Feed(controller, [port.number for port in sidecar.ports], holder, traffic)
        return mode_of(sidecar, settings.policy, holder, traffic), feed
    counts = RouterTraffic()
    router = RouterTables(settings.policy, controller.url, traffic_of=counts.of)
    return RouterMode(router, settings.previews, settings.keys), Feed(controller, (), router, counts)


async def _run(settings: Settings, member: Member | None) -> int:
    from proxy.about import about
    from proxy.admin import Admin
    from proxy.adminpages import health
    from proxy.admintokens import admin_tokens
    from proxy.background import spawn
    from proxy.codec.fields import http2_request_kinds, http2_response_kinds, request_kinds, response_kinds
    from proxy.codec.h1.reader import HeadLimits
    from proxy.identity import Identities
    from proxy.net.addresses import DestinationPolicy
    from proxy.net.connections import Connections
    from proxy.net.descriptors import PAGE_SPARES, Room, Spares, descriptors
    from proxy.net.downstream import H1Downstream
    from proxy.net.http_server import PageConnections
    from proxy.net.listener import Bound, Listener, stop_all
    from proxy.net.pool import Network, Pool
    from proxy.net.resolver import Resolver
    from proxy.reloading import ReloadError
    from proxy.routing.key import KeyReader
    from proxy.routing.wire import TableError
    from proxy.sides import Port
    from proxy.tablefile import TableFile
    from proxy.telemetry.exposition import Exposition
    from proxy.telemetry.metrics import Metrics
    from proxy.telemetry.probes import Probes
    from proxy.telemetry.watch import Asked
    from proxy.watching import WatchError, Watching

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if member is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    else:
        await member.attach(stop)

    try:
        mode, feed = _mode(settings)
        tokens = admin_tokens(settings) if member is None else None
    except ReloadError as error:
        return _refuse([str(error)])
    tables = mode.tables
    if feed is not None:
        await feed.restore()
    else:
        assert settings.table_file is not None
        table_file = TableFile(settings.table_file, tables)
        try:
            await table_file.load()
        except TableError as refused:
            faults = [f"{settings.origins.table_file} {settings.table_file}: {fault}" for fault in refused.faults]
            return _refuse(faults)

    if member is not None:
        bound = Bound(member.listening, [], [])
    else:
        bound, faults = await _bind(settings)
        if faults:
            return _refuse(faults)

    metrics = Metrics()
    try:
        watching = Watching(settings, metrics)
    except WatchError as error:
        return _refuse([str(error)])
    if watching.has_file:
        loop.add_signal_handler(signal.SIGHUP, watching.reopen)
    destinations = DestinationPolicy(mode.own_baselines, settings.destination_allow, loopback=feed is None)
    network = Network(
        Resolver(settings.dns_servers).look_up,
        destinations.is_refused,
        lambda endpoint: settings.upstream_source if endpoint in mode.baselines else None,
    )
    pages = [each for each in (bound.admin, bound.health) if each]
    files = descriptors(len(pages))
    spares = [Spares(PAGE_SPARES) for _ in pages]
    room = Room(files, settings.limits.max_connections, spares, metrics)
    limits = HeadLimits(settings.limits.max_head_bytes, settings.limits.max_fields)
    metrics.max_downstream_connections = room.max_connections
    pool = Pool(
        response_kinds(errors.UPSTREAM_INVALID, replace_decision=settings.decision_header),
        http2_response_kinds(errors.UPSTREAM_INVALID, replace_decision=settings.decision_header),
        limits,
        settings.timeouts,
        metrics,
        network,
        member.siblings if member is not None else None,
    )
    connections = Connections(
        request_kinds(errors.BAD_REQUEST, settings.keys.headers),
        http2_request_kinds(errors.BAD_REQUEST, settings.keys.headers),
        limits,
        room.max_connections,
        settings.limits.max_streams,
        settings.timeouts,
        pool,
        metrics,
    )
    reader = KeyReader(settings.keys)
    identities = Identities(settings.identity_from)
    asked = Asked()

    def port_of(places: Places) -> Port:
        return Port(
            places=places,
            identities=identities,
            reader=reader,
            pool=pool,
            metrics=metrics,
            failure_to_baseline=settings.sandbox_failure_to_baseline,
            decision_field=settings.decision_header,
            appends_forwarded=settings.appends_forwarded,
            baseline_version=settings.baseline_version,
            gateway=mode.gateway,
            watch=watching.watch,
            asked=asked,
        )

    def keep_what_is_used() -> None:
        pool.keep_only(mode.baselines, tables.endpoints())

    def table_swapped() -> None:
        metrics.table_swapped(tables.sandboxes())
        keep_what_is_used()
        connections.table_swapped(settings.drain.timeout_s)

    tables.on_swap(table_swapped)

    admin = Admin(
        tables=tables,
        arrival=mode.arrival,
        by_host=mode.by_host,
        exposition=Exposition(metrics, tables.metrics_state, None if feed is None else feed.state),
        reader=reader,
        why_not_ready=lambda: "draining" if stop.is_set() else feed.why_not_ready() if feed is not None else None,
        start_drain=stop.set,
        previews=mode.previews,
        admin_tokens=tokens,
        about=about(settings),
        probes=Probes(asked, watching.watch),
    )

    announcements: list[str] = []
    if room.max_connections < settings.limits.max_connections:
        announcements.append(
            f"--max-connections {settings.limits.max_connections} is lowered to {room.max_connections}:"
            f" no more fit into {files.limit} open files (ulimit -Hn)"
        )
    captured: Callable[[], object] | None = None
    if mode.capture is not None and settings.sidecar is not None and settings.sidecar.detect_timeout_s is not None:
        from proxy.net.arrivals import Arrivals
        from proxy.net.captured import Captured

        detect_s = settings.sidecar.detect_timeout_s
        arrivals = Arrivals(
            mode.capture, port_of, destinations, connections, pool, metrics, detect_s, keep_what_is_used
        )
        captured = partial(Captured, arrivals, connections)
    turns = member.turns(lambda: metrics.downstream_connections) if member is not None else None
    listeners: list[Listener] = []
    for index, sockets in enumerate(bound.traffic):
        factory = captured or partial(H1Downstream, port_of(mode.places(index)), connections)
        listener = Listener(sockets, factory, room=room, turns=turns)
        spawn(listener.run(), "listener")
        listeners.append(listener)
        destinations.add_own(listener.addresses)
        announcements += [f"listening on {host}:{port} for {mode.title(index)}" for host, port in listener.addresses]
    page_listeners: list[Listener] = []
    for sockets, spare in zip(pages, spares, strict=True):
        what, answer = ("admin", admin.answer) if sockets is bound.admin else ("health", health(admin.page))
        protocols = PageConnections(answer, request_kinds(errors.BAD_REQUEST), spare.hold_soon)
        page_listener = Listener(sockets, protocols, spares=spare)
        page_listeners.append(page_listener)
        destinations.add_own(page_listener.addresses)
        announcements += [f"{what} on {host}:{port}" for host, port in page_listener.addresses]
    if member is None:
        sys.stderr.writelines(f"pointsman proxy: {announcement}\n" for announcement in announcements)
        sys.stderr.flush()
    else:
        destinations.add_own(member.spec.pages)
    spawn(connections.run_clock(), "clock")
    if feed is not None:
        feed.start()
    else:
        spawn(table_file.watch(), "table file")
    spawn(tables.run_expiry(), "gone keys")
    if mode.reloading is not None:
        spawn(mode.reloading.run(), "tokens of previews")
    if tokens is not None:
        spawn(tokens.reloading.run(), "tokens of the admin pages")
    if member is not None:
        member.serve(admin, announcements)

    await stop.wait()
    _log.info("asked to stop: %d connections may end what they do", len(connections))
    await (asyncio.sleep(settings.drain.delay_s) if member is None else member.delay(settings.drain.delay_s))
    limit_s = settings.drain.timeout_s
    began_s = loop.time()
    stopped = spawn(stop_all(listeners, limit_s), "stop")
    is_clean = await connections.drain(limit_s)  # which also makes room for those who wait to be accepted
    await stopped
    is_clean &= await connections.drain(began_s + limit_s - loop.time())
    if feed is not None:
        await feed.leave()
    for page_listener in page_listeners:
        page_listener.close()
    if member is not None:
        await member.leave()
    pool.close()
    watching.close()
    if not is_clean:
        _log.warning("the drain's time limit passed, connections were cut (--drain-timeout)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
