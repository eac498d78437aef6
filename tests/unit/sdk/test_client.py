"""The SDK's client against a scripted server: tokens, repetition, pages, waiting, errors."""

from __future__ import annotations

from typing import Any

import pytest

from flows_engine.sdk import ApiError, Client, ClientError, RunNotFinishedError, UnreachableError
from tests.unit.sdk.scripted_server import Answer, ScriptedServer

FLOW = "6b63ebe4-0f4c-4b5c-a1fb-7c5d1f3f4f51"
FLOW_SCOPE = f"https://auth.globus.org/scopes/{FLOW}/flow_6b63ebe4_0f4c_4b5c_a1fb_7c5d1f3f4f51_user"


def run_document(status: str = "ACTIVE", **members: Any) -> dict[str, Any]:
    return {"run_id": "r-1", "flow_id": FLOW, "status": status, "details": {}} | members


def log_page(codes: list[str], marker: str | None = None) -> Answer:
    return Answer(
        body={"entries": [{"code": one} for one in codes], "has_next_page": marker is not None, "marker": marker}
    )


def test_one_token_serves_many_calls_of_a_scope() -> None:
    server = ScriptedServer(Answer(body={"id": "a"}), Answer(body={"id": "b"}))
    client = server.client()
    client.get_flow("a")
    client.get_flow("b")
    assert len(server.token_requests) == 1
    assert [one.headers["AUTHORIZATION"] for one in server.requests] == ["Bearer token-1"] * 2


def test_a_token_that_has_run_out_is_renewed() -> None:
    server = ScriptedServer(Answer(body={}), Answer(body={}), token_life_s=0)
    client = server.client()
    client.get_flow("a")
    client.get_flow("b")
    assert [one.headers["AUTHORIZATION"] for one in server.requests] == ["Bearer token-1", "Bearer token-2"]


def test_a_refused_token_is_renewed_once() -> None:
    refused = Answer(401, {"error": {"code": "AUTHENTICATION_ERROR", "detail": "Expired"}})
    server = ScriptedServer(refused, Answer(body={"id": "a"}))
    assert server.client().get_flow("a") == {"id": "a"}
    server.answers = [refused, refused]
    with pytest.raises(ApiError) as caught:
        server.client().get_flow("a")
    assert caught.value.status == 401


def test_starting_a_run_uses_the_scope_of_the_flow_and_a_key() -> None:
    server = ScriptedServer(Answer(201, run_document()))
    server.client().run_flow(FLOW, {"x": 1}, label="mine", tags=["a"])
    assert FLOW_SCOPE.replace(":", "%3A").replace("/", "%2F") in server.token_requests[0].body
    request = server.requests[0]
    assert request.json == {"body": {"x": 1}, "tags": ["a"], "label": "mine"}
    assert len(request.headers["IDEMPOTENCY_KEY"]) == 36


def test_a_start_that_was_not_answered_is_repeated_with_the_same_key() -> None:
    busy = Answer(503, {"error": {"code": "BUSY", "detail": "later"}}, headers=(("Retry-After", "3"),))
    server = ScriptedServer(busy, Answer(502, raw=b"<html>"), Answer(201, run_document()))
    assert server.client().run_flow(FLOW).run_id == "r-1"
    assert len({one.headers["IDEMPOTENCY_KEY"] for one in server.requests}) == 1
    assert server.pauses == [3.0, 0.4]


def test_what_may_have_an_effect_is_not_repeated() -> None:
    server = ScriptedServer(Answer(503, {"error": {"code": "BUSY", "detail": "later"}}))
    with pytest.raises(ApiError, match="later"):
        server.client().create_flow("title", {})
    assert len(server.requests) == 1


def test_a_redirect_is_an_error_and_not_followed() -> None:
    server = ScriptedServer(Answer(302, headers=(("Location", "http://elsewhere.example/"),)))
    with pytest.raises(ApiError) as caught:
        server.client().get_flow("a")
    assert caught.value.status == 302
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_said_in_one_sentence() -> None:
    client = Client("http://127.0.0.1:1", client_id="me", client_secret="hidden", pause=lambda _s: None)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 gave no answer: nothing listens there"):
        client.get_flow("a")


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ClientError, match="is not the address of a server"):
        Client("localhost:8765", client_id="me", client_secret="hidden")


def test_lists_ask_for_the_next_page_when_it_is_needed() -> None:
    server = ScriptedServer(
        Answer(body={"flows": [{"id": 1}, {"id": 2}], "has_next_page": True, "marker": "m"}),
        Answer(body={"flows": [{"id": 3}], "has_next_page": False, "marker": None}),
    )
    flows = server.client().list_flows(filter_keywords=["a", "b"])
    assert next(flows) == {"id": 1}
    assert len(server.requests) == 1
    assert [one["id"] for one in flows] == [2, 3]
    assert server.requests[0].query == {"per_page": "100", "filter_keywords": "a,b"}
    assert server.requests[1].query == {"marker": "m"}


def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    server = ScriptedServer(Answer(404, {"error": {"code": "NOT_FOUND", "detail": "no"}}))
    with pytest.raises(ApiError):
        server.client().get_flow("../runs?x")
    assert server.requests[0].path == "/flows/flows/../runs?x"
    assert server.requests[0].query == {}


def test_an_update_is_guarded_by_the_version_that_was_read() -> None:
    server = ScriptedServer(Answer(body={}))
    server.client().update_flow(FLOW, if_match="2026-01-01", title="new")
    assert server.requests[0].headers["IF_MATCH"] == '"2026-01-01"'
    assert server.requests[0].json == {"title": "new"}


def test_waiting_asks_ever_less_often_and_at_once_more_often_after_news() -> None:
    active, page = Answer(body=run_document()), log_page(["FlowStarted"])
    server = ScriptedServer(Answer(201, run_document()))
    run = server.client().run_flow(FLOW)
    server.answers = [active, page] * 10 + [active, log_page(["FlowStarted", "WaitStarted"])]
    server.answers += [Answer(body=run_document("SUCCEEDED", details={"output": {"y": 2}}))]
    server.answers += [log_page(["FlowStarted", "WaitStarted", "FlowSucceeded"])]
    seen: list[str] = []
    run.wait(on_event=lambda entry: seen.append(entry["code"]))
    assert seen == ["FlowStarted", "WaitStarted", "FlowSucceeded"]
    assert run.output == {"y": 2}
    assert server.pauses[0] == 0.05
    assert server.pauses[1:10] == sorted(server.pauses[1:10])
    assert max(server.pauses) == 1.0
    assert server.pauses[10] == 0.05


def test_every_entry_of_a_long_log_is_seen_once() -> None:
    server = ScriptedServer(Answer(201, run_document()))
    run = server.client().run_flow(FLOW)
    server.answers = [
        Answer(body=run_document()),
        log_page(["1", "2"], "m1"),
        log_page(["3"]),
        Answer(body=run_document("FAILED")),
        log_page(["3", "4"], "m2"),
        log_page(["5"]),
    ]
    seen: list[str] = []
    run.wait(on_event=lambda entry: seen.append(entry["code"]))
    assert seen == ["1", "2", "3", "4", "5"]
    assert run.output is None


def test_waiting_ends_when_somebody_has_to_act() -> None:
    server = ScriptedServer(Answer(201, run_document()))
    run = server.client().run_flow(FLOW)
    server.answers = [Answer(body=run_document("INACTIVE"))]
    assert run.wait().status == "INACTIVE"


def test_waiting_ends_when_its_time_is_over() -> None:
    server = ScriptedServer(Answer(201, run_document()))
    run = server.client().run_flow(FLOW)
    server.answers = [Answer(body=run_document())]
    with pytest.raises(RunNotFinishedError, match="r-1 is still ACTIVE after 0 s"):
        run.wait(timeout_s=0)


def test_resuming_uses_the_scope_of_the_flow() -> None:
    server = ScriptedServer(Answer(body=run_document("INACTIVE")), Answer(body=run_document()))
    run = server.client().get_run("r-1")
    assert run.resume().status == "ACTIVE"
    assert len(server.token_requests) == 2
    assert server.requests[1].path == "/flows/runs/r-1/resume"


PROBLEMS = [{"loc": ["body", "title"], "msg": "too long"}, {"loc": [], "msg": "odd"}]


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (Answer(404, {"error": {"code": "NOT_FOUND", "detail": "No Flow"}}), "NOT_FOUND", "No Flow"),
        (
            Answer(500, {"error": {"code": "INTERNAL_ERROR", "detail": "It failed"}, "debug_id": "d-1"}),
            "INTERNAL_ERROR",
            "It failed (debug_id d-1)",
        ),
        (
            Answer(422, {"error": {"code": "UNPROCESSABLE_ENTITY", "detail": PROBLEMS}}),
            "UNPROCESSABLE_ENTITY",
            "2 problems with what was sent:\n  body.title: too long\n  odd",
        ),
        (
            Answer(422, {"error": {"code": "UNPROCESSABLE_ENTITY", "detail": PROBLEMS[:1]}}),
            "UNPROCESSABLE_ENTITY",
            "body.title: too long",
        ),
        (Answer(401, {"errors": [{"code": "UNAUTHORIZED", "detail": "wrong"}]}), "UNAUTHORIZED", "wrong"),
        (
            Answer(418, raw=b"<html>"),
            "UNKNOWN_ANSWER",
            "http://127.0.0.1:8765/flows/flows/x answered 418 Some Reason, and not as a flows server does",
        ),
        (Answer(400, {"error": "text"}), "UNKNOWN_ANSWER", None),
        (Answer(400, {"error": {"detail": None}}), "ERROR", "the service gave no reason"),
    ],
)
def test_every_error_document_becomes_a_sentence(answer: Answer, code: str, text: str | None) -> None:
    server = ScriptedServer(answer, answer)
    with pytest.raises(ApiError) as caught:
        server.client().delete_flow("x")
    assert caught.value.code == code
    if text is not None:
        assert str(caught.value) == text


def test_an_answer_that_is_no_json_is_said_to_be_none_of_ours() -> None:
    with pytest.raises(ClientError, match="did not answer with JSON; is it a flows server"):
        ScriptedServer(Answer(200, raw=b"<html>")).client().get_flow("a")
