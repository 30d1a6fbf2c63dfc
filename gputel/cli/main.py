"""The console script: its commands, and the exit codes of their errors."""

from __future__ import annotations

import gc
import io
import os
import sys
import traceback
import types
from importlib import import_module

import click

from gputel.cli.standard_streams import StandardOutput, use_safe_streams
from gputel.cli.terminal import echo, print_notice
from gputel.errors import GputelError, OutputFailed, ReaderGone
from gputel.masking import mask
from gputel.version import full_version

EXIT_INTERRUPTED = 130
VARIABLE = "_GPUTEL_COMPLETE"  # set by a shell that completes a command line

COMMANDS = {
    "run": "run:run_command",
    "ingest": "ingest.command:ingest_command",
    "query": "query.group:query",
    "scrape": "scrape.group:scrape",
    "simulate": "simulate:simulate_command",
    "queue": "queue.group:queue",
    "db": "db.group:db",
    "healthcheck": "healthcheck:healthcheck_command",
    "roles": "run:roles_command",
    "config": "run:config_command",
    "openapi": "openapi:openapi_command",
    "completion": "completion:completion_command",
}
"""The module and the function of each command; only that of the command that runs is imported."""


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        """Every name, in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """The command of a name."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        gc.disable()  # an import makes no garbage
        command: click.Command = getattr(import_module(f"gputel.cli.{module}"), attribute)
        gc.enable()
        return command


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        echo(f"gputel, version {full_version()}")
        context.exit()


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """GPU telemetry from DCGM to Postgres, through gputel's own message queue."""


def main() -> None:
    """Run the command line; an error of gputel is one line on stderr, without a traceback."""
    sys.excepthook = _print_traceback
    output = use_safe_streams()
    try:
        sys.exit(_code_of_all(output))
    finally:
        gc.freeze()  # the interpreter ends faster without a last garbage collection


def _code_of_all(output: StandardOutput) -> int:
    """Run the command; its exit code, which says so if its output could not be written."""
    try:
        code = _run()
        sys.stdout.flush()
    except ReaderGone:
        code = ReaderGone.exit_code
    except OutputFailed as error:
        code = _fail(error.message, error.exit_code)
    return OutputFailed.exit_code if output.failed else code


def _run() -> int:
    if VARIABLE in os.environ:
        from gputel.cli.completion_shells import use_safe_completion

        use_safe_completion()
    try:
        return cli(standalone_mode=False, complete_var=VARIABLE) or 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except click.ClickException as error:
        return _print_usage_error(error)
    except (click.Abort, KeyboardInterrupt):
        return _fail("stopped", EXIT_INTERRUPTED)
    except OutputFailed:
        raise
    except GputelError as error:
        return _fail(error.message, error.exit_code)


def _fail(message: str, code: int) -> int:
    print_notice(message)
    return code


def _print_usage_error(error: click.ClickException) -> int:
    """Print click's error about the arguments, with the usage."""
    text = io.StringIO()
    error.show(text)
    echo(mask(text.getvalue()), nl=False, err=True)
    return error.exit_code


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
) -> None:
    """Print the traceback of a bug in gputel, without secrets and control characters."""
    echo(mask("".join(traceback.format_exception(kind, error, trace))), nl=False, err=True)
