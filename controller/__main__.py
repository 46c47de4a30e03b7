"""`python -m controller`: wiring only. Settings, state, listener, store, engine, signals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, closing, suppress
from datetime import UTC, datetime
from typing import Any

from controller.config import ConfigError, Settings, asks_for_help, help_text, parse

_CLOSE_S = 5.0  # for answers under way, when we are asked to stop


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the controller until it is asked to stop. Exit codes: SPEC 6."""
    arguments = sys.argv[1:] if argv is None else argv
    if asks_for_help(arguments):
        sys.stdout.write(help_text())
        return 0
    try:
        settings = parse(arguments, os.environ)
    except ConfigError as error:
        return _refuse(error.faults)

    import uvloop

    logging.basicConfig(format="pointsman controller: %(message)s", level=logging.INFO, stream=sys.stderr)
    return uvloop.run(_run(settings))


def _refuse(faults: Sequence[str]) -> int:
    for fault in faults:
        sys.stderr.write(f"pointsman controller: {fault}\n")
    return 2


def _say(text: str) -> None:
    sys.stderr.write(f"pointsman controller: {text}\n")
    sys.stderr.flush()


def _clock() -> datetime:
    return datetime.now(UTC)


async def _run(settings: Settings) -> int:
    from aiohttp import web

    from controller.access import TokensFile
    from controller.allow import AllowList
    from controller.audit import Audit
    from controller.background import spawn
    from controller.collector import keep_out
    from controller.compile import Settings as CompileSettings
    from controller.dirstore import DirStore
    from controller.engine import Engine
    from controller.errors import Unwritable
    from controller.feed.hub import Hub
    from controller.feed.roll import Roll
    from controller.lifecycle import Lifecycle
    from controller.listening import ListenError, bind, lift_file_limit, url_of
    from controller.live.watch import Watch
    from controller.rest.app import PATIENCE, make_app
    from controller.rest.metrics import core_metrics, hub_metrics, live_metrics
    from controller.rest.pages import OPERATIONS
    from controller.rest.patience import KEEP_ALIVE_S
    from controller.rest.ruleswatch import RulesFeed
    from controller.rest.services import Services
    from controller.routersfile import RoutersFile
    from controller.state import StateError, open_state
    from controller.tls import Certificate
    from controller.writing import Writer
    from proxy.reloading import ReloadError, Reloading

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async with AsyncExitStack() as stack:
        faults: list[str] = []
        reloads: list[Reloading] = []
        tokens = TokensFile(settings.tokens_file) if settings.tokens_file is not None else None
        certificate = Certificate(*settings.tls) if settings.tls is not None else None
        routers = RoutersFile(settings.services_file, settings.preview_domain, settings.has_mesh)
        for what, paths, load in (
            ("--tokens-file", [settings.tokens_file or ""], tokens.load if tokens is not None else None),
            ("--services", [settings.services_file or ""], routers.load if settings.services_file else None),
            ("--tls-cert, --tls-key", settings.tls or (), certificate.load if certificate is not None else None),
        ):
            try:
                if load is not None:
                    reloads.append(Reloading(what, paths, load))
            except ReloadError as error:
                faults.append(str(error))
        if not os.path.isdir(settings.folder):
            faults.append(f"--source: there is no folder {settings.folder}")
        else:
            try:
                state = stack.enter_context(open_state(settings.state_folder))
            except StateError as error:
                faults.append(f"--state-dir: {error}")
        sockets = []
        try:
            sockets = await bind(settings.listen)
        except ListenError as error:
            faults.append(f"--listen: {error}")
        for listening in sockets:
            stack.enter_context(closing(listening))
        try:
            audit = Audit(settings.audit_file, _clock)
            stack.callback(audit.close)
        except OSError as error:
            faults.append(f"--audit-log: {settings.audit_file} can't be written: {error.strerror}")
        if faults:
            return _refuse(faults)
        lift_file_limit()

        store = DirStore(settings.folder, settings.state_folder, clock=_clock)
        allow = AllowList(map(str, settings.destination_allow))
        roll = Roll(state.proxies)
        hub = Hub(state.feed, _clock, roll)
        compile_settings = CompileSettings(allow, settings.preview_domain, routers.content)
        engine = Engine(store, state.keys, compile_settings, [hub.apply], clock=_clock)
        routers.on_change = engine.set_for_routers
        writer = Writer(store, settings.quotas, _clock)
        lifecycle = Lifecycle(store, engine, writer, hub, audit, settings.drain_limit_s, _clock)
        live = Watch(engine, hub, settings.quotas.owner_label, _clock)
        engine.on_settled.extend((lifecycle.hear, hub.hear, live.hear))
        rules = RulesFeed()
        engine.on_compiled.append(rules.hear)
        services = Services(
            store=store,
            engine=engine,
            hub=hub,
            writer=writer,
            audit=audit,
            rules=rules,
            live=live,
            metrics=[core_metrics(engine, store, audit, rules), hub_metrics(hub), live_metrics(live)],
            identify=tokens.identity if tokens is not None else None,
            clock=_clock,
        )
        app = make_app(services, OPERATIONS)

        async def close_streams(_: web.Application) -> None:
            rules.close()
            live.close()

        app.on_shutdown.append(close_streams)
        # It would log what it can't read, whole, and a token may be in there.
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=KEEP_ALIVE_S,
            shutdown_timeout=_CLOSE_S,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        patience = spawn(app[PATIENCE].run(lambda: runner.server.connections if runner.server else ()), "patience")
        stack.push_async_callback(_ended, patience)
        context = certificate.context if certificate is not None else None
        for listening in sockets:
            await web.SockSite(runner, listening, ssl_context=context).start()
            _say(f"listening on {url_of(listening, is_tls=context is not None)} for {settings.folder}")

        async def run() -> None:
            await store.start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(engine.run())
                tasks.create_task(lifecycle.run())
                tasks.create_task(roll.run())
                tasks.create_task(live.run())
                while engine.compilation is None:
                    await engine.until_compiled()
                keep_out()

        stack.push_async_callback(store.close)
        working = spawn(_until(stop, run()), "engine")
        stack.push_async_callback(_ended, working)
        for reload in reloads:
            stack.push_async_callback(_ended, spawn(reload.run(), "reload"))
        try:
            await working
        except (OSError, Unwritable) as error:
            return _refuse([f"--source: {error}"])
        return 0


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Does the work until it fails or we are asked to stop."""
    loop = asyncio.get_running_loop()
    working, stopping = loop.create_task(work), loop.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            await _ended(task)


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task


if __name__ == "__main__":
    sys.exit(main())
