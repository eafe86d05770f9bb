"""`sensorflow config`: what is set, and where it was set, without a secret."""

import re
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from sensorflow.amounts import told_size, told_time
from sensorflow.settings import SECRETS, Settings, sources


def show_config() -> None:
    """Print a table of all settings."""
    table = Table("Variable", "Value", "Source", box=None, pad_edge=False)
    for row in shown(Settings()):
        table.add_row(*row)
    Console().print(table)


def shown(settings: Settings) -> list[tuple[str, str, str]]:
    """Each variable with its value, secrets masked, and where the value comes from."""
    return [
        (variable, _masked(variable, getattr(settings, variable.lower())), source)
        for variable, source in sources(settings).items()
    ]


def _masked(variable: str, value: object) -> str:
    if value in (None, ()):
        return "(not set)"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, timedelta):
        return told_time(value)
    if variable == "DISK_BUDGET":
        return told_size(int(str(value)))
    if variable.lower() in SECRETS:
        return "********"
    if variable == "DATABASE_URL":
        # The password may hold any character, so what counts is the first : and the last @.
        return re.sub(r"(://[^:@/]*:).*@", r"\1********@", str(value))
    return str(value)
