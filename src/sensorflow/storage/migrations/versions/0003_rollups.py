"""Rollups: what the readings of a minute, an hour, a day come to."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIERS = ("minute", "hour", "day")


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    time = sa.DateTime(timezone=True) if postgres else sa.BigInteger
    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer, *([sa.Identity(always=True)] if postgres else [])),
        sa.Column("name", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="measurements_pkey"),
        sa.UniqueConstraint("name", name="measurements_name_key"),
    )
    for tier in TIERS:
        op.create_table(
            f"rollups_{tier}",
            sa.Column("sensor", sa.BigInteger, nullable=False),
            sa.Column("measurement", sa.Integer, nullable=False),
            sa.Column("bucket", time, nullable=False),
            sa.Column("count", sa.BigInteger, nullable=False),
            sa.Column("sum", sa.Double, nullable=False),
            sa.Column("minimum", sa.Double, nullable=False),
            sa.Column("maximum", sa.Double, nullable=False),
            sa.Column("first", sa.Double, nullable=False),
            sa.Column("last", sa.Double, nullable=False),
            sa.Column("first_at", time, nullable=False),
            sa.Column("last_at", time, nullable=False),
            sa.PrimaryKeyConstraint("sensor", "measurement", "bucket", name=f"rollups_{tier}_pkey"),
            # The rows of a series lie side by side.
            sqlite_with_rowid=False,
            # The newest buckets are written anew again and again: room for that on their pages.
            postgresql_with={"fillfactor": 80},
        )
    tiers = op.create_table(
        "tiers",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("complete_from", time),
        sa.PrimaryKeyConstraint("name", name="tiers_pkey"),
    )
    op.bulk_insert(tiers, [{"name": name} for name in ("raw", *TIERS)])
    # From the first reading on: what is there already is rolled up as well. Its readings are not
    # counted again, for each sensor's state tells up to which id they were.
    op.execute("UPDATE followers SET cursor = 0 WHERE name = 'history'")


def downgrade() -> None:
    op.drop_table("tiers")
    for tier in TIERS:
        op.drop_table(f"rollups_{tier}")
    op.drop_table("measurements")
