"""The original's table, as its program makes and fills it."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, tzinfo
from pathlib import Path

from sensorflow.cli.recording import Row
from tests.postgres import ROLE, Postgres

ENV = """# .env

# Chaves de API para proteger os endpoints
API_KEY=SUA_CHAVE_DE_API_SECRETA_HTTP
API_KEY_WS=SUA_CHAVE_DE_API_SECRETA_WEBSOCKET

# URL de conexão com o banco de dados PostgreSQL
# Formato: postgresql://USUARIO:SENHA@HOST:PORTA/NOME_DO_BANCO
DATABASE_URL=postgresql://user:password@db:5432/sensordb

# Limite de conexões WebSocket por chave (0 para ilimitado)
MAX_WS_CONNECTIONS_PER_KEY=5
"""
"""The `.env` of the original's README, as it stands there."""
KEY = "SUA_CHAVE_DE_API_SECRETA_HTTP"
KEY_WS = "SUA_CHAVE_DE_API_SECRETA_WEBSOCKET"

COLUMNS = """
    id {id}, date_recorded date, time_recorded time, temperature double precision,
    humidity double precision, pressure double precision, sensor_id varchar(255),
    client_ip varchar(45)
"""
POSTGRESQL = COLUMNS.format(id="serial PRIMARY KEY")
SQLITE = COLUMNS.format(id="integer PRIMARY KEY")

INSERT = (
    "INSERT INTO data (date_recorded, time_recorded, temperature, humidity, pressure, sensor_id,"
    " client_ip)"
)


def shown(rows: Iterable[Row], zone: tzinfo = UTC) -> list[tuple[object, ...]]:
    """What the original would have written of them: its clock's date and time, as text."""
    written: list[tuple[object, ...]] = []
    for row in rows:
        date, _, time = (
            row.recorded_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S").partition(" ")
        )
        known = (row.measurements.get(name) for name in ("temperature", "humidity", "pressure"))
        written.append((date, time, *known, row.sensor_id, f"192.0.2.{len(row.sensor_id)}"))
    return written


def make(server: Postgres, database: str, columns: str = POSTGRESQL) -> None:
    """The table, owned by the role."""
    server.script(f"CREATE TABLE data ({columns}); ALTER TABLE data OWNER TO {ROLE}", database)


def fill(server: Postgres, database: str, rows: Iterable[tuple[object, ...]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    server.execute(
        f"{INSERT} SELECT d::date, t::time, a, b, c, s, i FROM unnest($1::text[], $2::text[],"
        " $3::float8[], $4::float8[], $5::float8[], $6::text[], $7::text[])"
        " AS n (d, t, a, b, c, s, i)",
        *columns,
        database=database,
    )


def make_file(path: Path, rows: Iterable[tuple[object, ...]], columns: str = SQLITE) -> str:
    """A file with the table; returns its URL."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE data ({columns})")
        database.executemany(f"{INSERT} VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    return f"sqlite:///{path}"
