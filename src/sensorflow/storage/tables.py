"""The tables, as the newest migration leaves them."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

# SQLite makes only a column of exactly this type the row's own id.
_Id = BigInteger().with_variant(Integer(), "sqlite")

sensors = Table(
    "sensors",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("sensor_id", String(128), nullable=False, unique=True),
    Column("first_seen", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

readings = Table(
    "readings",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("sensor", ForeignKey("sensors.id"), nullable=False),
    # Times are whole microseconds since 1970-01-01 UTC: SQLite has no type of its own for them.
    Column("recorded_at", BigInteger, nullable=False),
    Column("clock", SmallInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("temperature", Double),
    Column("humidity", Double),
    Column("pressure", Double),
    Column("extra", Text),
    Column("client_ip", Text),
    # AUTOINCREMENT: an id is a cursor, so it must never be used twice.
    sqlite_autoincrement=True,
)

Index(None, readings.c.sensor, readings.c.recorded_at)
