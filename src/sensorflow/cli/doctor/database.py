"""The database: whether it is reached, whether it keeps what it commits, and its schema."""

import asyncio
from pathlib import Path
from typing import Final

from sensorflow.cli.doctor.findings import Finding, faulted, passed, warned
from sensorflow.cli.greeting import database_of
from sensorflow.errors import SettingsError, StorageUnavailable
from sensorflow.settings import Settings
from sensorflow.storage.standing import (
    CONNECTIONS_PER_WORKER,
    OLDEST_VERSION,
    Schema,
    Standing,
    embedded_schema,
    postgres_standing,
)

CLOCKS_APART: Final = 5.0
"""Seconds between this machine's clock and the database's."""


def check_database(settings: Settings) -> list[Finding]:
    """All that is to be found without changing anything."""
    if settings.database_url is None:
        return _embedded(settings.data_dir)
    try:
        standing = asyncio.run(postgres_standing(settings.database_url))
    except SettingsError as error:
        return [faulted("database", str(error), "Correct it in .env or in the environment.")]
    except StorageUnavailable as error:
        return [
            faulted(
                "database",
                f"{database_of(settings)} cannot be used: {error}",
                "Correct DATABASE_URL, or start the database; readings go to the spool meanwhile.",
            )
        ]
    return judge(standing, database_of(settings), settings.workers)


def judge(standing: Standing, name: str, workers: int) -> list[Finding]:
    """What a PostgreSQL that was reached is good for."""
    found = []
    if standing.version < OLDEST_VERSION:
        found.append(
            faulted(
                "database",
                f"{name} is version {standing.version}",
                f"Use PostgreSQL {OLDEST_VERSION} or newer.",
            )
        )
    else:
        found.append(passed("database", f"{name} answers, version {standing.version}"))
    if standing.read_only:
        found.append(
            faulted("database", "it is read-only", "Connect to the primary, not to a standby.")
        )
    for setting, on in (
        ("fsync", standing.fsync),
        ("full_page_writes", standing.full_page_writes),
    ):
        if not on:
            found.append(
                warned(
                    "database",
                    f"it runs with {setting}=off: a power cut loses acknowledged readings",
                    f"Set {setting}=on in postgresql.conf.",
                )
            )
    if not standing.may_create:
        found.append(
            faulted(
                "database",
                "this role may not make tables, and readings need new partitions",
                "Make it the database's owner, or GRANT CREATE ON SCHEMA public TO it.",
            )
        )
    elif not standing.owns_tables:
        found.append(
            faulted(
                "database",
                "this role does not own the table readings, and cannot add partitions to it",
                "ALTER TABLE readings OWNER TO it, and the same for the others.",
            )
        )
    needed = workers * CONNECTIONS_PER_WORKER
    if standing.connections < needed:
        found.append(
            warned(
                "database",
                f"it allows {standing.connections} connections, and {workers} workers use"
                f" up to {needed}",
                "Raise max_connections, or run fewer workers.",
            )
        )
    if abs(standing.clock_ahead) > CLOCKS_APART:
        found.append(
            warned(
                "clock",
                f"the database's is {abs(standing.clock_ahead):,.1f} s"
                f" {'ahead of' if standing.clock_ahead > 0 else 'behind'} this machine's",
                "Have both synchronised.",
            )
        )
    return [*found, _migrations(standing.schema)]


def _embedded(data_dir: Path) -> list[Finding]:
    try:
        schema = embedded_schema(data_dir)
    except StorageUnavailable as error:
        return [
            faulted(
                "database",
                f"{data_dir} holds one that cannot be read: {error}",
                "Restore the last backup: sensorflow db restore FILE.",
            )
        ]
    return [passed("database", f"SQLite in {data_dir}"), _migrations(schema)]


def _migrations(schema: Schema) -> Finding:
    match schema:
        case Schema.NONE:
            return passed("migrations", "no tables yet; the first start makes them")
        case Schema.BEHIND:
            return warned(
                "migrations",
                "the schema is older than this version",
                "The next start brings it up to date; so does sensorflow db upgrade.",
            )
        case Schema.AHEAD:
            return faulted(
                "migrations",
                "a newer version of the program has been at the database",
                "Install that version; readings go to the spool, or are refused, until then.",
            )
    return passed("migrations", "up to date")
