"""What is known of sensors: states, counts, and how far the stream was followed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "followers",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="followers_pkey"),
    )
    op.execute("INSERT INTO followers (name, cursor) VALUES ('history', 0)")
    op.create_table(
        "sensor_states",
        sa.Column("sensor", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column(
            "last_seen",
            sa.DateTime(timezone=True) if postgres else sa.BigInteger,
            nullable=False,
        ),
        sa.Column("latest", sa.dialects.postgresql.JSONB if postgres else sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("sensor", name="sensor_states_pkey"),
        # Every row is written anew about once a second: room for that on its own page.
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "sensor_counts",
        sa.Column("sensor", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("readings", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sensor", "outcome", name="sensor_counts_pkey"),
        postgresql_with={"fillfactor": 50},
    )


def downgrade() -> None:
    op.drop_table("sensor_counts")
    op.drop_table("sensor_states")
    op.drop_table("followers")
