"""first schema

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "flow_versions",
        sa.Column("version_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("flow_id", sa.String(length=36), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("input_schema", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version_no", name=op.f("pk_flow_versions")),
    )
    with op.batch_alter_table("flow_versions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_flow_versions_flow_id"), ["flow_id"], unique=False)

    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "installation",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("namespace", sa.String(length=36), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_installation")),
    )
    op.create_table(
        "run_steps",
        sa.Column("run_no", sa.BigInteger(), nullable=False),
        sa.Column("step_no", sa.Integer(), nullable=False),
        sa.Column("first_seq", sa.Integer(), nullable=False),
        sa.Column("entry_count", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("entries", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_no", "step_no", name=op.f("pk_run_steps")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "work",
        sa.Column("work_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_no", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("work_no", name=op.f("pk_work")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("work", schema=None) as batch_op:
        batch_op.create_index("ix_work_due", ["due"], unique=False)
        batch_op.create_index(batch_op.f("ix_work_run_no"), ["run_no"], unique=False)

    op.create_table(
        "flows",
        sa.Column("flow_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("flow_id", sa.String(length=36), nullable=False),
        sa.Column("version_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("flow_owner", sa.Text(), nullable=False),
        sa.Column("scope_string", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["version_no"], ["flow_versions.version_no"], name=op.f("fk_flows_version_no")),
        sa.PrimaryKeyConstraint("flow_no", name=op.f("pk_flows")),
        sa.UniqueConstraint("flow_id", name=op.f("uq_flows_flow_id")),
    )
    with op.batch_alter_table("flows", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_flows_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_flows_updated_at"), ["updated_at"], unique=False)

    op.create_table(
        "runs",
        sa.Column("run_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("flow_id", sa.String(length=36), nullable=False),
        sa.Column("flow_no", sa.BigInteger(), nullable=False),
        sa.Column("version_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("flow_title", sa.Text(), nullable=False),
        sa.Column("flow_updated_at", sa.BigInteger(), nullable=False),
        sa.Column("run_owner", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=9), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("step_no", sa.Integer(), nullable=False),
        sa.Column("log_seq", sa.Integer(), nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("completion_time", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["version_no"], ["flow_versions.version_no"], name=op.f("fk_runs_version_no")),
        sa.PrimaryKeyConstraint("run_no", name=op.f("pk_runs")),
        sa.UniqueConstraint("run_id", name=op.f("uq_runs_run_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index("ix_runs_flow", ["flow_id", "start_time"], unique=False)
        batch_op.create_index("ix_runs_owner", ["run_owner", "status"], unique=False)
        batch_op.create_index("ix_runs_start", ["start_time", "run_no"], unique=False)
        batch_op.create_index("ix_runs_status", ["status", "start_time"], unique=False)

    op.create_table(
        "flow_roles",
        sa.Column("flow_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(["flow_no"], ["flows.flow_no"], name=op.f("fk_flow_roles_flow_no"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("flow_no", "role", "principal", name=op.f("pk_flow_roles")),
    )
    with op.batch_alter_table("flow_roles", schema=None) as batch_op:
        batch_op.create_index("ix_flow_roles_principal", ["principal", "role", "flow_no"], unique=False)

    op.create_table(
        "run_roles",
        sa.Column("run_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(["run_no"], ["runs.run_no"], name=op.f("fk_run_roles_run_no"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_no", "role", "principal", name=op.f("pk_run_roles")),
    )
    with op.batch_alter_table("run_roles", schema=None) as batch_op:
        batch_op.create_index("ix_run_roles_principal", ["principal", "role", "run_no"], unique=False)

    op.create_table(
        "auth_identities",
        sa.Column("identity_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("username", sa.String(length=320), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("organization", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("is_service_administrator", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("identity_id", name=op.f("pk_auth_identities")),
        sa.UniqueConstraint("username", name=op.f("uq_auth_identities_username")),
    )
    with op.batch_alter_table("auth_identities", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_auth_identities_account_id"), ["account_id"], unique=False)

    op.create_table(
        "auth_installation",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pepper_check", sa.String(length=64), nullable=False),
        sa.Column("administrator_id", sa.String(length=36), nullable=False),
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_auth_installation")),
    )
    op.create_table(
        "auth_clients",
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_digest", sa.String(length=64), nullable=False),
        sa.Column("audience", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("secret_changed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["auth_identities.identity_id"], name=op.f("fk_auth_clients_client_id")),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_auth_clients")),
        sa.UniqueConstraint("audience", name=op.f("uq_auth_clients_audience")),
    )
    op.create_table(
        "auth_consents",
        sa.Column("consent_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("effective_identity", sa.String(length=36), nullable=False),
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("scope_name", sa.String(length=512), nullable=False),
        sa.Column("parent_no", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("atomically_revocable", sa.Boolean(), nullable=False),
        sa.Column("auto_approved", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["effective_identity"], ["auth_identities.identity_id"], name=op.f("fk_auth_consents_effective_identity")
        ),
        sa.PrimaryKeyConstraint("consent_no", name=op.f("pk_auth_consents")),
        sa.UniqueConstraint(
            "effective_identity",
            "client_id",
            "scope_name",
            "parent_no",
            name=op.f("uq_auth_consents_effective_identity_client_id_scope_name_parent_no"),
        ),
    )
    with op.batch_alter_table("auth_consents", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_auth_consents_client_id"), ["client_id"], unique=False)
        batch_op.create_index("ix_auth_consents_parent", ["parent_no"], unique=False)

    op.create_table(
        "auth_tokens",
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.String(length=16), nullable=False),
        sa.Column("parent_digest", sa.String(length=64), nullable=True),
        sa.Column("identity_id", sa.String(length=36), nullable=False),
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("actor", sa.String(length=36), nullable=True),
        sa.Column("resource_server", sa.String(length=255), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["auth_identities.identity_id"], name=op.f("fk_auth_tokens_identity_id")
        ),
        sa.PrimaryKeyConstraint("token_digest", name=op.f("pk_auth_tokens")),
    )
    with op.batch_alter_table("auth_tokens", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_auth_tokens_client_id"), ["client_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_auth_tokens_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_auth_tokens_identity_id"), ["identity_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_auth_tokens_parent_digest"), ["parent_digest"], unique=False)
        batch_op.create_index(batch_op.f("ix_auth_tokens_resource_server"), ["resource_server"], unique=False)
        batch_op.create_index(batch_op.f("ix_auth_tokens_token_id"), ["token_id"], unique=False)

    op.create_table(
        "auth_client_scopes",
        sa.Column("scope_string", sa.String(length=512), nullable=False),
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("dependent_scopes", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["auth_clients.client_id"], name=op.f("fk_auth_client_scopes_client_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scope_string", name=op.f("pk_auth_client_scopes")),
    )
    with op.batch_alter_table("auth_client_scopes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_auth_client_scopes_client_id"), ["client_id"], unique=False)

    op.create_table(
        "provider_actions",
        sa.Column("action_id", sa.String(length=36), nullable=False),
        sa.Column("provider", sa.String(length=128), nullable=False),
        sa.Column("creator", sa.String(length=128), nullable=False),
        sa.Column("request_id", sa.String(length=256), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=9), nullable=False),
        sa.Column("next_step", sa.String(length=7), nullable=False),
        sa.Column("cancel_wanted", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("sharing", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("release_after", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("deadline", sa.BigInteger(), nullable=True),
        sa.Column("waiter", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.String(length=36), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("action_id", name=op.f("pk_provider_actions")),
        sa.UniqueConstraint(
            "request_id", "creator", "provider", name=op.f("uq_provider_actions_request_id_creator_provider")
        ),
    )
    with op.batch_alter_table("provider_actions", schema=None) as batch_op:
        batch_op.create_index("ix_provider_actions_creator", ["creator", "provider", "started_at"], unique=False)
        batch_op.create_index(
            "ix_provider_actions_due",
            ["due"],
            unique=False,
            sqlite_where=sa.text("due IS NOT NULL"),
            postgresql_where=sa.text("due IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_provider_actions_expires_at",
            ["expires_at"],
            unique=False,
            sqlite_where=sa.text("expires_at IS NOT NULL"),
            postgresql_where=sa.text("expires_at IS NOT NULL"),
        )

    op.create_table(
        "provider_action_roles",
        sa.Column("action_id", sa.String(length=36), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.ForeignKeyConstraint(
            ["action_id"],
            ["provider_actions.action_id"],
            name=op.f("fk_provider_action_roles_action_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("action_id", "role", "principal", name=op.f("pk_provider_action_roles")),
    )
    with op.batch_alter_table("provider_action_roles", schema=None) as batch_op:
        batch_op.create_index("ix_provider_action_roles_principal", ["principal", "role"], unique=False)

    op.create_table(
        "transfer_collections",
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("collection_id", name=op.f("pk_transfer_collections")),
    )
    with op.batch_alter_table("transfer_collections", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_transfer_collections_owner"), ["owner"], unique=False)

    op.create_table(
        "transfer_mkdir_intents",
        sa.Column("action_id", sa.String(length=512), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("action_id", name=op.f("pk_transfer_mkdir_intents")),
    )
    with op.batch_alter_table("transfer_mkdir_intents", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_transfer_mkdir_intents_created_at"), ["created_at"], unique=False)

    op.create_table(
        "transfer_access_rules",
        sa.Column("rule_id", sa.String(length=36), nullable=False),
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("principal_type", sa.String(length=24), nullable=False),
        sa.Column("principal", sa.String(length=36), nullable=False),
        sa.Column("permissions", sa.String(length=2), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_by", sa.String(length=512), nullable=True),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["transfer_collections.collection_id"],
            name=op.f("fk_transfer_access_rules_collection_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("rule_id", name=op.f("pk_transfer_access_rules")),
    )
    with op.batch_alter_table("transfer_access_rules", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_transfer_access_rules_collection_id"), ["collection_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("transfer_access_rules", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_transfer_access_rules_collection_id"))

    op.drop_table("transfer_access_rules")
    with op.batch_alter_table("transfer_mkdir_intents", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_transfer_mkdir_intents_created_at"))

    op.drop_table("transfer_mkdir_intents")
    with op.batch_alter_table("transfer_collections", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_transfer_collections_owner"))

    op.drop_table("transfer_collections")
    with op.batch_alter_table("provider_action_roles", schema=None) as batch_op:
        batch_op.drop_index("ix_provider_action_roles_principal")

    op.drop_table("provider_action_roles")
    with op.batch_alter_table("provider_actions", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_provider_actions_expires_at",
            sqlite_where=sa.text("expires_at IS NOT NULL"),
            postgresql_where=sa.text("expires_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_provider_actions_due",
            sqlite_where=sa.text("due IS NOT NULL"),
            postgresql_where=sa.text("due IS NOT NULL"),
        )
        batch_op.drop_index("ix_provider_actions_creator")

    op.drop_table("provider_actions")
    with op.batch_alter_table("auth_client_scopes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_auth_client_scopes_client_id"))

    op.drop_table("auth_client_scopes")
    with op.batch_alter_table("auth_tokens", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_auth_tokens_token_id"))
        batch_op.drop_index(batch_op.f("ix_auth_tokens_resource_server"))
        batch_op.drop_index(batch_op.f("ix_auth_tokens_parent_digest"))
        batch_op.drop_index(batch_op.f("ix_auth_tokens_identity_id"))
        batch_op.drop_index(batch_op.f("ix_auth_tokens_expires_at"))
        batch_op.drop_index(batch_op.f("ix_auth_tokens_client_id"))

    op.drop_table("auth_tokens")
    with op.batch_alter_table("auth_consents", schema=None) as batch_op:
        batch_op.drop_index("ix_auth_consents_parent")
        batch_op.drop_index(batch_op.f("ix_auth_consents_client_id"))

    op.drop_table("auth_consents")
    op.drop_table("auth_clients")
    op.drop_table("auth_installation")
    with op.batch_alter_table("auth_identities", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_auth_identities_account_id"))

    op.drop_table("auth_identities")
    with op.batch_alter_table("run_roles", schema=None) as batch_op:
        batch_op.drop_index("ix_run_roles_principal")

    op.drop_table("run_roles")
    with op.batch_alter_table("flow_roles", schema=None) as batch_op:
        batch_op.drop_index("ix_flow_roles_principal")

    op.drop_table("flow_roles")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index("ix_runs_status")
        batch_op.drop_index("ix_runs_start")
        batch_op.drop_index("ix_runs_owner")
        batch_op.drop_index("ix_runs_flow")

    op.drop_table("runs")
    with op.batch_alter_table("flows", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_flows_updated_at"))
        batch_op.drop_index(batch_op.f("ix_flows_created_at"))

    op.drop_table("flows")
    with op.batch_alter_table("work", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_work_run_no"))
        batch_op.drop_index("ix_work_due")

    op.drop_table("work")
    op.drop_table("run_steps")
    op.drop_table("installation")
    op.drop_table("idempotency_keys")
    with op.batch_alter_table("flow_versions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_flow_versions_flow_id"))

    op.drop_table("flow_versions")
