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


@db.command()
def restored() -> None:
    """After a restore by other means: have ids go on where none was ever given."""
    from sensorflow.cli.db import move_ids_on

    move_ids_on()
