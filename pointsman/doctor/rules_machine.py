"""What is the matter with a machine before a proxy starts there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pointsman.doctor.facts import AddressFacts, CaptureFacts, FileFacts, FilesLimit
from pointsman.doctor.findings import Finding, fine, problem, unknown, warning

_MESHES: Final = ((15000, 15099, "Istio"), (4140, 4191, "Linkerd"))
MACHINE: Final = "machine"


def of_addresses(addresses: Sequence[AddressFacts]) -> Iterator[Finding]:
    for facts in addresses:
        for low, high, mesh in _MESHES:
            if low <= facts.port <= high:
                yield warning(
                    "mesh ports",
                    MACHINE,
                    f"{facts.flag} {facts.address} is one of the ports {low}-{high} that {mesh} uses",
                    "choose another port: Pointsman's own are 16000-16099",
                )
        if facts.error:
            holder = f"; {facts.holder} listens there" if facts.holder else ""
            yield problem(
                "addresses",
                MACHINE,
                f"{facts.flag} {facts.address} can't be listened on: {facts.error}{holder}",
                "end who holds the port or choose another" if facts.holder else "choose an address of this machine",
            )
        else:
            yield fine("addresses", MACHINE, f"{facts.flag} {facts.address} can be listened on")


def of_files_limit(facts: FilesLimit) -> Iterator[Finding]:
    if facts.fits < facts.wanted:
        yield warning(
            "open files",
            MACHINE,
            f"the hard limit of open files is {facts.hard}, so {facts.fits} connections fit instead of"
            f" --max-connections {facts.wanted}",
            "raise the hard limit (ulimit -Hn, LimitNOFILE=) or lower --max-connections",
        )
    else:
        yield fine("open files", MACHINE, f"{facts.wanted} connections fit into the hard limit of open files")


def of_files(files: Sequence[FileFacts]) -> Iterator[Finding]:
    for facts in files:
        for fault in facts.faults:
            yield problem(
                "files", MACHINE, f"{facts.flag} {facts.path}: {fault}", "correct the file, or who may read or write it"
            )
        if not facts.faults:
            yield fine("files", MACHINE, f"{facts.flag} {facts.path}: {facts.says or 'can be used'}")


def of_capture(rules: Sequence[CaptureFacts], listens: Sequence[int]) -> Iterator[Finding]:
    """With --transparent. `listens`: the proxy's ports."""
    todo = (
        f"run manifests/capture/capture.sh apply --ports ... --to {listens[0] if listens else 16006} in this namespace"
    )
    for facts in rules:
        if facts.error:
            yield unknown(
                "capture",
                MACHINE,
                f"the rules of {facts.command} can't be read: {facts.error}",
                "run the doctor as root (CAP_NET_ADMIN) in the pod's network namespace"
                if facts.may_not
                else f"see `{facts.command} -t nat -S` by hand",
            )
        elif not facts.has_chain:
            yield problem("capture", MACHINE, f"{facts.command} has no chain POINTSMAN_IN: nothing is captured", todo)
        elif not facts.is_led_to:
            yield problem("capture", MACHINE, f"{facts.command}: PREROUTING does not lead to POINTSMAN_IN", todo)
        elif not set(facts.to_ports) & set(listens):
            ports = ", ".join(map(str, facts.to_ports)) or "nowhere"
            yield problem(
                "capture",
                MACHINE,
                f"{facts.command} redirects to {ports}, and the proxy listens on {', '.join(map(str, listens))}",
                todo,
            )
        else:
            yield fine("capture", MACHINE, f"{facts.command} leads connections to port {facts.to_ports[0]}")
