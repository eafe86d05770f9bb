"""`sensorflow config`."""

from rich.console import Console
from rich.table import Table

from sensorflow.settings import Settings, shown


def show_config() -> None:
    """Print a table of all settings."""
    table = Table("Variable", "Value", "Source", box=None, pad_edge=False)
    for row in shown(Settings()):
        table.add_row(*row)
    Console().print(table)
