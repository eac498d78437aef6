"""Tables of the flow service.

Times are integer microseconds since the epoch, user JSON is text (JSONB would reorder keys, rewrite numbers and refuse
what SQLite takes), identifiers of the API are UUID text, keys used for joins are integers.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from schemas.naming import NAMING_CONVENTION

metadata = MetaData(naming_convention=NAMING_CONVENTION)

#: 64-bit key that counts up by itself, on both databases. Where rows are deleted, a number must never be given again, or
#: what somebody holds or remembers of an old row would fit the new one: hence ``sqlite_autoincrement`` on such tables.
Serial = BigInteger().with_variant(Integer, "sqlite")

#: One row: what this installation is. ``namespace`` roots every deterministic ``request_id``; ``epoch`` counts starts
#: of an engine and fences the ones before on SQLite.
installation = Table(
    "installation",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("namespace", String(36), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: A definition with its input schema, as it was at one time. Runs are pinned to a version.
flow_versions = Table(
    "flow_versions",
    metadata,
    Column("version_no", Serial, primary_key=True),
    Column("flow_id", String(36), nullable=False, index=True),
    Column("definition", Text, nullable=False),
    Column("input_schema", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: ``document`` holds the metadata and role lists as given (everything the API shows that is not a column here).
#: ``search_text`` is the lower-case text that filter_fulltext looks in.
flows = Table(
    "flows",
    metadata,
    Column("flow_no", Serial, primary_key=True),
    Column("flow_id", String(36), nullable=False, unique=True),
    Column("version_no", ForeignKey("flow_versions.version_no"), nullable=False),
    Column("title", Text, nullable=False),
    Column("flow_owner", Text, nullable=False),
    Column("scope_string", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("search_text", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
    Column("updated_at", BigInteger, nullable=False, index=True),
    Column("deleted_at", BigInteger),
)

#: Who has which role on a flow: ``role`` is flow_viewer, flow_starter, flow_administrator, flow_owner, run_manager,
#: run_monitor; ``principal`` a URN, ``public`` or ``all_authenticated_users``.
flow_roles = Table(
    "flow_roles",
    metadata,
    Column("flow_no", ForeignKey("flows.flow_no", ondelete="CASCADE"), nullable=False),
    Column("principal", String(128), nullable=False),
    Column("role", String(24), nullable=False),
    PrimaryKeyConstraint("flow_no", "role", "principal"),
    Index("ix_flow_roles_principal", "principal", "role", "flow_no"),
)

#: A run. ``state`` is the RunState as JSON; ``step_no`` and ``log_seq`` count its steps and log entries; every write of
#: a step checks ``step_no``. ``details`` is the run document's member; ``document`` the rest that the API shows (label,
#: tags, role lists, notification policy). ``flow_title`` and ``flow_updated_at`` are as they were at the start.
runs = Table(
    "runs",
    metadata,
    Column("run_no", Serial, primary_key=True),
    Column("run_id", String(36), nullable=False, unique=True),
    Column("flow_id", String(36), nullable=False),
    Column("flow_no", BigInteger, nullable=False),
    Column("version_no", ForeignKey("flow_versions.version_no"), nullable=False),
    Column("flow_title", Text, nullable=False),
    Column("flow_updated_at", BigInteger, nullable=False),
    Column("run_owner", String(128), nullable=False),
    Column("status", String(9), nullable=False),
    Column("label", Text),
    Column("document", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("step_no", Integer, nullable=False),
    Column("log_seq", Integer, nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("completion_time", BigInteger),
    Index("ix_runs_flow", "flow_id", "start_time"),
    Index("ix_runs_start", "start_time", "run_no"),
    Index("ix_runs_status", "status", "start_time"),
    Index("ix_runs_owner", "run_owner", "status"),
    sqlite_autoincrement=True,
)

#: Who has which role on a run: run_owner, run_manager, run_monitor. Flow-level roles are read from flow_roles.
run_roles = Table(
    "run_roles",
    metadata,
    Column("run_no", ForeignKey("runs.run_no", ondelete="CASCADE"), nullable=False),
    Column("principal", String(128), nullable=False),
    Column("role", String(24), nullable=False),
    PrimaryKeyConstraint("run_no", "role", "principal"),
    Index("ix_run_roles_principal", "principal", "role", "run_no"),
)

#: One row a step, only ever appended: the event that caused it and the log entries it made (``entries`` is a JSON array,
#: its first element has sequence number ``first_seq``). Folding the events gives the run's state again.
run_steps = Table(
    "run_steps",
    metadata,
    Column("run_no", BigInteger, nullable=False),
    Column("step_no", Integer, nullable=False),
    Column("first_seq", Integer, nullable=False),
    Column("entry_count", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("entries", Text, nullable=False),
    PrimaryKeyConstraint("run_no", "step_no"),
    sqlite_with_rowid=False,
)

#: Due work: the one concurrency primitive. A claim sets ``owner``, moves ``due`` to the end of its lease (so that a lease
#: that runs out is simply due again) and raises ``fence`` and ``tries``; a write of the claimant checks owner and fence.
#: ``payload`` is the command as JSON; ``attempts`` counts calls whose outcome stayed unknown, ``last_error`` says why.
work = Table(
    "work",
    metadata,
    Column("work_no", Serial, primary_key=True),
    Column("run_no", BigInteger, nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("token", String(64), nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),
    Column("owner", String(36)),
    Column("fence", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text),
    Index("ix_work_due", "due"),
    sqlite_autoincrement=True,
)

#: Answers to requests that carried an ``Idempotency-Key``; kept 24 hours.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("caller", String(128), nullable=False),
    Column("key", String(256), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("caller", "key"),
)
