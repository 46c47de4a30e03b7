"""Starts and ends what is told of requests: the access log's file, the OpenTelemetry SDK. Neither is there unless asked
for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from proxy.config import Settings
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.watch import Watch

if TYPE_CHECKING:
    from proxy.telemetry.log_file import LogFile
    from proxy.telemetry.spans import Spans

# What is over is worth less than a proxy that leaves in time: Kubernetes kills 30 s after SIGTERM, `--drain-timeout`.
_LAST_S: Final = 2.0

_log = logging.getLogger(__name__)


class WatchError(Exception):
    """It can't be done as asked; the text names the option."""


class Watching:
    """`watch` is what listeners are given; None: nobody is told. Raises: WatchError."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._log_file: LogFile | None = None
        self._spans: Spans | None = None
        self.watch: Final = self._start(settings, metrics)

    def _start(self, settings: Settings, metrics: Metrics) -> Watch | None:
        log = trace = None
        access_log, exporters = settings.watch.access_log, settings.watch.span_exporters
        if exporters is not None:
            self._spans = _spans(exporters, settings.origins.traces)
            trace = self._spans.make
        if access_log is not None:
            from proxy.telemetry.access_log import AccessLog
            from proxy.telemetry.log_file import LogFile

            try:
                self._log_file = LogFile(access_log.file, metrics)
            except OSError as error:
                raise WatchError(f"{settings.origins.access_log_file}: {access_log.file}: {error.strerror}") from None
            log = AccessLog(self._log_file.lines, access_log.sample)
        return Watch(log, trace) if log is not None or trace is not None else None

    @property
    def has_file(self) -> bool:
        """Whether `reopen` means something."""
        return self._log_file is not None and self._log_file.path is not None

    def reopen(self) -> None:
        """The log's file was moved away."""
        if self._log_file is not None:
            self._log_file.reopen()

    def close(self) -> None:
        """Sends what waits. Nothing is told any more."""
        if self._log_file is not None:
            self._log_file.close(_LAST_S)
        if self._spans is not None and not self._spans.close(_LAST_S):
            _log.error("traces: the last spans could not be sent within %g s (OTEL_EXPORTER_OTLP_ENDPOINT)", _LAST_S)


def _spans(exporters: tuple[str, ...], origin: str) -> Spans:
    """Raises: WatchError."""
    try:
        from proxy.telemetry.spans import NoExporter, spans_by
    except ModuleNotFoundError as error:
        raise WatchError(f"{origin}: no {error.name} here (pip install 'pointsman[traces]')") from None
    try:
        return spans_by(exporters)
    except NoExporter as error:
        raise WatchError(
            f"{origin}: no exporter {error.args[0]!r} is installed (OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_PROTOCOL;"
            " pip install opentelemetry-exporter-otlp-proto-http or -grpc)"
        ) from None
