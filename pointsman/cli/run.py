"""From a command line to its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from pointsman.cli.command import Command, Line, help_text, read_line
from pointsman.cli.console import Console
from pointsman.cli.exits import FINE, INTERRUPTED, INVALID, OTHER, Failure, code_of
from pointsman.cli.flags import CONTROLLER, CONTROLLER_CA, DEFAULT_NAMESPACE, JSON, NAMESPACE, OUTPUT, TOKEN_FILE
from pointsman.cli.objects import KINDS
from pointsman.client import ApiError, Client, ClientError
from proxy.options import Values, asks_for_help


@dataclass(frozen=True, slots=True)
class Call:
    """What a command works with."""

    line: Line
    client: Client
    console: Console

    @property
    def values(self) -> Values:
        return self.line.values

    @property
    def kind(self) -> str:
        """Of the objects that the command is about."""
        return KINDS[self.line.command.words[0]]

    @property
    def namespace(self) -> str:
        return self.values.optional(NAMESPACE) or DEFAULT_NAMESPACE

    @property
    def is_namespace_said(self) -> bool:
        """On the command line, not only by the variable."""
        return bool(self.values.present(NAMESPACE)) and self.values.origin(NAMESPACE) == NAMESPACE.flag


def run(command: Command, argv: Sequence[str]) -> int:
    """Does what the command line says; the result is the exit code."""
    if asks_for_help(argv):
        sys.stdout.write(help_text(command))
        return FINE
    line, faults = read_line(command, argv, os.environ)
    is_json = "json" in line.values.present(OUTPUT) or True in line.values.present(JSON)
    console = Console(sys.stdout, sys.stderr, is_json=is_json)
    try:
        if faults:
            raise Failure(INVALID, faults=tuple(faults))
        if command.is_local:
            return _local_runner(command)(line, console)
        with connected(line.values) as client:
            return _runner(command)(Call(line, client, console))
    except Failure as failure:
        texts = failure.faults or (str(failure),)
        _tell(console, command, texts)
        console.document({"error": {"title": texts[0], "faults": list(failure.faults)}, "exitCode": failure.code})
        return failure.code
    except ClientError as error:
        code = code_of(error)
        tell_error(console, command, error)
        console.document({"error": error_document(error), "exitCode": code})
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read has left: nothing more to say
        return OTHER
    except KeyboardInterrupt:
        console.say("interrupted")
        return INTERRUPTED


def connected(values: Values) -> Client:
    return Client(
        values.one(CONTROLLER),
        token_file=values.optional(TOKEN_FILE),
        ca_file=values.optional(CONTROLLER_CA),
    )


def tell_error(console: Console, command: Command, error: ClientError) -> None:
    if isinstance(error, ApiError) and len(error.faults) > 1:
        _tell(console, command, error.faults)
    else:
        _tell(console, command, (str(error),))


def error_document(error: ClientError) -> dict[str, object]:
    """As programs get it."""
    if not isinstance(error, ApiError):
        return {"title": str(error), "faults": []}
    return {
        "type": error.type,
        "status": error.status,
        "title": error.title,
        "detail": error.detail,
        "faults": list(error.faults),
    }


def _tell(console: Console, command: Command, texts: Sequence[str]) -> None:
    for text in texts:
        console.say(f"pointsman {command.name}: {text}")


def _runner(command: Command) -> Callable[[Call], int]:
    return cast("Callable[[Call], int]", _function(command))


def _local_runner(command: Command) -> Callable[[Line, Console], int]:
    return cast("Callable[[Line, Console], int]", _function(command))


def _function(command: Command) -> object:
    module, _, function = command.run.partition(":")
    return getattr(import_module(f"pointsman.cli.{module}"), function)
