"""One error policy for every command: a line on standard error, an exit code, no traceback."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


def run(app: typer.Typer, arguments: Sequence[str], name: str) -> int:
    """Run a command line and turn every way it can end into an exit code.

    Parameters
    ----------
    app : typer.Typer
        The commands.
    arguments : sequence of str
        Without the program's name. ``--debug`` may stand anywhere.
    name : str
        The program's name, for help texts.

    Returns
    -------
    int
        0; 1 for input that cannot be used or a failure; 2 for a command line that cannot be
        understood; 130 after Ctrl-C.
    """
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = app(arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED, debug)
    except BrokenPipeError:
        # The reader of our output (head, less) has left; nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(_usage_message(error))
            return 2
        return _say(_line(error, name), 2 if _is_usage(error) else 1, debug)
    return code if isinstance(code, int) else 0


def _is_usage(error: Exception) -> bool:
    """Whether an exception is about the command line itself."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _usage_message(error: Any) -> str:
    """Return the message of an exception about the command line."""
    return str(error.format_message())


def _line(error: Exception, name: str) -> str:
    """Put an exception into one line."""
    from deeph_spec.errors import InputError

    if isinstance(error, InputError):
        return f"error: {error}"
    if _is_usage(error):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else name
        message = " ".join(_usage_message(error).split())
        return f"error: {message} (see {command} --help)"
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"error: {place}{error.strerror.lower()}"
    message = " ".join(str(error).split())
    return (
        f"internal error: {type(error).__name__}: {message} (run again with --debug to see where)"
    )


def _say(line: str, code: int, debug: bool) -> int:
    """Print the line, or the traceback when it is asked for."""
    if debug:
        traceback.print_exc()
    print(line, file=sys.stderr)
    return code
