"""What people say of sensors: display name, location, units and labels."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "sensor_details",
        sa.Column("sensor", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("location", sa.String(200)),
        sa.Column(
            "measurements", sa.dialects.postgresql.JSONB if postgres else sa.Text, nullable=False
        ),
        sa.PrimaryKeyConstraint("sensor", name="sensor_details_pkey"),
    )


def downgrade() -> None:
    op.drop_table("sensor_details")
