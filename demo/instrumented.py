"""How a service is started: by its framework's own command, under `opentelemetry-instrument`, as a user would do it.
gRPC has no such command, so a gRPC service is a program of its own.

That command patches the frameworks before the service's code is imported. Nothing is exported; all that is wanted are
the propagators, which pass `baggage`, `traceparent` and `tracestate` from a request to the requests made for it.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Final

from demo.ports import HOST
from demo.topology import Framework, Service

_INSTRUMENT: Final = str(Path(sysconfig.get_path("scripts"), "opentelemetry-instrument"))
_ENVIRON: Final = {
    "OTEL_PROPAGATORS": "tracecontext,baggage",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}
# All that demo/requirements.txt installs; grpc's package holds four.
_INSTRUMENTATIONS: Final = frozenset(
    {"fastapi", "flask", "grpc_aio_client", "grpc_aio_server", "grpc_client", "grpc_server", "httpx", "requests"}
)


def command(service: Service, port: int) -> list[str]:
    module = f"demo.services.{service.name}"
    match service.framework:
        case Framework.FASTAPI:
            server = ["uvicorn", f"{module}:app", "--host", HOST, "--port", str(port), "--log-level", "warning"]
        case Framework.FLASK:
            server = ["flask", "--app", module, "run", "--host", HOST, "--port", str(port)]
        case Framework.GRPC:
            server = [module]  # reads PORT
    return [_INSTRUMENT, sys.executable, "-m", *server]


def environ(service: Service) -> dict[str, str]:
    """OpenTelemetry's settings.

    Instrumentations of what the service does not use are off: each imports its framework, half a second of CPU. Images
    in a cluster would not have them installed.
    """
    unused = _INSTRUMENTATIONS.difference(service.instrumented)
    return _ENVIRON | {
        "OTEL_SERVICE_NAME": service.name,
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(sorted(unused)),
    }
