"""Exit codes, and what ends with which. They are stable: scripts and agents act on them."""

from __future__ import annotations

from typing import Final

from pointsman.client import ApiError, ClientError

FINE: Final = 0
OTHER: Final = 1
INVALID: Final = 2
NOT_SO: Final = 3
UNKNOWN: Final = 4
CONFLICT: Final = 5
NOT_FOUND: Final = 6
NOT_ALLOWED: Final = 7
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count

TEXTS: Final = {
    FINE: "fine",
    OTHER: "anything else, e.g. the controller can't be reached",
    INVALID: "bad arguments, or an object that is refused",
    NOT_SO: "it is not so: not live everywhere or not gone in time, verify failed, or the mesh can't route as asked",
    UNKNOWN: "verify can't tell, since counts may have been lost",
    CONFLICT: "somebody else has changed it, or has its key, or it exists already",
    NOT_FOUND: "there is no such object",
    NOT_ALLOWED: "the token does not allow it, or a quota is reached",
    INTERRUPTED: "interrupted",
}

_BY_STATUS: Final = {
    400: INVALID,
    401: NOT_ALLOWED,
    403: NOT_ALLOWED,
    404: NOT_FOUND,
    409: CONFLICT,
    412: CONFLICT,
    413: INVALID,
    415: INVALID,
    422: INVALID,
}


class Failure(Exception):
    """A command ends here. `faults`: a line each, in place of the text."""

    def __init__(self, code: int, text: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(text or "; ".join(faults))
        self.code: Final = code
        self.faults: Final = faults


def code_of(error: ClientError) -> int:
    """The exit code of what a controller said, or didn't."""
    return _BY_STATUS.get(error.status, OTHER) if isinstance(error, ApiError) else OTHER


def help_lines() -> str:
    return "Exit codes:\n" + "\n".join(f"  {code}  {text}" for code, text in TEXTS.items())


def markdown_rows() -> str:
    """The codes as a Markdown table, for the README."""
    rows = "".join(f"| {code} | {text} |\n" for code, text in TEXTS.items())
    return "| exit code | of commands on objects |\n|---|---|\n" + rows
