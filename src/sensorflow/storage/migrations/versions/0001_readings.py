"""Sensors and their readings."""

import sqlalchemy as sa
from alembic import op

from sensorflow.storage.migrations.postgres_0001 import FUNCTIONS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _upgrade_postgres()
    else:
        _upgrade_sqlite()


def _upgrade_sqlite() -> None:
    op.create_table(
        "sensors",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("sensor_id", sa.String(128), nullable=False),
        sa.Column("first_seen", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="sensors_pkey"),
        sa.UniqueConstraint("sensor_id", name="sensors_sensor_id_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "readings",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("sensor", sa.Integer, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("clock", sa.SmallInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("temperature", sa.Double),
        sa.Column("humidity", sa.Double),
        sa.Column("pressure", sa.Double),
        sa.Column("extra", sa.Text),
        sa.Column("client_ip", sa.Text),
        sa.PrimaryKeyConstraint("id", name="readings_pkey"),
        sa.ForeignKeyConstraint(["sensor"], ["sensors.id"], name="readings_sensor_fkey"),
        sqlite_autoincrement=True,
    )
    op.create_index("readings_sensor_recorded_at", "readings", ["sensor", "recorded_at"])


def _upgrade_postgres() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "sensors",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("sensor_id", sa.String(128), nullable=False),
        sa.Column("first_seen", time, nullable=False),
        sa.Column("latest", time),
        sa.PrimaryKeyConstraint("id", name="sensors_pkey"),
        sa.UniqueConstraint("sensor_id", name="sensors_sensor_id_key"),
        # Room on each page, so that a new `latest` needs no new index entry.
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "readings",
        sa.Column("id", sa.BigInteger, autoincrement=False, nullable=False),
        # No foreign key: PostgreSQL would look up and lock the sensor again for every row.
        sa.Column("sensor", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", time, nullable=False),
        sa.Column("clock", sa.SmallInteger, nullable=False),
        sa.Column("received_at", time, nullable=False),
        sa.Column("temperature", sa.Double),
        sa.Column("humidity", sa.Double),
        sa.Column("pressure", sa.Double),
        sa.Column("extra", sa.dialects.postgresql.JSONB),
        sa.Column("client_ip", sa.Text),
        sa.PrimaryKeyConstraint("id", name="readings_pkey"),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("readings_sensor_recorded_at", "readings", ["sensor", "recorded_at"])
    op.execute("CREATE SEQUENCE readings_id_seq OWNED BY readings.id")
    op.create_table(
        "commits",
        sa.Column("token", sa.Uuid, nullable=False),
        sa.Column("committed_at", time, nullable=False),
        sa.PrimaryKeyConstraint("token", name="commits_pkey"),
    )
    op.create_table(
        "partitions",
        sa.Column("lower", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("upper", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("oldest", time),
        sa.Column("newest", time),
        sa.PrimaryKeyConstraint("lower", name="partitions_pkey"),
    )
    for function in FUNCTIONS:
        op.execute(function)
    op.execute("SELECT make_partition(1, 1000001)")


def downgrade() -> None:
    op.drop_table("readings")
    op.drop_table("sensors")
