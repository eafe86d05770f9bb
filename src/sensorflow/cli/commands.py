"""The commands and their options; what they do is in the modules beside this one."""

from enum import StrEnum
from typing import Annotated

import typer

from sensorflow import __version__

app = typer.Typer(
    name="sensorflow",
    help="A self-hosted sensor server: readings are safe on disk and on every screen at once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="Look after the database.", no_args_is_help=True)
keys = typer.Typer(help="Look after the API keys.", no_args_is_help=True)
app.add_typer(db, name="db")
app.add_typer(keys, name="keys")


class KeyName(StrEnum):
    """The keys by the names of their variables."""

    API_KEY = "API_KEY"
    API_KEY_WS = "API_KEY_WS"
    ADMIN_KEY = "ADMIN_KEY"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sensorflow {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A self-hosted sensor server: readings are safe on disk and on every screen at once."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [PORT].")] = None,
) -> None:
    """Run the server. Settings come from the environment and .env; see `sensorflow config`."""
    from sensorflow.cli.serve import serve as run
    from sensorflow.settings import Settings

    given = {"host": host, "port": port}
    run(Settings(**{name: value for name, value in given.items() if value is not None}))


@app.command()
def config() -> None:
    """Show every setting, its value and where it comes from; secrets are masked."""
    from sensorflow.cli.config import show_config

    show_config()


@db.command()
def upgrade() -> None:
    """Bring the database's schema up to date, as `serve` does when it starts."""
    from sensorflow.cli.db import upgrade_database

    upgrade_database()


@keys.command()
def renew(
    name: Annotated[KeyName, typer.Argument(help="Which key to replace.")],
) -> None:
    """Make a new key in place of one that the server made itself, and show it once."""
    from sensorflow.cli.keys import renew_and_show

    renew_and_show(name.value)
