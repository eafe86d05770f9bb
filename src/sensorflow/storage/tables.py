"""The tables, as the newest migration leaves them."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

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

# SQLite has no type of its own for times: they are whole microseconds since 1970-01-01 UTC.
_Time = DateTime(timezone=True).with_variant(BigInteger(), "sqlite")

# What only one of the databases has is marked with its name; what tells of one of them itself does
# not move to another.
_SQLITE = {"only": "sqlite"}
_POSTGRESQL = {"only": "postgresql"}

sensors = Table(
    "sensors",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("sensor_id", String(128), nullable=False, unique=True),
    Column("first_seen", _Time, nullable=False),
    # No device's time of this sensor is newer, so anything newer cannot be a duplicate.
    Column("latest", _Time, info=_POSTGRESQL),
    sqlite_autoincrement=True,
)

readings = Table(
    "readings",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("sensor", _Id, nullable=False),
    Column("recorded_at", _Time, nullable=False),
    Column("clock", SmallInteger, nullable=False),
    Column("received_at", _Time, nullable=False),
    Column("temperature", Double),
    Column("humidity", Double),
    Column("pressure", Double),
    Column("extra", JSONB().with_variant(Text(), "sqlite")),
    Column("client_ip", Text),
    ForeignKeyConstraint(["sensor"], ["sensors.id"], info=_SQLITE),
    # AUTOINCREMENT: an id is a cursor, so it must never be used twice.
    sqlite_autoincrement=True,
)

Index(None, readings.c.sensor, readings.c.recorded_at)

commits = Table(
    "commits",
    metadata,
    Column("token", Uuid, primary_key=True),
    Column("committed_at", _Time, nullable=False),
    info=_POSTGRESQL,
)
"""Batches that were committed, for who did not hear of it."""

partitions = Table(
    "partitions",
    metadata,
    Column("lower", BigInteger, primary_key=True, autoincrement=False),
    Column("upper", BigInteger, nullable=False),
    Column("rows", BigInteger),
    Column("bytes", BigInteger),
    Column("oldest", _Time),
    Column("newest", _Time),
    info=_POSTGRESQL,
)
"""The partitions of `readings`: ids from `lower` to below `upper`. The rest is set once full."""

followers = Table(
    "followers",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("cursor", BigInteger, nullable=False),
)
"""How far the stream was followed: what is made of it is written with the cursor."""

sensor_states = Table(
    "sensor_states",
    metadata,
    Column("sensor", BigInteger, primary_key=True, autoincrement=False),
    Column("stored", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("last_seen", _Time, nullable=False),
    Column("latest", JSONB().with_variant(Text(), "sqlite"), nullable=False),
)
"""What a sensor's readings come to. Apart from `sensors`, whose rows ingest locks."""

sensor_details = Table(
    "sensor_details",
    metadata,
    Column("sensor", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(200)),
    Column("location", String(200)),
    Column("measurements", JSONB().with_variant(Text(), "sqlite"), nullable=False),
)
"""What people say of a sensor. Only of those of which they do."""

sensor_counts = Table(
    "sensor_counts",
    metadata,
    Column("sensor", BigInteger, primary_key=True, autoincrement=False),
    Column("outcome", String(64), primary_key=True),
    Column("readings", BigInteger, nullable=False),
)
"""How many readings of a sensor became something else than a row of their own."""

measurements = Table(
    "measurements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
)
"""Names of measurements, each with the number that rollups know it by."""


def _rollups(tier: str) -> Table:
    return Table(
        f"rollups_{tier}",
        metadata,
        Column("sensor", BigInteger, primary_key=True, autoincrement=False),
        Column("measurement", Integer, primary_key=True, autoincrement=False),
        Column("bucket", _Time, primary_key=True, autoincrement=False),
        Column("count", BigInteger, nullable=False),
        Column("sum", Double, nullable=False),
        Column("minimum", Double, nullable=False),
        Column("maximum", Double, nullable=False),
        Column("first", Double, nullable=False),
        Column("last", Double, nullable=False),
        Column("first_at", _Time, nullable=False),
        Column("last_at", _Time, nullable=False),
        sqlite_with_rowid=False,
    )


rollups_minute = _rollups("minute")
rollups_hour = _rollups("hour")
rollups_day = _rollups("day")
"""What all values of a sensor's measurement in a minute, an hour, a day of UTC come to."""

tiers = Table(
    "tiers",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("complete_from", _Time),
)
"""Of `raw` and the tiers of rollups: the time from which on nothing was removed, by recorded_at
or by bucket. None where nothing ever was. Who removes rows moves it in the same transaction.
"""

drops = Table(
    "drops",
    metadata,
    Column("at", _Time, primary_key=True, autoincrement=False),
    Column("tier", String(16), primary_key=True),
    Column("why", String(16), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("oldest", _Time),
    Column("newest", _Time),
)
"""The last times that something was dropped by retention or for the budget."""

sizes = Table(
    "sizes",
    metadata,
    Column("at", _Time, primary_key=True, autoincrement=False),
    Column("used", BigInteger, nullable=False),
    info={"moves": False},
)
"""How many bytes were used when, over the last days."""
