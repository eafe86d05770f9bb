"""The commands and their options; what they do is in the modules beside this one."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sensorflow import __version__
from sensorflow.cli.commands_db import db

app = typer.Typer(
    name="sensorflow",
    help="A self-hosted sensor server: readings are safe on disk and on every screen at once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Look after the API keys.", no_args_is_help=True)
app.add_typer(db, name="db")
app.add_typer(keys, name="keys")


class KeyName(StrEnum):
    """The keys by the names of their variables."""

    API_KEY = "API_KEY"
    API_KEY_WS = "API_KEY_WS"
    ADMIN_KEY = "ADMIN_KEY"


class ExportFormat(StrEnum):
    """How readings are written."""

    CSV = "csv"
    NDJSON = "ndjson"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sensorflow {__version__}")
        raise typer.Exit


def _speed(value: str) -> float:
    """A factor; `max` is infinite, so that nothing is ever waited for."""
    try:
        speed = math.inf if value == "max" else float(value)
    except ValueError:
        speed = 0.0
    if speed > 0:
        return speed
    raise typer.BadParameter("give max, or a factor above 0 such as 1 or 3600")


def _no_nan(value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number")
    return value


Url = Annotated[str, typer.Option(help="The server's address.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="API_KEY",
        help="The server's API_KEY; else that of .env in the working folder.",
        show_default=False,
    ),
]
ReadKey = Annotated[
    str | None,
    typer.Option(
        envvar="API_KEY_WS",
        help="The server's API_KEY_WS; else that of .env in the working folder.",
        show_default=False,
    ),
]
Concurrency = Annotated[
    int,
    typer.Option(
        min=1, max=1000, help="Readings under way at the same time; 1 keeps them in order."
    ),
]


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
    workers: Annotated[
        int | None, typer.Option(help="Processes that share the port [WORKERS].")
    ] = None,
) -> None:
    """Run the server. Settings come from the environment and .env; see `sensorflow config`."""
    from sensorflow.cli.serve import serve as run
    from sensorflow.settings import Settings

    options = {"host": host, "port": port, "workers": workers}
    given = {name: value for name, value in options.items() if value is not None}
    run(lambda: Settings(**given))


@app.command()
def simulate(
    sensors: Annotated[int, typer.Option(min=1, max=10_000, help="How many sensors.")] = 5,
    rate: Annotated[
        float,
        typer.Option(
            min=0, callback=_no_nan, help="Readings/s of all; 0: as fast as replies come."
        ),
    ] = 5.0,
    url: Url = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
    duration: Annotated[
        float | None, typer.Option(min=0, callback=_no_nan, help="Stop after so many seconds.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many readings.")] = None,
    concurrency: Concurrency = 16,
    seed: Annotated[
        int | None, typer.Option(help="Makes the values repeatable.", show_default=False)
    ] = None,
) -> None:
    """Send readings of made-up sensors to a running server, until Ctrl-C."""
    from sensorflow.cli.simulate import simulate as run

    code = run(
        sensors=sensors,
        rate=rate,
        url=url,
        api_key=api_key,
        duration=duration,
        count=count,
        concurrency=concurrency,
        seed=seed,
    )
    raise typer.Exit(code)


@app.command()
def replay(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, also gzipped, with the columns recorded_at, sensor_id and measurements.",
            show_default=False,
        ),
    ],
    url: Url = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
    concurrency: Concurrency = 16,
    speed: Annotated[
        float,
        typer.Option(
            parser=_speed,
            metavar="max|FACTOR",
            show_default="max",
            help="1: in real time as recorded; 3600: an hour a second.",
        ),
    ] = math.inf,
) -> None:
    """Send recorded readings to a running server. Rows that it has already are not stored twice."""
    from sensorflow.cli.replay import replay as run

    raise typer.Exit(run(file, url=url, api_key=api_key, concurrency=concurrency, speed=speed))


@app.command()
def doctor(
    url: Annotated[
        str | None,
        typer.Option(help="The server's address as clients know it.", show_default=False),
    ] = None,
    api_key_ws: Annotated[
        str | None,
        typer.Option(
            help="The server's API_KEY_WS, where it made that itself.", show_default=False
        ),
    ] = None,
) -> None:
    """Look at settings, database, disk, clock and port, and say what to do."""
    from sensorflow.cli.doctor.examination import examine

    raise typer.Exit(examine(url, api_key_ws))


@app.command()
def watch(
    sensor: Annotated[
        list[str] | None,
        typer.Option(help="Only this sensor; may be given again.", show_default=False),
    ] = None,
    url: Url = "http://127.0.0.1:8000",
    api_key: ReadKey = None,
    since: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**63 - 1,
            help="Begin after the reading with this id; 0: with the first there is.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show the live stream: a table on a terminal, else a line of JSON for each reading."""
    from sensorflow.cli.watch import watch as run

    raise typer.Exit(run(url=url, api_key=api_key, sensors=sensor or (), since=since))


@app.command()
def export(
    file: Annotated[
        Path | None,
        typer.Argument(help="The file to write; left out: standard output.", show_default=False),
    ] = None,
    sensor: Annotated[
        list[str] | None,
        typer.Option(help="Only this sensor; may be given again.", show_default=False),
    ] = None,
    measurement: Annotated[
        list[str] | None,
        typer.Option(help="Only this measurement; may be given again.", show_default=False),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Recorded from then on, such as -7d.", show_default=False),
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Recorded before then.", show_default=False)
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**63 - 1,
            help="In the order of ids, those after this one; 0: all.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        ExportFormat | None,
        typer.Option(
            "--format", help="Else what the file's name ends with; else csv.", show_default=False
        ),
    ] = None,
    url: Url = "http://127.0.0.1:8000",
    api_key: ReadKey = None,
) -> None:
    """Write the stored readings of a running server into a file, newest first."""
    from sensorflow.cli.export import export as run

    given = [("start", start), ("end", end), ("after", None if after is None else str(after))]
    parameters = [("sensor_id", name) for name in sensor or ()]
    parameters += [("measurement", name) for name in measurement or ()]
    parameters += [(name, value) for name, value in given if value is not None]
    code = run(file, url=url, api_key=api_key, parameters=parameters, chosen=form)
    raise typer.Exit(code)


@app.command()
def config() -> None:
    """Show every setting, its value and where it comes from; secrets are masked."""
    from sensorflow.cli.config import show_config

    show_config()


@keys.command()
def renew(
    name: Annotated[KeyName, typer.Argument(help="Which key to replace.")],
) -> None:
    """Make a new key in place of one that the server made itself, and show it once."""
    from sensorflow.cli.keys import renew_and_show

    renew_and_show(name.value)
