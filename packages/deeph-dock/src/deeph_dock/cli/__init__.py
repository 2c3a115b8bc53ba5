"""The command `dock`: one file for each subcommand, which parses, calls and prints.

Whatever goes wrong ends here: input that cannot be used, and what the system refuses, give one line
and exit code 1; a command line that cannot be understood gives 2, Ctrl-C 130. ``--debug`` anywhere
on the command line shows the traceback.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from deeph_spec.errors import InputError

from deeph_dock.cli.band import band
from deeph_dock.cli.check import check
from deeph_dock.cli.compute_overlap import compute_overlap
from deeph_dock.cli.convert import convert
from deeph_dock.cli.export import export
from deeph_dock.cli.generate import generators
from deeph_dock.cli.run import engines
from deeph_dock.cli.split import split
from deeph_dock.cli.standardize import standardize

_INTERRUPTED = 130
app = typer.Typer(
    name="dock",
    help="From DFT codes to the DeepH format, and from Hamiltonians to physics.",
    epilog="dock COMMAND --help explains a command. Add --debug to any command to see where an "
    "error came from.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (convert, check, compute_overlap, split, standardize, export, band):
    app.command(context_settings={"help_option_names": ["-h", "--help"]})(command)
app.add_typer(engines)
app.add_typer(generators)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"deeph-dock {version('deeph-dock')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """From DFT codes to the DeepH format, and from Hamiltonians to physics."""


def main() -> None:
    """Run `dock` with the arguments of the process, and exit."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    sys.exit(run(arguments, debug=len(arguments) < len(sys.argv) - 1))


def run(arguments: list[str], debug: bool = False) -> int:
    """Run `dock`.

    Parameters
    ----------
    arguments : list of str
        Without the name of the command.
    debug : bool
        Let exceptions pass instead of printing one line.

    Returns
    -------
    int
        Exit code.
    """
    try:
        code = app(arguments, prog_name="dock", standalone_mode=False)
        if code == _INTERRUPTED:  # newer versions of typer give the code, older ones raise
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`dock check | head`): nobody to tell.
        sys.stderr.close()
        return 1
    except Exception as error:
        if (
            type(error).__name__ == "NoArgsIsHelpError"
        ):  # nothing was asked: its message is the help
            print(error)
            return 2
        if _is_usage(error):
            print(f"error: {_usage(error)}", file=sys.stderr)
            return 2
        if debug:
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 1


def _is_usage(error: Exception) -> bool:
    """Whether an exception is about the command line itself."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _usage(error: Any) -> str:
    """Say in one line what is wrong with the command line."""
    message = " ".join(str(error.format_message()).split())
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "dock"
    return f"{message} (see {command} --help)"


def _one_line(error: Exception) -> str:
    """Say what went wrong in one line."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        from deeph_dock.conversion import describe

        return describe(error)
    text = " ".join(str(error).split())
    return f"internal error: {type(error).__name__}: {text} (run again with --debug to see where)"
