"""Proofs about a target, and what lies there under our identity without being ours."""

import sqlalchemy as sa
from alembic import op

from appliance.db import schema

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("proof") as batch:
        batch.add_column(
            sa.Column(
                "target_id",
                schema.Key,
                sa.ForeignKey("target.id", name=op.f("fk_proof_target_id")),
                nullable=True,
            )
        )
        batch.create_index("ix_proof_target_kind", ["target_id", "kind", "seq"], unique=False)
    op.create_table(
        "forged",
        sa.Column("id", schema.Key, autoincrement=True, nullable=False),
        sa.Column("target_id", schema.Key, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("found_at", schema.Moment(), nullable=False),
        sa.Column("passed_over_at", schema.Moment(), nullable=True),
        sa.ForeignKeyConstraint(["target_id"], ["target.id"], name=op.f("fk_forged_target_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forged")),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_forged_name", "forged", ["target_id", "name", "sha256"], unique=True)
    op.create_index("ix_job_lock", "job", ["lock", "kind", "id"], unique=False)
    # When an object lock ends, as last told to the host; NULL: as long as the place locks new objects.
    op.add_column("copy_object", sa.Column("locked_until", schema.Moment(), nullable=True))
    op.add_column("generation", sa.Column("locked_until", schema.Moment(), nullable=True))
