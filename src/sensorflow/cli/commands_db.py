"""The commands `sensorflow db …` and their options; what they do is in the modules beside it."""

from pathlib import Path
from typing import Annotated

import typer

db = typer.Typer(help="Look after the database.", no_args_is_help=True)


@db.command()
def upgrade() -> None:
    """Bring the database's schema up to date, as `serve` does when it starts."""
    from sensorflow.cli.db import upgrade_database

    upgrade_database()


@db.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The copy; replaced if it is there.")],
) -> None:
    """Copy the embedded database to a file, also while the server runs."""
    from sensorflow.cli.db import back_up

    back_up(file)


@db.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A copy that `sensorflow db backup` has made.")],
) -> None:
    """Put a copy in the place of the embedded database. Stop the server before."""
    from sensorflow.cli.db import restore as run

    run(file)


@db.command("rebuild-rollups")
def rebuild_rollups() -> None:
    """Make all rollups anew from the readings, and tell what was wrong.

    With PostgreSQL also while the server runs; with SQLite stop it before.
    """
    from sensorflow.cli.rebuilding import rebuild_rollups as run

    run()


@db.command("import-original")
def import_original(
    url: Annotated[
        str,
        typer.Argument(
            help="The original's database: postgresql://user:password@host:5432/name.",
            show_default=False,
        ),
    ],
    timezone: Annotated[
        str | None,
        typer.Option(
            help="The zone of its date_recorded and time_recorded [TIMEZONE].", show_default=False
        ),
    ] = None,
) -> None:
    """Store what the original has in its table `data`, and compare. May be run again."""
    from sensorflow.cli.moving.import_original import import_original as run

    raise typer.Exit(run(url, timezone))


@db.command()
def copy(
    to: Annotated[
        str,
        typer.Option(
            help="An empty database: postgresql://user:password@host:5432/name.",
            show_default=False,
        ),
    ],
) -> None:
    """Move everything from the embedded database to PostgreSQL. Stop the server before."""
    from sensorflow.cli.moving.copy import copy as run

    raise typer.Exit(run(to))


@db.command()
def restored() -> None:
    """After a restore by other means: have ids go on where none was ever given."""
    from sensorflow.cli.db import move_ids_on

    move_ids_on()
