"""The command `versori-flow`: its subcommands, together, and how it ends."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..version import __version__
from .demo import demo
from .diff import diff
from .doctor import doctor
from .flows import delete, export, list_
from .gateway import gateway
from .push import push
from .run import run
from .serve import serve
from .show import show
from .store import store
from .tail import tail
from .terminal import examples, let_go, prepare, say

_STATUSES = """\b
Exit status:
  0    done; for `serve` and `gateway` also when they are told to end
  1    it can't be done, or something is wrong: one line says what
  2    the command is not written as it should be, or something is not installed
  126  `run`: the program can't be run
  127  `run`: there is no such program
  130  ended by Ctrl-C
`run` otherwise ends with its program's own status, 128 + n where signal n ended it."""

app = typer.Typer(
    name="versori-flow",
    help="Traces of Python programs as Versori flows.",
    epilog=f"{_STATUSES}\n\n"
    + examples(
        "versori-flow run -- python app.py      # trace a program",
        "versori-flow show shop                 # its flow, as trees",
        "versori-flow doctor                    # what is wrong, and the one thing to change",
        "versori-flow --install-completion      # for the shell in use",
    ),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # What goes wrong is said in a line; a traceback with local variables could show a key.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"versori-flow {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command(
    context_settings={"allow_interspersed_args": False},
    epilog=examples(
        "versori-flow run -- python app.py",
        "versori-flow run --service-name shop --open -- gunicorn shop:app",
    ),
)(run)
app.command(
    epilog=examples(
        "versori-flow serve --data ./flows",
        "versori-flow serve -v --fault status=503,share=0.3 --fault drip,flow=shop",
    )
)(serve)
app.command(epilog=examples("versori-flow show shop", "versori-flow show shop --traces 1 --json | jq ."))(
    show
)
app.command(epilog=examples("versori-flow tail", "versori-flow tail shop --json | jq .trace_id"))(tail)
app.command(
    epilog=examples(
        "versori-flow diff shop                 # its two newest traces",
        "versori-flow diff shop --trace 4a1f --trace 93c0",
        "versori-flow diff shop shop-canary     # two flows",
    )
)(diff)
app.command(epilog=examples("versori-flow demo --open", "versori-flow demo --once --orders 100"))(demo)
app.command("list", epilog=examples("versori-flow list", "versori-flow list --json | jq '.[].name'"))(list_)
app.command(epilog=examples("versori-flow delete shop", "versori-flow delete shop --yes"))(delete)
app.command(
    epilog=examples(
        "versori-flow export shop > shop.json", "versori-flow export shop --format otlp -o shop.otlp.json"
    )
)(export)
app.command(epilog=examples("versori-flow doctor", "versori-flow doctor --write --json"))(doctor)
app.command(epilog=examples("versori-flow gateway --port 4318"))(gateway)
app.command(epilog=examples("versori-flow push spans.json"))(push)
app.add_typer(store, name="store")


def run_command() -> int:
    """Runs what the command line says, and returns the exit status; what a user can mend is one line."""
    prepare()
    try:
        return _run()
    finally:
        let_go()


def _run() -> int:
    try:
        status = app(prog_name="versori-flow", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        return 1
    except typer.Abort as aborted:
        if isinstance(aborted.__cause__, KeyboardInterrupt):
            return 130
        say("it was not answered, so nothing was done")
        return 1
    except OSError as error:
        say(f"{error.filename or 'standard output'}: {error.strerror or error}")
        return 1
    except Exception as error:
        # Typer brings Click along under names of its own, which change.
        written = getattr(error, "format_message", None)
        if written is None:
            raise
        return _misuse(error, written())
    return status if isinstance(status, int) else 0


def _misuse(error: Exception, text: str) -> int:
    context = getattr(error, "ctx", None)
    if "\n" in text:  # the help, where nothing at all is asked for
        typer.echo(text, err=True)
    else:
        say(f"{text.rstrip('.')}" + (f" ({context.command_path} -h says more)" if context else ""))
    return int(getattr(error, "exit_code", 2))
