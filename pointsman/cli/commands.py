"""All commands that objects are about, one row each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pointsman.cli import flags
from pointsman.cli.command import Command
from proxy.options import Option

_NOTES: Final = {
    "apply": "A file may hold several documents of both kinds; they are applied in order, after all are checked.\n"
    "With --output json one object gives {object, routingKey, baggage, change, receipt}, several {items: [...]}.",
    "verify": "Passes if each changed workload answered from the sandbox and none from the baseline since then.",
    "wait": "Live is: every attached proxy knows the key, and each changed workload has a proxy, all of its proxies\n"
    "have acknowledged the route, and it has a destination.",
}


def _of_objects(word: str, what: str) -> Iterator[Command]:
    objects = flags.OBJECTS

    def command(verb: str, summary: str, run: str, *options: Option[object], argument: str = "NAME") -> Command:
        return Command((word, verb), summary, run, (*options, *objects), argument, notes=_NOTES.get(verb, ""))

    yield command(
        "apply",
        f"make or change {what} from files",
        "apply:apply",
        flags.FILE,
        flags.WAIT,
        flags.TIMEOUT,
        flags.DRY_RUN,
        flags.DIFF,
        argument="",
    )
    yield command("list", f"list {what}", "read:list_objects", flags.ALL_NAMESPACES, flags.SELECTOR, argument="")
    yield command("get", "show one, and what is wrong with it", "read:get")
    yield command(
        "delete",
        "delete one; its key gets 424 for an hour",
        "read:delete",
        flags.WAIT_GONE,
        flags.TIMEOUT,
        flags.DRY_RUN,
    )
    yield command("wait", "wait until one is live on every proxy", "read:wait", flags.TIMEOUT)
    yield command(
        "traffic", "show how many requests each workload answered, and from where", "traffic:traffic", flags.SINCE
    )
    yield command("verify", "fail if the baseline answered what a test sent", "traffic:verify", flags.SINCE_START)


EXPLAIN: Final = Command(
    ("explain",),
    "say where a request would go by the controller's table, and why",
    "explain:explain",
    (*flags.CONNECTION, flags.WORKLOAD, flags.PORT, flags.HEADER, flags.OUTPUT, flags.JSON),
    notes="With --table FILE in place of --controller, a table file is asked: `pointsman explain --help`.",
)
COMMANDS: Final[tuple[Command, ...]] = (
    *_of_objects("sandbox", "sandboxes"),
    *_of_objects("routegroup", "route groups"),
    Command(
        ("proxies",),
        "list the attached proxies, and whether they are up to date",
        "traffic:proxies",
        (*flags.CONNECTION, flags.OUTPUT),
    ),
    EXPLAIN,
    Command(
        ("istio", "render"),
        "write the VirtualServices, or the Gateway API's routes, that sandboxes ask for, from files",
        "istio:render",
        (
            flags.MESH_FILE,
            flags.API,
            flags.ISTIO_MODE,
            flags.ROUTER,
            flags.REGEX,
            flags.OWN,
            flags.KEY_NAME,
            flags.MANIFEST_DIFF,
            flags.REMOVE,
            flags.NAMESPACE,
            flags.ISTIO_VERSION,
            flags.MANIFEST_OUTPUT,
        ),
        notes="Writes what the controller would. With a cluster:\n"
        "  kubectl get virtualservices,services,deployments,namespaces -A -o yaml |\n"
        "    pointsman istio render -f - -f sandboxes/ | kubectl apply -f -\n"
        "What a sandbox can't get in the mesh is told on stderr, and the exit code is 3.",
        is_local=True,
    ),
)


def group_help(word: str) -> str:
    """What follows a word that is no command alone."""
    rows = [command for command in COMMANDS if command.words[0] == word]
    width = max(len(command.words[1]) for command in rows)
    lines = "\n".join(f"  {command.words[1].ljust(width)}  {command.summary}" for command in rows)
    return f"usage: pointsman {word} COMMAND ...\n\n{lines}\n\n`pointsman {word} COMMAND --help` tells more.\n"
