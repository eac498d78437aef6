"""The rules of the Action Provider API that ``testing.check_provider`` tries, each a function of a Subject.

Source: Action Provider Tools, ``actions_spec.openapi.yaml``; what goes beyond it (a request_id that outlives a release)
is what an engine needs to start every action at most once.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeAlias

import jsonschema

from schemas.action import ActionStatus
from schemas.json_text import Json
from schemas.principals import identity_of

_DESCRIPTION_MEMBERS: Mapping[str, type] = {
    "types": list,
    "api_version": str,
    "title": str,
    "synchronous": bool,
    "log_supported": bool,
    "runnable_by": list,
    "globus_auth_scope": str,
    "admin_contact": str,
    "input_schema": dict,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; ``document`` is None when the body is not JSON. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    document: Json


class Transport(Protocol):
    """One HTTP exchange with the provider; ``path`` is relative to its base URL and begins with '/' or is empty."""

    def __call__(self, method: str, path: str, headers: Mapping[str, str], data: bytes | None) -> Reply: ...


@dataclass(kw_only=True)
class Subject:
    """The provider under test, and what the checks may use. Every request_id is fresh."""

    call: Transport
    token: str
    body: Json
    slow_body: Json | None = None
    bad_body: Json | None = None
    other_token: str | None = None
    wait_s: float = 30.0
    _description: Json = field(default=None, init=False)
    _finished: Json = field(default=None, init=False)

    def send(self, method: str, path: str, document: Json = None, **options: Any) -> Reply:
        """``token=None`` sends none; ``raw`` sends these bytes instead of a document."""
        token = options.get("token", self.token)
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = options.get("raw", None if document is None else json.dumps(document).encode())
        if data is not None:
            headers["Content-Type"] = "application/json"
        return self.call(method, path, headers, data)

    def request(self, **members: Any) -> dict[str, Any]:
        return {"request_id": str(uuid.uuid4()), "body": self.body} | members

    def start(self, body: Json | None = None, **members: Any) -> ActionStatus:
        reply = self.send("POST", "/run", self.request(**({} if body is None else {"body": body}), **members))
        return _status(reply, 202)

    @property
    def description(self) -> dict[str, Any]:
        if self._description is None:
            self._description = _expect(self.send("GET", "/"), 200).document
        if not isinstance(self._description, dict):
            _broken("introspection is not answered with a JSON object")
        return self._description

    def finished(self) -> ActionStatus:
        """An action that has ended; the same for all checks that do not release it."""
        if self._finished is None:
            self._finished = self.until_final(self.start())
        return ActionStatus.from_json(self._finished.document)

    def until_final(self, status: ActionStatus) -> ActionStatus:
        end = time.monotonic() + self.wait_s
        pause_s = 0.02
        while not status.status.is_final:
            if time.monotonic() > end:
                _broken(f"the action is still {status.status.value} after {self.wait_s:g} s")
            time.sleep(pause_s)
            pause_s = min(1.0, pause_s * 1.5)
            status = _status(self.send("GET", f"/{status.action_id}/status"), 200)
        return status

    def slow(self) -> ActionStatus:
        """An action that is ACTIVE for a while."""
        if self.slow_body is None:
            raise Skipped("no slow_body was given")
        status = self.start(self.slow_body)
        if status.status.is_final:
            raise Skipped(f"the action with slow_body was {status.status.value} at once")
        return status


class Broken(Exception):
    """The rule does not hold."""


class Skipped(Exception):
    """The rule cannot be tried here."""


Rule: TypeAlias = Callable[[Subject], None]
RULES: dict[str, Rule] = {}


def _rule(name: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES[name] = rule
        return rule

    return register


def _broken(why: str) -> NoReturn:
    raise Broken(why)


def _expect(reply: Reply, *statuses: int) -> Reply:
    if reply.status not in statuses:
        wanted = " or ".join(map(str, statuses))
        _broken(f"answered {reply.status} instead of {wanted}: {str(reply.document)[:200]}")
    return reply


def _status(reply: Reply, *statuses: int) -> ActionStatus:
    try:
        return ActionStatus.from_json(_expect(reply, *statuses).document)
    except ValueError as error:
        raise Broken(f"the status document is wrong: {error}") from error


def _refused(reply: Reply, *statuses: int) -> None:
    """The reply is an error in the envelope ``{"code": name, "description": text}``."""
    document = _expect(reply, *statuses).document
    if not isinstance(document, dict) or not all(isinstance(document.get(m), str) for m in ("code", "description")):
        _broken(f"the error document has no text members code and description: {str(document)[:200]}")


@_rule("introspection is answered with a JSON object")
def _introspection(subject: Subject) -> None:
    if not subject.description:
        _broken("the object is empty")


@_rule("introspection has every required member")
def _members(subject: Subject) -> None:
    for name, kind in _DESCRIPTION_MEMBERS.items():
        if not isinstance(subject.description.get(name), kind):
            _broken(f"{name} is missing or not a {kind.__name__}")


@_rule("the input schema is a JSON Schema and accepts the body")
def _schema(subject: Subject) -> None:
    try:
        jsonschema.validate(subject.body, subject.description["input_schema"])
    except (jsonschema.SchemaError, jsonschema.ValidationError, KeyError) as error:
        raise Broken(str(error).partition("\n")[0]) from error


@_rule("introspection is the same with and without a final slash")
def _slash(subject: Subject) -> None:
    if _expect(subject.send("GET", ""), 200).document != subject.description:
        _broken("the documents differ")


@_rule("introspection allows any origin")
def _cross_origin(subject: Subject) -> None:
    if subject.send("GET", "/").headers.get("access-control-allow-origin") != "*":
        _broken("the header Access-Control-Allow-Origin: * is missing")


@_rule("OPTIONS on the base answers 204 with cross-origin headers")
def _options(subject: Subject) -> None:
    if "access-control-allow-origin" not in _expect(subject.send("OPTIONS", "/", token=None), 204).headers:
        _broken("the header Access-Control-Allow-Origin is missing")


@_rule("a public provider describes itself without a token")
def _public(subject: Subject) -> None:
    public = "public" in subject.description.get("visible_to", ["public"])
    reply = subject.send("GET", "/", token=None)
    _expect(reply, 200) if public else _refused(reply, 401)


@_rule("a new request is answered 202 with a status document")
def _run(subject: Subject) -> None:
    subject.start()


@_rule("a status names its creator by identity URN and has details")
def _creator(subject: Subject) -> None:
    document = subject.finished().document
    if identity_of(str(document.get("creator_id"))) is None:
        _broken(f"creator_id is {document.get('creator_id')!r}")
    if not isinstance(document.get("details"), dict | str):
        _broken("details are missing")


@_rule("a synchronous provider answers run with a final status")
def _synchronous(subject: Subject) -> None:
    if not subject.description.get("synchronous"):
        raise Skipped("the provider is not synchronous")
    if not subject.start().status.is_final:
        _broken("the action was not finished")


@_rule("an action ends")
def _ends(subject: Subject) -> None:
    subject.finished()


@_rule("a label comes back in the status")
def _label(subject: Subject) -> None:
    if subject.start(label="check of the contract").document.get("label") != "check of the contract":
        _broken("the label is missing")


@_rule("a repeated request is answered 200 with the same action")
def _replay(subject: Subject) -> None:
    request = subject.request()
    first = _status(subject.send("POST", "/run", request), 202)
    again = _status(subject.send("POST", "/run", request), 200)
    if first.action_id != again.action_id:
        _broken("a second action was started")


@_rule("a repeated request may have its members in another order")
def _reordered(subject: Subject) -> None:
    request = subject.request(label="order")
    first = _status(subject.send("POST", "/run", request), 202)
    again = _status(subject.send("POST", "/run", dict(reversed(request.items()))), 200)
    if first.action_id != again.action_id:
        _broken("a second action was started")


@_rule("a request_id used again with other content is refused 409")
def _reused(subject: Subject) -> None:
    request = subject.request(label="one")
    _status(subject.send("POST", "/run", request), 202)
    _refused(subject.send("POST", "/run", request | {"label": "another"}), 409)


@_rule("another request_id starts another action")
def _another(subject: Subject) -> None:
    if subject.start().action_id == subject.start().action_id:
        _broken("both requests gave one action")


@_rule("the same request sent four times at once starts one action")
def _at_once(subject: Subject) -> None:
    request = subject.request()
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: subject.send("POST", "/run", request), range(4)))
    if len({_status(reply, 200, 202).action_id for reply in replies}) != 1:
        _broken("more than one action was started")
    if [reply.status for reply in replies].count(202) > 1:
        _broken("more than one answer was 202")


@_rule("POST /actions runs as /run does")
def _newer_run(subject: Subject) -> None:
    request = subject.request()
    first = _status(subject.send("POST", "/actions", request), 202)
    if _status(subject.send("POST", "/run", request), 200).action_id != first.action_id:
        _broken("the two routes do not share request_ids")


@_rule("GET /actions/<id> answers as /<id>/status does")
def _newer_status(subject: Subject) -> None:
    done = subject.finished()
    for path in (f"/{done.action_id}/status", f"/actions/{done.action_id}"):
        if _status(subject.send("GET", path), 200).document != done.document:
            _broken(f"{path} differs from the status when the action ended")


@_rule("GET /actions lists the caller's actions")
def _enumerate(subject: Subject) -> None:
    done = subject.finished()
    reply = subject.send("GET", "/actions?roles=creator_id&status=succeeded,failed")
    if reply.status in (404, 405, 501):
        raise Skipped("not supported, which is allowed")
    listed = _expect(reply, 200).document
    if not isinstance(listed, list) or done.action_id not in [
        one.get("action_id") for one in listed if isinstance(one, dict)
    ]:
        _broken("the answer is not a list with the action in it")


def _unauthorized(path: str, method: str, token: str | None) -> Rule:
    def rule(subject: Subject) -> None:
        document = subject.request() if method == "POST" else None
        target = path.format(subject.finished().action_id)
        _refused(subject.send(method, target, document, token=token), 401)

    return rule


def _unknown(path: str, method: str) -> Rule:
    def rule(subject: Subject) -> None:
        _refused(subject.send(method, path.format(uuid.uuid4())), 404)

    return rule


def _unacceptable(change: Callable[[dict[str, Any]], Json]) -> Rule:
    def rule(subject: Subject) -> None:
        _refused(subject.send("POST", "/run", change(subject.request())), 400, 422)

    return rule


def _without(name: str) -> Callable[[dict[str, Any]], Json]:
    return lambda request: {key: value for key, value in request.items() if key != name}


RULES |= {
    "run without a token is refused 401": _unauthorized("/run", "POST", None),
    "run with an unknown token is refused 401": _unauthorized("/run", "POST", "not-a-token"),
    "status without a token is refused 401": _unauthorized("/{}/status", "GET", None),
    "status of an unknown action is 404": _unknown("/{}/status", "GET"),
    "cancel of an unknown action is 404": _unknown("/{}/cancel", "POST"),
    "release of an unknown action is 404": _unknown("/{}/release", "POST"),
    "a request without request_id is refused": _unacceptable(_without("request_id")),
    "a request without body is refused": _unacceptable(_without("body")),
    "a request with an unknown member is refused": _unacceptable(lambda request: request | {"colour": "red"}),
    "a body that is not an object is refused": _unacceptable(lambda request: request | {"body": "text"}),
    "a request_id that is not text is refused": _unacceptable(lambda request: request | {"request_id": 7}),
    "a monitor that is no principal is refused": _unacceptable(lambda request: request | {"monitor_by": ["me"]}),
    "a request that is a list is refused": _unacceptable(lambda request: [request]),
}


@_rule("text that is not JSON is refused 400")
def _not_json(subject: Subject) -> None:
    _refused(subject.send("POST", "/run", raw=b'{"request_id": '), 400)


@_rule("a body that breaks the input schema is refused")
def _bad_body(subject: Subject) -> None:
    if subject.bad_body is None:
        raise Skipped("no bad_body was given")
    _refused(subject.send("POST", "/run", subject.request(body=subject.bad_body)), 400, 422)


@_rule("somebody without a role on the action cannot see or end it")
def _somebody_else(subject: Subject) -> None:
    if subject.other_token is None:
        raise Skipped("no other_token was given")
    done = subject.finished()
    for method, operation in (("GET", "status"), ("POST", "cancel"), ("POST", "release")):
        reply = subject.send(method, f"/{done.action_id}/{operation}", token=subject.other_token)
        _refused(reply, 401, 403, 404)


@_rule("cancel of a finished action changes nothing")
def _cancel_finished(subject: Subject) -> None:
    done = subject.finished()
    reply = subject.send("POST", f"/{done.action_id}/cancel")
    if reply.status != 409 and _status(reply, 200).document != done.document:
        _broken("the status changed")


@_rule("resume of a finished action is refused")
def _resume_finished(subject: Subject) -> None:
    _refused(subject.send("POST", f"/{subject.finished().action_id}/resume"), 404, 405, 409, 501)


@_rule("log is answered when it is supported, else refused")
def _log(subject: Subject) -> None:
    reply = subject.send("GET", f"/{subject.finished().action_id}/log")
    _expect(reply, 200) if subject.description.get("log_supported") else _refused(reply, 404, 405, 501)


@_rule("release of an active action is refused 409")
def _release_active(subject: Subject) -> None:
    slow = subject.slow()
    _refused(subject.send("POST", f"/{slow.action_id}/release"), 409)
    subject.send("POST", f"/{slow.action_id}/cancel")


@_rule("a cancelled action ends")
def _cancel_active(subject: Subject) -> None:
    slow = subject.slow()
    subject.until_final(_status(subject.send("POST", f"/{slow.action_id}/cancel"), 200, 202))


@_rule("a released action answers 404, and its request starts no second one")
def _release(subject: Subject) -> None:
    request = subject.request()
    done = subject.until_final(_status(subject.send("POST", "/run", request), 202))
    _status(subject.send("POST", f"/{done.action_id}/release"), 200)
    _refused(subject.send("GET", f"/{done.action_id}/status"), 404)
    _refused(subject.send("POST", f"/{done.action_id}/release"), 404)
    _expect(subject.send("POST", "/run", request), 200, 404, 409, 410)


@_rule("DELETE /actions/<id> releases")
def _newer_release(subject: Subject) -> None:
    done = subject.until_final(subject.start())
    _status(subject.send("DELETE", f"/actions/{done.action_id}"), 200)
    _refused(subject.send("GET", f"/actions/{done.action_id}"), 404)
