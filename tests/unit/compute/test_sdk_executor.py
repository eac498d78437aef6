"""The executor against a service in memory: what is sent when, what futures become, what is waited for and how."""

from __future__ import annotations

import concurrent.futures
import logging
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, as_completed
from itertools import count, islice
from typing import Any

import pytest

from compute_agent import framing
from compute_agent.sdk import (
    ApiError,
    ClientError,
    Executor,
    NoEndpointError,
    PayloadTooLargeError,
    PickleRefused,
    PythonVersionWarning,
    SerializationError,
    TaskFailed,
    TaskLost,
    TaskUnknownError,
    UnreachableError,
    submitter,
)
from tests.unit.compute.sdk_service import ENDPOINT, PATIENCE_S, ComputeInMemory, Fault, refusal


def square(number: float) -> float:
    return number * number


def divide(dividend: float, divisor: float) -> float:
    return dividend / divisor


@pytest.fixture
def service() -> ComputeInMemory:
    return ComputeInMemory()


@pytest.fixture
def running() -> ComputeInMemory:
    """A service whose tasks end as soon as they are submitted."""
    return ComputeInMemory(running=True)


@pytest.fixture
def executor(service: ComputeInMemory) -> Iterator[Executor]:
    yield (made := Executor(ENDPOINT, client=service.client()))
    service.submit_gate.set()
    made.shutdown(wait=False)
    for task_id in list(service.tasks):
        service.end(task_id, "CANCELLED")  # so that nobody waits any longer


def submitted(service: ComputeInMemory, executor: Executor, *arguments: Any) -> concurrent.futures.Future[Any]:
    """A future whose task the service has."""
    future = executor.submit(square, *(arguments or (3,)))
    service.wait(lambda: future.task_id is not None)
    return future


# results


def test_a_function_runs_elsewhere_and_its_result_comes_back(running: ComputeInMemory) -> None:
    with Executor(ENDPOINT, client=running.client()) as executor:
        assert executor.submit(square, 3).result(PATIENCE_S) == 9


def test_results_come_to_the_future_they_belong_to_in_whatever_order(
    service: ComputeInMemory, executor: Executor
) -> None:
    futures = [executor.submit(square, number) for number in range(20)]
    service.wait(lambda: all(one.task_id for one in futures))
    for future in reversed(futures):
        service.succeed(future.task_id or "", f"of {future.task_id}")
    assert [one.result(PATIENCE_S) for one in futures] == [f"of {one.task_id}" for one in futures]


def test_as_completed_gives_what_ends_first(service: ComputeInMemory, executor: Executor) -> None:
    first, second = submitted(service, executor), submitted(service, executor)
    service.succeed(second.task_id, 2)
    assert next(as_completed([first, second], PATIENCE_S)) is second


def test_a_remote_exception_is_also_of_its_own_type_and_shows_the_remote_traceback(running: ComputeInMemory) -> None:
    with Executor(ENDPOINT, client=running.client()) as executor:
        future = executor.submit(divide, 1, 0)
        with pytest.raises(ZeroDivisionError) as caught:
            future.result(PATIENCE_S)
    assert isinstance(caught.value, TaskFailed)
    assert str(caught.value).startswith("Traceback (most recent call last):")
    assert str(caught.value).rstrip().endswith("ZeroDivisionError: division by zero")
    assert caught.value.task_id == future.task_id


def test_a_lost_task_says_so(service: ComputeInMemory, executor: Executor) -> None:
    future = submitted(service, executor)
    service.fail(future.task_id, "AgentLost", "the agent fell silent", state="LOST")
    with pytest.raises(TaskLost, match="AgentLost: the agent fell silent"):
        future.result(PATIENCE_S)


def test_a_task_that_somebody_cancelled_is_a_cancelled_future(service: ComputeInMemory, executor: Executor) -> None:
    future = submitted(service, executor)
    service.end(future.task_id, "CANCELLED")
    with pytest.raises(CancelledError):
        future.result(PATIENCE_S)
    assert future.cancelled()


def test_a_pickled_result_is_read_only_by_consent(running: ComputeInMemory) -> None:
    def make() -> object:
        return types.SimpleNamespace(number=1)

    with Executor(ENDPOINT, client=running.client()) as executor:
        future = executor.submit(make)
        with pytest.raises(PickleRefused, match=r"allow_pickle=True") as caught:
            future.result(PATIENCE_S)
        assert future.task_id in str(caught.value)
    with Executor(ENDPOINT, client=running.client(), allow_pickle=True) as executor:
        assert executor.submit(make).result(PATIENCE_S).number == 1


# sending


def test_one_task_is_sent_at_once_and_what_comes_meanwhile_together(
    service: ComputeInMemory, executor: Executor
) -> None:
    executor.submit(square, 0).cancel()  # so that the function is registered before
    service.submit_gate.clear()
    before = service.count("submit")
    first = executor.submit(square, 1)
    service.wait(lambda: service.count("submit") == before + 1)
    others = [executor.submit(square, number) for number in range(200)]
    service.submit_gate.set()
    service.wait(lambda: all(one.task_id for one in [first, *others]))
    sizes = [sum(map(len, one["tasks"].values())) for one in service.submissions[-3:]]
    assert sizes == [1, 128, 72]


def test_a_submission_stays_below_ten_mebibytes(service: ComputeInMemory, executor: Executor) -> None:
    service.submit_gate.clear()
    text = "x" * 3_000_000
    futures = [executor.submit(square, text) for _ in range(8)]  # type: ignore[arg-type]
    service.submit_gate.set()
    service.wait(lambda: all(one.task_id for one in futures))
    assert max(len(ids) for one in service.submissions for ids in one["tasks"].values()) == 3


def test_tasks_of_other_terms_are_sent_apart(service: ComputeInMemory, executor: Executor) -> None:
    service.submit_gate.clear()
    executor.user_endpoint_config = {"account": "a"}
    futures = [executor.submit(square, 1)]
    executor.user_endpoint_config = {"account": "b"}
    executor.resource_specification = {"num_nodes": 2}
    futures += [executor.submit(square, 2), executor.submit(square, 3)]
    service.submit_gate.set()
    service.wait(lambda: all(one.task_id for one in futures))
    terms = [(one.get("user_endpoint_config"), one.get("resource_specification")) for one in service.submissions]
    assert terms == [({"account": "a"}, None), ({"account": "b"}, {"num_nodes": 2})]


def test_what_was_submitted_is_sent_before_the_program_ends(service: ComputeInMemory, executor: Executor) -> None:
    futures = [executor.submit(square, number) for number in range(300)]
    submitter._send_the_rest()
    assert all(one.task_id for one in futures)


def test_a_configuration_counts_as_it_was_at_the_submit(service: ComputeInMemory, executor: Executor) -> None:
    service.submit_gate.clear()
    executor.user_endpoint_config = options = {"account": "a"}
    future = executor.submit(square, 1)
    options["account"] = "b"
    service.submit_gate.set()
    service.wait(lambda: future.task_id is not None)
    assert service.submissions[0]["user_endpoint_config"] == {"account": "a"}


def test_the_task_group_that_the_service_named_is_used_from_then_on(
    service: ComputeInMemory, executor: Executor
) -> None:
    first = submitted(service, executor)
    second = submitted(service, executor)
    assert "task_group_id" not in service.submissions[0]
    assert executor.task_group_id == first.task_group_id == second.task_group_id
    assert service.submissions[1]["task_group_id"] == executor.task_group_id


def test_a_submission_whose_answer_was_lost_is_repeated_under_its_id(
    service: ComputeInMemory, executor: Executor
) -> None:
    service.faults["submit"] = [Fault(before=False), Fault(before=False)]
    future = submitted(service, executor)
    assert len({one["submission_id"] for one in service.submissions}) == 1
    assert len(service.submissions) == 3
    assert list(service.tasks) == [future.task_id]


def test_a_submission_waits_for_a_service_that_is_away(
    service: ComputeInMemory, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    service.faults["submit"] = [Fault()] * 12
    submitted(service, executor)
    assert sum("wait here" in one.message for one in caplog.records) == 1


def test_tasks_wait_here_while_the_service_has_no_room(
    service: ComputeInMemory, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute_agent.sdk.submitter._PATIENCE_S", 0.0)
    service.faults["submit"] = [refusal(429, "QUOTA_EXCEEDED")] * 12
    assert submitted(service, executor).task_id


def test_a_refused_submission_ends_its_futures_and_the_executor_goes_on(
    service: ComputeInMemory, executor: Executor
) -> None:
    service.faults["submit"] = [refusal(409, "ENDPOINT_STOPPED", "it was stopped yesterday")]
    with pytest.raises(ApiError, match="it was stopped yesterday"):
        executor.submit(square, 1).result(PATIENCE_S)
    assert submitted(service, executor).task_id


def test_one_refused_function_does_not_hinder_the_others(service: ComputeInMemory, executor: Executor) -> None:
    service.submit_gate.clear()
    executor.submit(square, 0)
    service.wait(lambda: service.count("submit") == 1)
    bad, good = executor.submit_to_registered_function("gone", [1]), executor.submit(square, 1)
    service.submit_gate.set()
    assert isinstance(bad.exception(PATIENCE_S), ApiError)
    service.wait(lambda: good.task_id is not None)
    assert service.count("submit") == 4  # one before, both together, one by one


def test_what_is_too_large_together_is_sent_in_halves(service: ComputeInMemory, executor: Executor) -> None:
    submitted(service, executor)
    service.submit_gate.clear()
    executor.submit(square, 0)
    service.wait(lambda: service.count("submit") == 2)
    futures = [executor.submit(square, number) for number in range(4)]
    service.faults["submit"] = [refusal(413, "TASK_PAYLOAD_TOO_LARGE")]
    service.submit_gate.set()
    service.wait(lambda: all(one.task_id for one in futures))
    assert [len(next(iter(one["tasks"].values()))) for one in service.submissions[-2:]] == [2, 2]


def test_other_ids_than_were_asked_for_are_an_error(service: ComputeInMemory, executor: Executor) -> None:
    answer = {"task_group_id": "g", "tasks": {"x": ["1"]}}
    service.faults["submit"] = [Fault(200, answer)]
    with pytest.raises(ClientError, match="see task group g"):
        executor.submit(square, 1).result(PATIENCE_S)


# what is refused at once


@pytest.mark.parametrize(
    ("argument", "error"),
    [(threading.Lock(), SerializationError), ("x" * 10_500_000, PayloadTooLargeError)],
    ids=["a lock", "too large"],
)
def test_arguments_that_cannot_be_sent_are_refused_at_the_submit(
    executor: Executor, argument: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        executor.submit(square, argument)


def test_after_shutdown_nothing_is_taken(running: ComputeInMemory) -> None:
    with Executor(ENDPOINT, client=running.client()) as executor:
        pass
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 1)


def test_the_only_endpoint_need_not_be_named(service: ComputeInMemory) -> None:
    assert Executor(client=service.client()).endpoint_id == ENDPOINT


@pytest.mark.parametrize(("number", "words"), [(0, "no endpoint"), (2, "name one of them:\\n .* online ")])
def test_which_endpoint_is_meant_must_be_clear(service: ComputeInMemory, number: int, words: str) -> None:
    service.endpoints = service.endpoints * number
    with pytest.raises(NoEndpointError, match=words):
        Executor(client=service.client())


# functions


def test_a_function_is_registered_once(service: ComputeInMemory, executor: Executor) -> None:
    for _ in range(3):
        executor.submit(square, 1)
    assert service.count("register") == 1


def test_a_function_whose_helper_is_defined_anew_is_another_function(running: ComputeInMemory) -> None:
    module = types.ModuleType("notebook")
    exec("def helper():\n    return 1\ndef outer():\n    return helper()\n", vars(module))
    with Executor(ENDPOINT, client=running.client()) as executor:
        assert executor.submit(module.outer).result(PATIENCE_S) == 1
        exec("def helper():\n    return 2\n", vars(module))
        assert executor.submit(module.outer).result(PATIENCE_S) == 2
        assert executor.submit(module.outer).result(PATIENCE_S) == 2
    assert running.count("register") == 2


def test_a_list_that_a_function_uses_is_taken_as_it_is_at_the_submit(running: ComputeInMemory) -> None:
    seen: list[int] = []

    def length() -> int:
        return len(seen)

    with Executor(ENDPOINT, client=running.client()) as executor:
        results = []
        for number in range(3):
            results.append(executor.submit(length).result(PATIENCE_S))
            seen.append(number)
    assert results == [0, 1, 2]


def test_an_explicit_registration_is_the_one_that_submit_uses(service: ComputeInMemory, executor: Executor) -> None:
    function_id = executor.register_function(square, on_loss="requeue", name="my square")
    future = submitted(service, executor)
    assert service.payloads[future.task_id][0] == function_id
    assert service.functions[function_id]["on_loss"] == "requeue"
    assert service.functions[function_id]["function_name"] == "my square"


def test_source_code_is_registered_as_text(service: ComputeInMemory, executor: Executor) -> None:
    function_id = executor.register_source_code("def f(x):\n    return x\n", "f")
    code = framing.unpack_code(service.functions[function_id]["function_code"])
    assert framing.split(code) == ("st", "f:def f(x):\n    return x\n")


def test_another_python_is_warned_of_before_the_task_is_sent_and_once(
    service: ComputeInMemory, executor: Executor
) -> None:
    service.python_version = "3.8.1"
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    with pytest.warns(PythonVersionWarning, match=rf"3\.8\.1.*{here}.*register_source_code") as caught:
        executor.submit(square, 1)
    assert caught[0].filename == __file__
    submitted(service, executor)
    assert service.calls.index("endpoint") < service.calls.index("submit")
    assert service.count("endpoint") == 1


# cancelling


def test_a_task_that_was_not_sent_is_cancelled_here(service: ComputeInMemory, executor: Executor) -> None:
    submitted(service, executor)
    service.submit_gate.clear()
    executor.submit(square, 0)
    service.wait(lambda: service.count("submit") == 2)
    future = executor.submit(square, 1)
    assert future.cancel()
    assert future.cancel()
    assert future in concurrent.futures.wait([future], PATIENCE_S).done
    service.submit_gate.set()
    last = submitted(service, executor)
    assert len(service.tasks) == 3
    assert last.running()


@pytest.mark.parametrize("begins", [False, True])
def test_a_submitted_task_is_cancelled_at_the_service(
    service: ComputeInMemory, executor: Executor, begins: bool
) -> None:
    future = submitted(service, executor)
    if begins:
        service.begin(future.task_id)
    assert future.cancel()
    assert future.cancelled()
    assert service.tasks[future.task_id]["state"] == "CANCELLED"
    assert future in concurrent.futures.wait([future], PATIENCE_S).done


def test_a_task_that_is_cancelled_while_it_is_sent_is_cancelled_at_the_service(
    service: ComputeInMemory, executor: Executor
) -> None:
    service.submit_gate.clear()
    future = executor.submit(square, 1)
    service.wait(lambda: service.count("submit") == 1)
    assert future.cancel()
    service.submit_gate.set()
    service.wait(lambda: bool(service.tasks) and all(one["state"] == "CANCELLED" for one in service.tasks.values()))


def test_a_task_that_has_ended_is_not_cancelled(service: ComputeInMemory, executor: Executor) -> None:
    future = submitted(service, executor)
    service.succeed(future.task_id, 9)
    assert not future.cancel() or service.tasks[future.task_id]["state"] == "SUCCEEDED"
    assert future.result(PATIENCE_S) == 9
    assert not future.cancel()


def test_a_cancel_that_cannot_be_asked_for_is_false_and_logged(
    service: ComputeInMemory, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    future = submitted(service, executor)
    service.faults["cancel"] = [Fault()] * 5
    assert not future.cancel()
    assert "could not be cancelled" in caplog.text
    assert not future.done()


def test_shutdown_may_cancel_what_has_not_begun(service: ComputeInMemory, executor: Executor) -> None:
    waiting, begun = submitted(service, executor), submitted(service, executor)
    service.begin(begun.task_id)
    executor.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    assert not begun.done()
    service.succeed(begun.task_id, 1)
    assert begun.result(PATIENCE_S) == 1


# waiting for results


def test_nothing_is_asked_while_nothing_is_expected(running: ComputeInMemory) -> None:
    with Executor(ENDPOINT, client=running.client()) as executor:
        executor.submit(square, 1).result(PATIENCE_S)
        asked = running.count("results")
        executor.submit(square, 2).result(PATIENCE_S)
        assert running.count("results") == asked + 1


def test_a_result_that_comes_before_the_answer_to_its_submission_is_kept(
    service: ComputeInMemory, executor: Executor
) -> None:
    first = submitted(service, executor)  # so that results are waited for
    service.wait(lambda: service.count("results") == 1)
    service.running = True  # the next task ends while its submission is being answered
    service.faults["submit"] = [Fault(before=False)]
    assert executor.submit(square, 4).result(PATIENCE_S) == 16
    assert not first.done()


def test_futures_stay_open_while_the_service_is_away(
    service: ComputeInMemory, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    service.faults["results"] = [*[Fault()] * 12, Fault(503, b"<html>"), Fault(502, b""), Fault(404, b"<html>")]
    future = submitted(service, executor)
    service.wait(lambda: not service.faults["results"])
    assert not future.done()
    service.succeed(future.task_id, "here again")
    assert future.result(PATIENCE_S) == "here again"
    assert sum("futures stay open" in one.message for one in caplog.records) == 1
    assert max(service.pauses) <= 20


def test_retry_after_is_obeyed(service: ComputeInMemory, executor: Executor) -> None:
    early = {"results": [], "marker": 0, "unfinished": 1, "retry_after_s": 7}
    service.faults["results"] = [Fault(200, early)]
    future = submitted(service, executor)
    service.wait(lambda: service.count("results") == 2)
    assert service.pauses == [7.0]
    service.succeed(future.task_id, 1)
    assert future.result(PATIENCE_S) == 1


def test_a_service_that_does_not_wait_is_not_asked_without_pause(service: ComputeInMemory, executor: Executor) -> None:
    service.longest_wait_s = 0
    future = submitted(service, executor)
    service.wait(lambda: service.count("results") >= 6)
    service.succeed(future.task_id, 1)
    future.result(PATIENCE_S)
    assert service.pauses[:5] == [0.1, 0.2, 0.4, 0.8, 1.0]


def test_a_refusal_to_tell_results_ends_the_futures(service: ComputeInMemory, executor: Executor) -> None:
    service.faults["results"] = [refusal(403, "TASK_GROUP_ACCESS_FORBIDDEN", "it is not yours")]
    with pytest.raises(ApiError, match="not yours"):
        executor.submit(square, 1).result(PATIENCE_S)


def test_an_answer_of_another_shape_ends_the_futures(service: ComputeInMemory, executor: Executor) -> None:
    service.faults["results"] = [Fault(200, ["what?"])]
    with pytest.raises(ClientError, match="results"):
        executor.submit(square, 1).result(PATIENCE_S)


def test_a_task_that_the_service_forgot_does_not_stay_open_for_ever(
    service: ComputeInMemory, executor: Executor
) -> None:
    nothing = {"results": [], "marker": 0, "unfinished": 0}
    service.faults["results"] = [Fault(200, nothing)]
    with pytest.raises(TaskUnknownError):
        executor.submit(square, 1).result(PATIENCE_S)


def test_a_result_that_was_passed_over_is_asked_for(service: ComputeInMemory, executor: Executor) -> None:
    nothing = {"results": [], "marker": 0, "unfinished": 0}
    service.faults["results"] = [Fault(200, nothing)]
    service.running = True
    assert executor.submit(square, 5).result(PATIENCE_S) == 25
    assert service.count("batch_status") == 1


def test_a_callback_may_submit_and_an_error_in_one_hinders_nobody(running: ComputeInMemory) -> None:
    with Executor(ENDPOINT, client=running.client()) as executor:
        chained: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def fail(_: object) -> None:
            raise OSError("in a callback")

        first = executor.submit(square, 2)
        first.add_done_callback(fail)
        first.add_done_callback(lambda one: chained.set_result(executor.submit(square, one.result())))
        assert chained.result(PATIENCE_S).result(PATIENCE_S) == 16


# map


def test_map_keeps_the_order_of_its_arguments(running: ComputeInMemory) -> None:
    with Executor(ENDPOINT, client=running.client()) as executor:
        assert list(executor.map(divide, [8, 9, 10], [4, 3, 2], chunksize=2)) == [2, 3, 5]


def test_map_takes_endless_arguments(running: ComputeInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute_agent.sdk.executor._AHEAD", 10)
    with Executor(ENDPOINT, client=running.client()) as executor:
        results = executor.map(square, count())
        assert list(islice(results, 30)) == [number * number for number in range(30)]
        results.close()  # type: ignore[attr-defined]
    assert len(running.tasks) <= 40


def test_map_gives_up_when_its_time_is_over_and_cancels_the_rest(service: ComputeInMemory, executor: Executor) -> None:
    results = executor.map(square, [1, 2], timeout=0)
    with pytest.raises(TimeoutError):
        next(results)
    service.wait(lambda: all(one["state"] == "CANCELLED" for one in service.tasks.values()))


def test_map_raises_what_a_task_raised(running: ComputeInMemory) -> None:
    with Executor(ENDPOINT, client=running.client()) as executor, pytest.raises(ZeroDivisionError):
        list(executor.map(divide, [1, 1], [1, 0]))


# earlier tasks


def test_tasks_of_an_earlier_program_are_found_again(service: ComputeInMemory, executor: Executor) -> None:
    ended, failed, open_ = (submitted(service, executor) for _ in range(3))
    service.succeed(ended.task_id, "done")
    service.fail(failed.task_id, "WorkerLost", "gone", state="LOST")
    later = Executor(ENDPOINT, client=service.client())
    futures = later.reload_tasks(executor.task_group_id)
    assert [one.task_id for one in futures] == [ended.task_id, failed.task_id, open_.task_id]
    assert futures[0].result(PATIENCE_S) == "done"
    assert isinstance(futures[1].exception(PATIENCE_S), TaskLost)
    assert not futures[2].done()
    service.succeed(open_.task_id, "at last")
    assert futures[2].result(PATIENCE_S) == "at last"


def test_reloading_needs_a_task_group(executor: Executor) -> None:
    with pytest.raises(ValueError, match="name one"):
        executor.reload_tasks()


def test_the_service_being_away_for_good_is_told(
    service: ComputeInMemory, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute_agent.sdk.submitter._PATIENCE_S", 0.0)
    service.faults["submit"] = [Fault()] * 1_000
    with pytest.raises(UnreachableError):
        executor.submit(square, 1).result(PATIENCE_S)


def test_many_threads_may_submit(running: ComputeInMemory) -> None:
    with Executor(ENDPOINT, client=running.client()) as executor:
        submit: Callable[[int], Any] = lambda number: executor.submit(square, number).result(PATIENCE_S)  # noqa: E731
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            assert list(threads.map(submit, range(100))) == [number * number for number in range(100)]
    assert running.count("register") == 1
