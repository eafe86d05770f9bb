"""All checks, one after another, and the lines that tell what they found."""

import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

import sensorflow
from sensorflow.cli.doctor.database import check_database
from sensorflow.cli.doctor.disk import check_data_dir, check_room, check_spool, free_under
from sensorflow.cli.doctor.environment import check_env_file, check_settings
from sensorflow.cli.doctor.findings import Finding, Level, bounded
from sensorflow.cli.doctor.machine import check_clock, check_open_files, synchronised
from sensorflow.cli.doctor.network import check_port, check_url

_STYLES = {Level.WELL: "green", Level.WARNING: "yellow", Level.FAULT: "bold red"}


def examine(url: str | None, key: str | None) -> int:
    """Tell what is found as it is found; returns 1 if there is any fault."""
    console = Console(highlight=False)
    counts = dict.fromkeys(Level, 0)
    for finding in _findings(url, key):
        counts[finding.level] += 1
        console.print(_line(finding), soft_wrap=True)
    faults, warnings = counts[Level.FAULT], counts[Level.WARNING]
    console.print(f"\n{_number(faults, 'fault')}, {_number(warnings, 'warning')}.")
    return int(faults > 0)


def _findings(url: str | None, key: str | None) -> Iterator[Finding]:
    yield from check_env_file()
    settings, found = check_settings()
    yield from found
    yield from check_clock(synchronised(), time.time(), _installed_at())
    yield from check_open_files()
    if settings is None:
        return
    key = key or settings.api_key_ws
    yield from bounded("DATA_DIR", lambda: check_data_dir(settings.data_dir))
    yield from bounded("disk", lambda: check_room(settings, free_under(settings.data_dir)))
    yield from bounded("spool", lambda: check_spool(settings.data_dir))
    yield from bounded("database", lambda: check_database(settings))
    yield from bounded("port", lambda: check_port(settings, key))
    if url is not None:
        # The setting comes with the proxies' addresses; where there is none, none is trusted.
        trusted = settings.trusted_proxies or ()
        yield from bounded("url", lambda: check_url(url, key, trusted))


def _installed_at() -> float:
    """When this program came onto this machine, which is past."""
    return Path(sensorflow.__file__).stat().st_mtime


def _line(finding: Finding) -> Text:
    line = Text(f"{finding.level:<9}", style=_STYLES[finding.level])
    line.append(f"{finding.about:<12}", style="bold")
    line.append(f"{finding.said}.", style="default")
    if finding.advice:
        line.append(f" {finding.advice}", style="italic")
    return line


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
