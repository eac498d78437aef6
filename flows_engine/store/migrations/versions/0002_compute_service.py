"""compute service

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "compute_endpoint_users",
        sa.Column("endpoint_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_no", "principal", name=op.f("pk_compute_endpoint_users")),
    )
    with op.batch_alter_table("compute_endpoint_users", schema=None) as batch_op:
        batch_op.create_index("ix_compute_endpoint_users_principal", ["principal"], unique=False)

    op.create_table(
        "compute_endpoints",
        sa.Column("endpoint_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("endpoint_id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("public", sa.Integer(), nullable=False),
        sa.Column("users", sa.Text(), nullable=False),
        sa.Column("allowed_functions", sa.Text(), nullable=True),
        sa.Column("registration", sa.Text(), nullable=False),
        sa.Column("session", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("lease_call", sa.Integer(), nullable=False),
        sa.Column("journal_id", sa.Text(), nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_from", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stop_wanted", sa.Integer(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.Column("locked_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("settled", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_no", name=op.f("pk_compute_endpoints")),
        sa.UniqueConstraint("endpoint_id", name=op.f("uq_compute_endpoints_endpoint_id")),
    )
    with op.batch_alter_table("compute_endpoints", schema=None) as batch_op:
        batch_op.create_index(
            "ix_compute_endpoints_owner",
            ["owner", "endpoint_no"],
            unique=False,
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.create_index(
            "ix_compute_endpoints_unsettled",
            ["endpoint_no"],
            unique=False,
            sqlite_where=sa.text("settled = 0"),
            postgresql_where=sa.text("settled = 0"),
        )

    op.create_table(
        "compute_functions",
        sa.Column("function_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("function_id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("meta", sa.Text(), nullable=False),
        sa.Column("public", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=True),
        sa.Column("on_loss", sa.String(length=7), nullable=False),
        sa.Column("max_requeues", sa.Integer(), nullable=False),
        sa.Column("python_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("code_bytes", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("function_no", name=op.f("pk_compute_functions")),
        sa.UniqueConstraint("function_id", name=op.f("uq_compute_functions_function_id")),
    )
    with op.batch_alter_table("compute_functions", schema=None) as batch_op:
        batch_op.create_index(
            "ix_compute_functions_deleted",
            ["deleted_at"],
            unique=False,
            sqlite_where=sa.text("deleted_at IS NOT NULL AND code_bytes > 0"),
            postgresql_where=sa.text("deleted_at IS NOT NULL AND code_bytes > 0"),
        )
        batch_op.create_index(
            "ix_compute_functions_owner",
            ["owner", "function_no"],
            unique=False,
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )

    op.create_table(
        "compute_payloads",
        sa.Column("task_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_no", name=op.f("pk_compute_payloads")),
    )
    op.create_table(
        "compute_results",
        sa.Column("task_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("result_bytes", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("task_no", name=op.f("pk_compute_results")),
    )
    op.create_table(
        "compute_submissions",
        sa.Column("user_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("submission_id", sa.String(length=36), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_no", "submission_id", name=op.f("pk_compute_submissions")),
    )
    with op.batch_alter_table("compute_submissions", schema=None) as batch_op:
        batch_op.create_index("ix_compute_submissions_submitted_at", ["submitted_at"], unique=False)

    op.create_table(
        "compute_task_groups",
        sa.Column("group_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("user_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("unfinished", sa.Integer(), nullable=False),
        sa.Column("finished_no", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("group_no", name=op.f("pk_compute_task_groups")),
        sa.UniqueConstraint("group_id", name=op.f("uq_compute_task_groups_group_id")),
    )
    op.create_table(
        "compute_tasks",
        sa.Column("task_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("task_id", sa.String(length=36), nullable=False),
        sa.Column("group_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("endpoint_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("function_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("requeues", sa.Integer(), nullable=False),
        sa.Column("held_by", sa.Integer(), nullable=True),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("unseen_since", sa.BigInteger(), nullable=True),
        sa.Column("cancel_told", sa.Integer(), nullable=True),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("leased_at", sa.BigInteger(), nullable=True),
        sa.Column("begun_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("finish_no", sa.Integer(), nullable=True),
        sa.Column("payload_bytes", sa.Integer(), nullable=False),
        sa.Column("user_endpoint_config", sa.Text(), nullable=True),
        sa.Column("resource_specification", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("task_no", name=op.f("pk_compute_tasks")),
        sa.UniqueConstraint("task_id", name=op.f("uq_compute_tasks_task_id")),
    )
    with op.batch_alter_table("compute_tasks", schema=None) as batch_op:
        batch_op.create_index(
            "ix_compute_tasks_cancel",
            ["endpoint_no"],
            unique=False,
            sqlite_where=sa.text("cancel_told IS NOT NULL"),
            postgresql_where=sa.text("cancel_told IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_compute_tasks_finished_at",
            ["finished_at"],
            unique=False,
            sqlite_where=sa.text("finished_at IS NOT NULL"),
            postgresql_where=sa.text("finished_at IS NOT NULL"),
        )
        batch_op.create_index("ix_compute_tasks_group", ["group_no", "finish_no"], unique=False)
        batch_op.create_index(
            "ix_compute_tasks_held",
            ["endpoint_no", "leased_at"],
            unique=False,
            sqlite_where=sa.text("held_by IS NOT NULL"),
            postgresql_where=sa.text("held_by IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_compute_tasks_queue",
            ["endpoint_no", "task_no"],
            unique=False,
            sqlite_where=sa.text("state = 'QUEUED'"),
            postgresql_where=sa.text("state = 'QUEUED'"),
        )
        batch_op.create_index("ix_compute_tasks_user", ["user_no", "task_no"], unique=False)

    op.create_table(
        "compute_users",
        sa.Column("user_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("urn", sa.String(length=128), nullable=False),
        sa.Column("unfinished", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user_no", name=op.f("pk_compute_users")),
        sa.UniqueConstraint("urn", name=op.f("uq_compute_users_urn")),
    )


def downgrade() -> None:
    op.drop_table("compute_users")
    with op.batch_alter_table("compute_tasks", schema=None) as batch_op:
        batch_op.drop_index("ix_compute_tasks_user")
        batch_op.drop_index(
            "ix_compute_tasks_queue",
            sqlite_where=sa.text("state = 'QUEUED'"),
            postgresql_where=sa.text("state = 'QUEUED'"),
        )
        batch_op.drop_index(
            "ix_compute_tasks_held",
            sqlite_where=sa.text("held_by IS NOT NULL"),
            postgresql_where=sa.text("held_by IS NOT NULL"),
        )
        batch_op.drop_index("ix_compute_tasks_group")
        batch_op.drop_index(
            "ix_compute_tasks_finished_at",
            sqlite_where=sa.text("finished_at IS NOT NULL"),
            postgresql_where=sa.text("finished_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_compute_tasks_cancel",
            sqlite_where=sa.text("cancel_told IS NOT NULL"),
            postgresql_where=sa.text("cancel_told IS NOT NULL"),
        )

    op.drop_table("compute_tasks")
    op.drop_table("compute_task_groups")
    with op.batch_alter_table("compute_submissions", schema=None) as batch_op:
        batch_op.drop_index("ix_compute_submissions_submitted_at")

    op.drop_table("compute_submissions")
    op.drop_table("compute_results")
    op.drop_table("compute_payloads")
    with op.batch_alter_table("compute_functions", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_compute_functions_owner",
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.drop_index(
            "ix_compute_functions_deleted",
            sqlite_where=sa.text("deleted_at IS NOT NULL AND code_bytes > 0"),
            postgresql_where=sa.text("deleted_at IS NOT NULL AND code_bytes > 0"),
        )

    op.drop_table("compute_functions")
    with op.batch_alter_table("compute_endpoints", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_compute_endpoints_unsettled",
            sqlite_where=sa.text("settled = 0"),
            postgresql_where=sa.text("settled = 0"),
        )
        batch_op.drop_index(
            "ix_compute_endpoints_owner",
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )

    op.drop_table("compute_endpoints")
    with op.batch_alter_table("compute_endpoint_users", schema=None) as batch_op:
        batch_op.drop_index("ix_compute_endpoint_users_principal")

    op.drop_table("compute_endpoint_users")
