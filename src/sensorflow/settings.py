"""Settings: the only reader of the environment and of `.env`."""

import os
import re
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, available_timezones

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sensorflow.amounts import parse_size, parse_time, told_size
from sensorflow.errors import SettingsError

PLACEHOLDER_PREFIX: Final = "SUA_CHAVE"
"""How the example keys of the original's README begin."""

SECRETS: Final = frozenset(("api_key", "api_key_ws", "admin_key"))
SHORTEST_KEY: Final = 8
"""Characters; below that a key can be guessed in spite of the limit on failures."""


class LogLevel(StrEnum):
    """The least important level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line looks."""

    CONSOLE = "console"
    JSON = "json"


def _known_timezone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"there is no timezone {name!r}; use a name such as America/Sao_Paulo")
    return name


def _usable_key(key: str | None) -> str | None:
    if key is not None and re.fullmatch(f"[!-~]{{{SHORTEST_KEY},}}", key) is None:
        raise ValueError(f"a key has at least {SHORTEST_KEY} printable ASCII characters, no spaces")
    return key


def _usable_database(url: str | None) -> str | None:
    if url is None:
        return None
    scheme = url.partition("://")[0]
    if scheme not in ("postgresql", "postgres"):
        raise ValueError(
            f"unknown database scheme {scheme[:20]!r}; write "
            "postgresql://user:password@host:5432/name, or leave it unset to use SQLite in DATA_DIR"
        )
    return url


def _usable_workers(workers: int, others: ValidationInfo) -> int:
    if workers > 1 and others.data.get("database_url") is None:
        raise ValueError("SQLite allows one writing process; set it to 1, or set DATABASE_URL")
    return workers


def _networks(value: object) -> object:
    """`127.0.0.1, 172.16.0.0/12` as networks."""
    if not isinstance(value, str):
        return value
    found = []
    for text in filter(None, map(str.strip, value.split(","))):
        try:
            network = ip_network(text)
        except ValueError as error:
            raise ValueError(
                f"{error}; write addresses and networks such as 127.0.0.1 or 172.18.0.0/16, "
                "separated by commas"
            ) from None
        if network.prefixlen == 0:
            raise ValueError(f"{text} trusts everybody; name the proxies' own addresses")
        found.append(network)
    return tuple(found)


LEAST_BUDGET: Final = 100_000_000
"""Bytes: below that the database's own log and its newest pages would be most of it."""


def _if_text(parse: Callable[[str], object]) -> Callable[[object], object]:
    return lambda value: parse(value) if isinstance(value, str) else value


def _budget(text: str) -> int:
    size = parse_size(text)
    if size < LEAST_BUDGET:
        raise ValueError(f"it is too small to work with; {told_size(LEAST_BUDGET)} is the least")
    return size


def _no_shorter_than_finer(limit: timedelta | None, others: ValidationInfo) -> timedelta | None:
    """What is coarser is small, and is what is shown when the finer is gone."""
    assert others.field_name is not None
    for finer in _RETENTIONS[: _RETENTIONS.index(others.field_name)]:
        finer_limit = others.data.get(finer)
        if limit and finer in others.data and (finer_limit is None or limit < finer_limit):
            raise ValueError(
                f"it is shorter than {finer.upper()}; keep what is coarser at least as long"
            )
    return limit


_RETENTIONS: Final = ("retention_raw", "retention_minute", "retention_hour", "retention_day")

Retention = Annotated[
    timedelta | None, BeforeValidator(_if_text(parse_time)), AfterValidator(_no_shorter_than_finer)
]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Key = Annotated[str | None, AfterValidator(_usable_key)]


class Settings(BaseSettings):
    """Every setting. The variable is the field's name in capitals."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    api_key: Key = Field(None, description="Devices send readings with it. Unset: one is made.")
    api_key_ws: Key = Field(
        None, description="Screens, dashboards and `/metrics` read with it. Unset: one is made."
    )
    admin_key: Key = Field(None, description="Changes anything. Unset: one is made.")
    database_url: Annotated[str | None, AfterValidator(_usable_database)] = Field(
        None, description="Unset: SQLite in `DATA_DIR`."
    )
    max_ws_connections_per_key: int = Field(
        0, ge=0, description="Live connections that one key may hold at once; 0 allows any number."
    )
    subscriber_buffer_kb: int = Field(
        1024,
        ge=16,
        le=1_048_576,
        description="KiB that may wait for one live subscriber before it has to catch up.",
    )
    host: str = Field("0.0.0.0", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    workers: Annotated[int, AfterValidator(_usable_workers)] = Field(
        1, ge=1, le=64, description="Processes; SQLite allows one."
    )
    trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)
    ] = Field(
        (),
        description="Addresses and networks of proxies, separated by commas: what they say of "
        "whom they pass on is believed.",
    )
    influx_sensor_tag: str | None = Field(
        None,
        description="The tag of Influx's lines that names the sensor, tried before `sensor_id`, "
        "`sensor`, `device` and `host`.",
    )
    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        Path("./data"),
        description="Where the embedded database, the spool and the made keys are kept.",
    )
    spool_max_mb: int = Field(
        1024,
        ge=1,
        description="Most MiB on disk for readings that wait while PostgreSQL is away.",
    )
    retention_raw: Retention = Field(
        None,
        description="How long readings are kept: `12h`, `30d`, `8w`, `2y` or `forever`. "
        "Unset: forever.",
    )
    retention_minute: Retention = Field(
        None, description="How long rollups of minutes are kept; not shorter than readings."
    )
    retention_hour: Retention = Field(
        None, description="How long rollups of hours are kept; not shorter than those of minutes."
    )
    retention_day: Retention = Field(
        None, description="How long rollups of days are kept; not shorter than those of hours."
    )
    disk_budget: Annotated[int | None, BeforeValidator(_if_text(_budget))] = Field(
        None,
        description="Most that the database may take, `500MB` or `2GB`: the oldest is dropped. "
        "Unset: no bound.",
    )
    timezone: Annotated[str, AfterValidator(_known_timezone)] = Field(
        "UTC",
        description="Of `date_recorded`, `time_recorded`, and the calendar days of charts.",
    )
    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = Field(
        LogLevel.INFO, description="`debug`, `info`, `warning` or `error`."
    )
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = Field(
        LogFormat.CONSOLE, description="`console` or `json`."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _without_quotes(cls, value: object) -> object:
        if isinstance(value, str) and re.fullmatch(r"""(["']).*\1""", value, re.DOTALL):
            raise ValueError(
                "the value stands in quotes, which `docker run --env-file` keeps; remove them"
            )
        return value

    def __init__(self, **values: Any) -> None:
        """Read the environment and `.env`; `values` win over both.

        Raises `SettingsError` with one line that names the first variable that cannot be right.
        """
        try:
            super().__init__(**values)
        except UnicodeDecodeError:
            raise SettingsError(".env: it is not UTF-8 text; save it as UTF-8.") from None
        except ValidationError as error:
            first = error.errors(include_input=True)[0]
            name = str(first["loc"][0])
            message = first["msg"].removeprefix("Value error, ")
            given = "" if name in SECRETS | {"database_url"} else f" (got {first['input']!r})"
            raise SettingsError(f"{name.upper()}: {message}{given}") from None

    @property
    def zone(self) -> ZoneInfo:
        """`timezone`, ready for use."""
        return ZoneInfo(self.timezone)

    @property
    def placeholders(self) -> list[str]:
        """Variables that still hold an example key from the README."""
        return [
            name.upper()
            for name in sorted(SECRETS)
            if str(getattr(self, name)).upper().startswith(PLACEHOLDER_PREFIX)
        ]


def fields() -> dict[str, FieldInfo]:
    """Every setting's variable and definition, in the order of documentation."""
    return {name.upper(): field for name, field in Settings.model_fields.items()}


def sources(settings: Settings) -> dict[str, str]:
    """Of each variable where its value comes from."""
    from_file = {name.upper(): value for name, value in dotenv_values(".env").items()}
    environment = {name.upper(): value for name, value in os.environ.items()}

    def source(variable: str) -> str:
        if variable.lower() not in settings.model_fields_set:
            return "default"
        if environment.get(variable):
            return "environment"
        return ".env" if from_file.get(variable) else "command line"

    return {variable: source(variable) for variable in fields()}
