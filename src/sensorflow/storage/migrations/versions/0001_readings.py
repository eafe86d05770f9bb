"""Sensors and their readings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    identifier = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "sensors",
        sa.Column("id", identifier, autoincrement=True, nullable=False),
        sa.Column("sensor_id", sa.String(128), nullable=False),
        sa.Column("first_seen", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="sensors_pkey"),
        sa.UniqueConstraint("sensor_id", name="sensors_sensor_id_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "readings",
        sa.Column("id", identifier, autoincrement=True, nullable=False),
        sa.Column("sensor", identifier, nullable=False),
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


def downgrade() -> None:
    op.drop_table("readings")
    op.drop_table("sensors")
