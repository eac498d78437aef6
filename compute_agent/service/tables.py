"""Tables of the compute service.

Times are integer microseconds since the epoch, JSON is text, identifiers are UUID text, flags are 0 or 1.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from schemas.naming import NAMING_CONVENTION

metadata = MetaData(naming_convention=NAMING_CONVENTION)

#: Row numbers; SQLite counts rows only in a column of exactly this type.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


#: Who has submitted tasks, and how many of them are unfinished: the quota.
users = Table(
    "compute_users",
    metadata,
    Column("user_no", _NUMBER, primary_key=True),
    Column("urn", String(128), nullable=False, unique=True),
    Column("unfinished", Integer, nullable=False),
)

#: A deleted function keeps its row, and its code until no unfinished task needs it.
functions = Table(
    "compute_functions",
    metadata,
    Column("function_no", _NUMBER, primary_key=True),
    Column("function_id", String(36), nullable=False, unique=True),
    Column("owner", String(128), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("meta", Text, nullable=False),
    Column("public", Integer, nullable=False),
    Column("group_id", String(36)),
    Column("on_loss", String(7), nullable=False),
    Column("max_requeues", Integer, nullable=False),
    Column("python_version", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("sha256", String(64), nullable=False),
    Column("code_bytes", Integer, nullable=False),
    Column("code", Text, nullable=False),
    _partial("ix_compute_functions_owner", "owner", "function_no", where="deleted_at IS NULL"),
    _partial("ix_compute_functions_deleted", "deleted_at", where="deleted_at IS NOT NULL AND code_bytes > 0"),
)

#: An endpoint and the session of its agent. ``registration`` is the document the agent sent last. ``batch`` is the
#: number of the last answer to ``lease`` in this session, ``lease_call`` the number that its agent gave that call.
#: ``heard_at`` is any call of the agent, ``lease_from`` the last that named the tasks it holds. ``stopped_at`` is set
#: while no agent is wanted: the last one left in order, or the endpoint was locked. ``settled`` is 0 while a deleted
#: endpoint has tasks to be ended.
endpoints = Table(
    "compute_endpoints",
    metadata,
    Column("endpoint_no", _NUMBER, primary_key=True),
    Column("endpoint_id", String(36), nullable=False, unique=True),
    Column("owner", String(128), nullable=False),
    Column("name", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("public", Integer, nullable=False),
    Column("users", Text, nullable=False),
    Column("allowed_functions", Text),
    Column("registration", Text, nullable=False),
    Column("session", Integer, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("lease_call", Integer, nullable=False),
    Column("journal_id", Text, nullable=False),
    Column("heard_at", BigInteger, nullable=False),
    Column("lease_from", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("stop_wanted", Integer, nullable=False),
    Column("stopped_at", BigInteger),
    Column("locked_until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("settled", Integer, nullable=False),
    _partial("ix_compute_endpoints_owner", "owner", "endpoint_no", where="deleted_at IS NULL"),
    _partial("ix_compute_endpoints_unsettled", "endpoint_no", where="settled = 0"),
)

#: Who besides the owner may submit to an endpoint. For lists; the endpoint's ``users`` column is what decides.
endpoint_users = Table(
    "compute_endpoint_users",
    metadata,
    Column("endpoint_no", _NUMBER, nullable=False),
    Column("principal", String(128), nullable=False),
    PrimaryKeyConstraint("endpoint_no", "principal"),
    Index("ix_compute_endpoint_users_principal", "principal"),
)

#: ``finished_no`` counts the tasks of the group that ended. Whoever ends one raises it under the lock of this row, so
#: results become visible in the order of their numbers and a reader who asks for those after one misses none.
task_groups = Table(
    "compute_task_groups",
    metadata,
    Column("group_no", _NUMBER, primary_key=True),
    Column("group_id", String(36), nullable=False, unique=True),
    Column("user_no", _NUMBER, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("unfinished", Integer, nullable=False),
    Column("finished_no", Integer, nullable=False),
)

#: A task, oldest first by number. ``held_by`` is the session whose agent has it, else NULL; ``batch`` the call to
#: ``lease`` that gave it away. ``unseen_since`` is since when no heartbeat has named it; NULL when the last one did.
#: ``cancel_told`` is set on a cancelled task whose agent must hear of it: 0, or the batch whose answer said so.
tasks = Table(
    "compute_tasks",
    metadata,
    Column("task_no", _NUMBER, primary_key=True),
    Column("task_id", String(36), nullable=False, unique=True),
    Column("group_no", _NUMBER, nullable=False),
    Column("endpoint_no", _NUMBER, nullable=False),
    Column("function_no", _NUMBER, nullable=False),
    Column("user_no", _NUMBER, nullable=False),
    Column("state", String(9), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("requeues", Integer, nullable=False),
    Column("held_by", Integer),
    Column("batch", Integer, nullable=False),
    Column("unseen_since", BigInteger),
    Column("cancel_told", Integer),
    Column("submitted_at", BigInteger, nullable=False),
    Column("leased_at", BigInteger),
    Column("begun_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("finish_no", Integer),
    Column("payload_bytes", Integer, nullable=False),
    Column("user_endpoint_config", Text),
    Column("resource_specification", Text),
    _partial("ix_compute_tasks_queue", "endpoint_no", "task_no", where="state = 'QUEUED'"),
    _partial("ix_compute_tasks_held", "endpoint_no", "leased_at", where="held_by IS NOT NULL"),
    _partial("ix_compute_tasks_cancel", "endpoint_no", where="cancel_told IS NOT NULL"),
    _partial("ix_compute_tasks_finished_at", "finished_at", where="finished_at IS NOT NULL"),
    Index("ix_compute_tasks_group", "group_no", "finish_no"),
    Index("ix_compute_tasks_user", "user_no", "task_no"),
)

#: The packed arguments of a task that has not ended.
payloads = Table(
    "compute_payloads",
    metadata,
    Column("task_no", _NUMBER, primary_key=True, autoincrement=False),
    Column("payload", Text, nullable=False),
)

#: How a task ended. ``result_bytes`` is of result and message together.
results = Table(
    "compute_results",
    metadata,
    Column("task_no", _NUMBER, primary_key=True, autoincrement=False),
    Column("result_bytes", Integer, nullable=False),
    Column("error_code", Text),
    Column("details", Text, nullable=False),
    Column("error_message", Text),
    Column("result", Text),
)

#: Submissions that came with an id of their own: a repeated one is given the answer of the first.
submissions = Table(
    "compute_submissions",
    metadata,
    Column("user_no", _NUMBER, nullable=False),
    Column("submission_id", String(36), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("submitted_at", BigInteger, nullable=False),
    Column("answer", Text, nullable=False),
    PrimaryKeyConstraint("user_no", "submission_id"),
    Index("ix_compute_submissions_submitted_at", "submitted_at"),
)
