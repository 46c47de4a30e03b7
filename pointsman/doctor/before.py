"""The machine before a proxy starts there: all that can be seen by the proxy's own arguments."""

from __future__ import annotations

from pointsman.doctor import gather_machine as machine
from pointsman.doctor.findings import Finding
from pointsman.doctor.gather_controller import look_at
from pointsman.doctor.rules_common import of_baseline, of_names
from pointsman.doctor.rules_controller import of_reached
from pointsman.doctor.rules_machine import MACHINE, of_addresses, of_capture, of_files, of_files_limit
from proxy.config import Settings


def findings_before(settings: Settings) -> list[Finding]:
    found = list(of_addresses(machine.addresses(settings)))
    found += of_files_limit(machine.files_limit(settings))
    table_files, table = machine.table(settings)
    found += of_files([*table_files, *machine.files(settings)])
    for baseline in machine.baselines(settings):
        found += of_baseline(MACHINE, baseline)
    found += of_names(MACHINE, machine.names(settings, table))
    if settings.controller is not None:
        controller = settings.controller
        found += of_reached(look_at(controller.url, None, controller.ca_file, is_all=False))
    if settings.sidecar is not None and settings.sidecar.detect_timeout_s is not None:
        found += of_capture(machine.capture(), [listen.port for listen in settings.listens])
    return found
