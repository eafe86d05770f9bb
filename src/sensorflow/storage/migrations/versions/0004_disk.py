"""What was dropped, and how the size has grown."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    time = sa.DateTime(timezone=True) if postgres else sa.BigInteger
    op.create_table(
        "drops",
        sa.Column("at", time, nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("why", sa.String(16), nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("oldest", time),
        sa.Column("newest", time),
        sa.PrimaryKeyConstraint("at", "tier", name="drops_pkey"),
    )
    op.create_table(
        "sizes",
        sa.Column("at", time, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("at", name="sizes_pkey"),
    )


def downgrade() -> None:
    op.drop_table("sizes")
    op.drop_table("drops")
