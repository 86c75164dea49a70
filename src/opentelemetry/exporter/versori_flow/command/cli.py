"""The command `versori-flow`: its subcommands, together."""

from __future__ import annotations

from typing import Annotated

import typer

from ..version import __version__
from .doctor import doctor
from .gateway import gateway
from .push import push
from .run import run
from .serve import serve
from .show import show
from .store import store

app = typer.Typer(
    name="versori-flow",
    help="Traces of Python programs as Versori flows.",
    no_args_is_help=True,
    add_completion=False,
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


app.command(context_settings={"allow_interspersed_args": False})(run)
app.command()(serve)
app.command()(show)
app.command()(doctor)
app.command()(gateway)
app.command()(push)
app.add_typer(store, name="store")
