"""What users ask for, read from published documents and checked: functions, endpoints, submissions. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.json_text import Json, dumps, dumps_sorted
from schemas.principals import ALL_AUTHENTICATED_USERS, is_identity_or_group

from ..framing import FramingError, pack, source_code
from ..wire import MAX_FUNCTION_BYTES, MAX_PAYLOAD_BYTES, MAX_SUBMISSION_BYTES, MIB, OnLoss
from .members import Members, checked_bytes, checked_uuid, checked_uuids
from .refusals import invalid, malformed, refusal, too_large
from .rows.endpoints import Description

_MAX_NAME_CHARS = 256
_MAX_DESCRIPTION_CHARS = 64 * 1024
_MAX_META_BYTES = 64 * 1024
_MAX_USERS = 1_000
_MAX_ALLOWED_FUNCTIONS = 10_000
_MAX_DOCUMENT_BYTES = MIB
#: Most tasks of one submission.
MAX_TASKS = 10_000
_MAX_CONFIG_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFunction:
    name: str
    description: str
    meta: dict[str, Json]
    public: bool
    group_id: str | None
    on_loss: OnLoss
    max_requeues: int
    python_version: str
    code: str
    code_bytes: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.code.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """``held`` is the fence of each task that the agent's journal holds. It is empty and ``journal_id`` too when the
    document has no member ``agent``."""

    description: Description
    journal_id: str
    held: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """``calls`` are function id as it was written, packed arguments and their size, in the order of the request;
    ``functions`` are the ids as they were written, and in normal form. The two documents are JSON text, None when empty.
    """

    task_group_id: str | None
    submission_id: str | None
    calls: tuple[tuple[str, str, int], ...]
    functions: dict[str, str]
    user_endpoint_config: str | None
    resource_specification: str | None

    def sha256_for(self, endpoint_id: str) -> str:
        """Equal for equal requests."""
        asked = [endpoint_id, self.task_group_id, self.user_endpoint_config, self.resource_specification]
        return hashlib.sha256(dumps_sorted([asked, [call[:2] for call in self.calls]]).encode()).hexdigest()


def read_function(body: Json, *, max_requeues: int) -> NewFunction:
    """``max_requeues`` is the operator's limit, and what a function has that names none."""
    members = Members(body, "the function")
    meta = members.object("meta", most_bytes=_MAX_META_BYTES)
    _refuse_high_assurance(members, "ha_endpoint_id")
    # Ours may come among the free facts of ``meta``, where published clients can put them.
    options = Members({**meta, **members.document}, "the function")
    on_loss = options.choice("on_loss", default="report", among=("report", "requeue"))
    name = members.text("function_name", least_chars=1, most_chars=_MAX_NAME_CHARS)
    code = _code(members, name)
    python_version = meta.get("python_version")
    return NewFunction(
        name=name,
        description=members.text("description", default="", most_chars=_MAX_DESCRIPTION_CHARS),
        meta=meta,
        public=members.flag("public"),
        group_id=members.uuid("group"),
        on_loss="requeue" if on_loss == "requeue" else "report",
        max_requeues=options.integer("max_requeues", default=max_requeues, least=0, most=max_requeues),
        python_version=python_version if isinstance(python_version, str) else "",
        code=code,
        code_bytes=len(code.encode()),
    )


def read_registration(body: Json) -> Registration:
    members = Members(body, "the endpoint")
    members.object("metadata", most_bytes=_MAX_DOCUMENT_BYTES)
    for name in ("authentication_policy", "high_assurance"):
        _refuse_high_assurance(members, name)
    name = members.text("endpoint_name", least_chars=1, most_chars=_MAX_NAME_CHARS)
    allowed = (
        members.uuids("allowed_functions", most=_MAX_ALLOWED_FUNCTIONS) if members.has("allowed_functions") else None
    )
    agent = Members(members.document.get("agent") or {}, "the member 'agent'")
    document = {name: value for name, value in members.document.items() if name != "agent"}
    if len(dumps(document)) > _MAX_DOCUMENT_BYTES:
        raise malformed(f"the registration document is larger than {_MAX_DOCUMENT_BYTES} bytes")
    return Registration(
        description=Description(
            name=name,
            display_name=members.text("display_name", default=name, most_chars=_MAX_NAME_CHARS),
            public=members.flag("public"),
            users=_users(members),
            allowed_functions=None if allowed is None else tuple(allowed),
            document={**document, "multi_user": members.flag("multi_user")},
        ),
        journal_id=agent.text("journal_id", default="", most_chars=_MAX_NAME_CHARS),
        held=_held(agent),
    )


def _held(agent: Members) -> dict[str, int]:
    value = agent.document.get("held") or {}
    if not isinstance(value, dict) or not all(type(fence) is int for fence in value.values()):
        raise agent.wrong("held", "an object of task ids with the fence of each")
    where = agent.where("held")
    return {checked_uuid(task_id, where): fence for task_id, fence in value.items()}


def read_submission(body: Json) -> Submission:
    members = Members(body, "the submission")
    calls = _calls(members)
    return Submission(
        task_group_id=members.uuid("task_group_id"),
        submission_id=members.uuid("submission_id"),
        calls=tuple(calls),
        functions={given: checked_uuid(given, "a function's id") for given in dict.fromkeys(call[0] for call in calls)},
        user_endpoint_config=_text_of(members.object("user_endpoint_config", most_bytes=_MAX_CONFIG_BYTES)),
        resource_specification=_text_of(members.object("resource_specification", most_bytes=_MAX_CONFIG_BYTES)),
    )


def read_task_ids(task_ids: Json) -> list[str]:
    return checked_uuids(task_ids, "task_ids", most=MAX_TASKS)


def _code(members: Members, name: str) -> str:
    where = members.where("function_code")
    code = members.document.get("function_code")
    if not isinstance(code, str) or not code:
        raise members.wrong("function_code", "the function as text")
    if (size := checked_bytes(code, where)) > MAX_FUNCTION_BYTES:
        reason = f"{where} has {size} bytes; the limit is {MAX_FUNCTION_BYTES}. Install at the endpoint what it needs"
        raise refusal(413, "FUNCTION_TOO_LARGE", reason, "function_code")
    if members.document.get("serialized", True) is not False:
        return code
    try:
        return pack([source_code(code, name)])
    except FramingError as error:
        raise invalid(f"{where} cannot be used: {error}", "function_code") from error


def _refuse_high_assurance(members: Members, name: str) -> None:
    """What asks for a protection that this service does not give is refused, not ignored."""
    if members.document.get(name):
        reason = f"{members.where(name)} asks for a policy that this service cannot enforce; leave it out"
        raise invalid(reason, name)


def _users(members: Members) -> tuple[str, ...]:
    users = members.document.get("users")
    users = [users] if isinstance(users, str) else users or []
    if not isinstance(users, list) or len(users) > _MAX_USERS:
        raise members.wrong("users", f"a list of at most {_MAX_USERS} principals")
    for one in users:
        if not isinstance(one, str) or not (one == ALL_AUTHENTICATED_USERS or is_identity_or_group(one)):
            reason = (
                f"{members.where('users')} holds {str(one)[:100]!r}; what may stand there are identities "
                f"(urn:globus:auth:identity:<uuid>), groups (urn:globus:groups:id:<uuid>) and {ALL_AUTHENTICATED_USERS!r}"
            )
            raise invalid(reason, "users")
    return tuple(dict.fromkeys(users))


def _calls(members: Members) -> list[tuple[str, str, int]]:
    asked = members.document.get("tasks")
    if not isinstance(asked, dict) or not asked:
        raise members.wrong("tasks", "an object of function ids, each with the list of its tasks' packed arguments")
    calls: list[tuple[str, str, int]] = []
    total = 0
    for function_id, payloads in asked.items():
        checked_uuid(function_id, f"a name in {members.where('tasks')}")
        if not isinstance(payloads, list):
            raise malformed(f"the tasks of function {function_id} must be a list of packed arguments", function_id)
        for i, payload in enumerate(payloads):
            size = _payload_bytes(payload, f"the payload of task {i} of function {function_id}", function_id)
            total += size
            calls.append((function_id, payload, size))
    if not calls:
        raise malformed(f"{members.where('tasks')} holds no task", "tasks")
    if len(calls) > MAX_TASKS:
        reason = f"the submission has {len(calls)} tasks; the limit is {MAX_TASKS}. Send several submissions"
        raise malformed(reason, "tasks")
    if total > MAX_SUBMISSION_BYTES:
        reason = (
            f"the payloads of the submission have {total} bytes together; the limit is {MAX_SUBMISSION_BYTES}. Send "
        )
        raise too_large(reason + "fewer tasks at a time", "tasks")
    return calls


def _payload_bytes(payload: Json, where: str, function_id: str) -> int:
    if not isinstance(payload, str):
        raise malformed(f"{where} must be text, the packed arguments", function_id)
    if (size := checked_bytes(payload, where)) > MAX_PAYLOAD_BYTES:
        reason = (
            f"{where} has {size} bytes; the limit is {MAX_PAYLOAD_BYTES}. Put large data where the endpoint can read it"
        )
        raise too_large(f"{reason}, and send its place", function_id)
    return size


def _text_of(document: dict[str, Json]) -> str | None:
    return dumps(document) if document else None
