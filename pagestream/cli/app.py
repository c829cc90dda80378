"""The console script: puts the commands together, and turns every error into one line."""

import os
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Final

import typer
import typer.main

from pagestream.cli import (
    demo,
    local,
    overview,
    plan,
    preparing,
    roles,
    sink,
    sites,
    walking,
    watching,
)
from pagestream.cli.arguments import StateDirectory
from pagestream.cli.invocation import Invocation
from pagestream.cli.screen import complain
from runtime.errors import PagestreamError, Stop

_UNAVAILABLE: Final = 69
_INTERNAL: Final = 70
_INTERRUPTED: Final = 130

_EXIT_CODES: Final = (
    "**Exit codes**: 0 done · 1 refused, or a walk failed · 2 wrong usage · "
    "65 copies differ · 69 a server does not answer · 70 a mistake in pagestream · "
    "75 another process is in the way · 78 a setting, topic or schema is not as it must be · "
    "130 interrupted"
)

_HELP_OPTIONS: Final = ["-h", "--help"]

app: Final = typer.Typer(
    name="pagestream",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": _HELP_OPTIONS},
)

for commands in (demo, local, preparing, sites, plan, walking, overview, roles, watching, sink):
    commands.register(app)


def _release() -> str:
    try:
        return version("pagestream")
    except PackageNotFoundError:  # run from a source tree
        return "from source"


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it
    if wanted:
        sys.stdout.write(f"pagestream {_release()}\n")
        raise typer.Exit


@app.callback()
def pagestream(
    context: typer.Context,
    *,
    state_dir: StateDirectory = None,
    version: Annotated[  # noqa: ARG001 - the callback answers it
        bool,
        typer.Option(
            "--version", metavar="", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Keep PostgreSQL a faithful copy of Datasette sites, through Kafka.

    New here? `pagestream demo` shows the whole of it in a minute.
    """
    context.obj = Invocation(state_directory=state_dir)


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; every expected error becomes one line."""
    try:
        code = _command_line()(arguments, prog_name="pagestream", standalone_mode=False)
        sys.stdout.flush()
    except PagestreamError as error:
        return _report(error)
    except typer.TyperException as error:
        if error.format_message():
            complain(_usage(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read this, `head` perhaps, has seen enough; the interpreter must not try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001 - the last resort, with all that a report needs
        traceback.print_exc()
        complain("this is a mistake in pagestream: please report it with the lines above")
        return _INTERNAL
    if code == _INTERRUPTED:
        complain("interrupted")
    return code if isinstance(code, int) else 0


def _command_line() -> Any:
    """Return the whole command line; in its help `--help` is a flag that takes no value."""
    command = typer.main.get_command(app)
    waiting: list[Any] = [command]
    while waiting:
        each = waiting.pop()
        context = typer.Context(each, help_option_names=_HELP_OPTIONS)
        each.get_help_option(context).metavar = ""
        waiting += getattr(each, "commands", {}).values()
    return command


def _report(error: PagestreamError) -> int:
    if isinstance(error, Stop):
        complain(str(error))
        return error.exit_code
    complain(f"{error} — it may pass: try again")
    return _UNAVAILABLE


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = "pagestream" if context is None else context.command_path
    return f"{error.format_message()} — see `{command} --help`"
