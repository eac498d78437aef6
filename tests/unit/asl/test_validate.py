"""One row per rule: a definition with one thing wrong, where the problem stands, and what it says."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from flows_engine.asl.dialects import ASL, GLOBUS, UNION
from flows_engine.asl.validate import validate, warnings
from flows_engine.asl.validate_errors import RAISED, wrong_with_error
from flows_engine.asl.validate_fields import sentence

END = {"Type": "Pass", "End": True}
URL = "https://actions.example.org/hello"
MISSING = "value_error.missing"
EXTRA = "value_error.extra"


def flow(state, **more):
    """A definition whose first state is ``S``; ``Done`` follows when something names it."""
    states = {"S": state, **more}
    if "'Done'" in repr(state):
        states["Done"] = END
    return {"StartAt": "S", "States": states}


def action(**fields):
    return {"Type": "Action", "ActionUrl": URL, "Parameters": {}, "End": True} | fields


def without(body, *fields):
    return {key: value for key, value in body.items() if key not in fields}


def pass_with(**parameters):
    return END | {"Parameters": parameters}


def problem(document, dialect=UNION, **options):
    found = validate(document, dialect, **options)
    assert len(found) == 1, [one.to_json() for one in found]
    return found[0]


NEXT_OR_END = (
    "A state of type 'Action' must be defined as either terminal (\"End\": true) "
    'or transitional ("Next": "NextStateId")'
)

HOSTED = [  # wordings of the Globus Flows service
    ("null", None, (), "none is not an allowed value", "type_error.none.not_allowed"),
    ("list", [], (), "value is not a valid dict", "type_error.dict"),
    ("text", "x", (), "value is not a valid dict", "type_error.dict"),
    ("no StartAt", {"States": {"S": END}}, ("StartAt",), "field required", MISSING),
    ("no States", {"StartAt": "S"}, ("States",), "field required", MISSING),
    ("extra top", flow(END) | {"Timeout": 3}, ("Timeout",), "extra fields not permitted", EXTRA),
    ("null Comment", flow(END) | {"Comment": None}, ("Comment",), "none is not an allowed value",
     "type_error.none.not_allowed"),
    ("states list", {"StartAt": "S", "States": []}, ("States",), "value is not a valid dict", "type_error.dict"),
    ("state text", flow("x"), ("States", "S"), "value is not a valid dict", "type_error.dict"),
    ("no Type", flow({"End": True}), ("States", "S"), "Discriminator 'type' is missing in value",
     "value_error.discriminated_union.missing_discriminator"),
    ("neither", flow(without(action(), "End")), ("States", "S"), NEXT_OR_END, "value_error"),
    ("End false", flow(action(End=False)), ("States", "S"), NEXT_OR_END, "value_error"),
    ("both", flow(action(Next="Done")), ("States", "S"), NEXT_OR_END, "value_error"),
    ("extra field", flow(action(Resultpath="$.a")), ("States", "S", "Resultpath"), "extra fields not permitted", EXTRA),
    ("Comment", flow(action(Comment=1)), ("States", "S", "Comment"), "str type expected", "type_error.str"),
    ("Parameters", flow(action(Parameters=None)), ("States", "S", "Parameters"), "none is not an allowed value",
     "type_error.none.not_allowed"),
    ("Parameters list", flow(action(Parameters=[])), ("States", "S", "Parameters"), "value is not a valid dict",
     "type_error.dict"),
    ("Catch", flow(action(Catch={})), ("States", "S", "Catch"), "value is not a valid list", "type_error.list"),
    ("flag", flow(action(ExceptionOnActionFailure="no")), ("States", "S", "ExceptionOnActionFailure"),
     "value is not a valid boolean", "value_error.strictbool"),
    ("no ResultPath", flow({"Type": "ExpressionEval", "Parameters": {}, "End": True}), ("States", "S", "ResultPath"),
     "field required", MISSING),
    ("no Parameters", flow({"Type": "ExpressionEval", "ResultPath": "$.a", "End": True}),
     ("States", "S", "Parameters"), "field required", MISSING),
]  # fmt: skip


@pytest.mark.parametrize(("document", "loc", "msg", "kind"), [row[1:] for row in HOSTED], ids=[r[0] for r in HOSTED])
def test_structural_problems_have_the_wording_of_the_hosted_service(document, loc, msg, kind):
    found = problem(document, GLOBUS)
    assert (found.loc, found.msg, found.type) == (("definition", *loc), msg, kind)


def test_an_unknown_field_suggests_the_known_one():
    assert problem(flow(action(Resultpath="$.a"))).ctx == {"did_you_mean": "ResultPath"}


def test_the_sentence_about_an_unknown_field_names_it_and_the_known_one():
    found = problem(flow(action(Resultpath="$.a")))
    assert sentence(found.to_json()) == "extra fields not permitted: 'Resultpath'; did you mean 'ResultPath'?"
    assert sentence(problem(flow(action(Zzz=1))).to_json()) == "extra fields not permitted: 'Zzz'"


def rule(**fields):
    return {"Variable": "$.a", "IsPresent": True, "Next": "Done"} | fields


CATCHER = {"ErrorEquals": ["E"], "Next": "Done", "ResultPath": "$.e"}


@pytest.mark.parametrize(
    ("state", "loc", "meant"),
    [
        ({"Type": "Pass", "Nxet": "Done"}, ("Nxet",), "Next"),
        ({"Type": "Pass", "next": "Done"}, ("next",), "Next"),
        ({"Type": "Pass", "end": True}, ("end",), "End"),
        ({"Type": "Choice", "Choices": [rule(Next="S")], "Defualt": "Done"}, ("Defualt",), "Default"),
        ({"Type": "Choice", "Choises": [rule()]}, ("Choises",), "Choices"),
        ({"Type": "Choice", "Choices": [without(rule(), "Next") | {"Nxt": "Done"}]}, ("Choices", 0, "Nxt"), "Next"),
        ({"Type": "Choice", "Choices": [without(rule(), "IsPresent") | {"IsPresnt": True}]},
         ("Choices", 0, "IsPresnt"), "IsPresent"),
        ({"Type": "Choice", "Choices": [without(rule(), "Variable") | {"Varaible": "$.a"}]},
         ("Choices", 0, "Varaible"), "Variable"),
        (action(Cath=[CATCHER]), ("Cath",), "Catch"),
        (action(Catch=[without(CATCHER, "Next") | {"Nxet": "Done"}]), ("Catch", 0, "Nxet"), "Next"),
        (action(Catch=[without(CATCHER, "ErrorEquals") | {"ErorEquals": ["E"]}]), ("Catch", 0, "ErorEquals"),
         "ErrorEquals"),
        ({"Type": "Wait", "Secnds": 5, "End": True}, ("Secnds",), "Seconds"),
        (without(action(ActionURL=URL), "ActionUrl"), ("ActionURL",), "ActionUrl"),
    ],
)  # fmt: skip
def test_a_misspelled_field_is_one_problem_and_not_also_a_missing_one(state, loc, meant):
    found = problem(flow(state))
    assert found.loc == ("definition", "States", "S", *loc)
    assert (found.msg, found.ctx) == ("extra fields not permitted", {"did_you_mean": meant})


def test_a_misspelled_start_is_one_problem():
    assert problem({"Startat": "S", "States": {"S": END}}).ctx == {"did_you_mean": "StartAt"}


def test_a_field_that_is_like_another_does_not_hide_what_is_there():
    assert problem(flow(END | {"Text": "x"})).ctx == {"did_you_mean": "Next"}
    assert problem(flow({"Type": "Pass", "Next": "Done", "Ends": True})).ctx == {"did_you_mean": "End"}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (action(WaitTime="5"), 'value is not a valid integer: "5" is text; write 5 without quotes'),
        (action(WaitTime="soon"), 'value is not a valid integer: "soon" is text; write a whole number, such as 5'),
        (action(WaitTime=True), "value is not a valid integer: true is a boolean; write a whole number, such as 5"),
        (action(WaitTime=5.0), "value is not a valid integer: 5.0 is a number with a fraction; write 5"),
        (action(WaitTime=[5]), "value is not a valid integer: this is a list; write a whole number, such as 5"),
        ({"Type": "Choice", "Choices": [without(rule(NumericEquals="0.5"), "IsPresent")]},
         'value is not a valid float: "0.5" is text; write 0.5 without quotes'),
        (action(ExceptionOnActionFailure="False"),
         'value is not a valid boolean: "False" is text; write false without quotes'),
        (action(ExceptionOnActionFailure=0), "value is not a valid boolean: 0 is a number; write true or false"),
        (action(RunAs=5), 'str type expected: 5 is a number; write it in quotes: "5"'),
        (action(RunAs=False), 'str type expected: false is a boolean; write it in quotes: "false"'),
        (action(RunAs={}), "str type expected: this is an object; write a text in quotes"),
        (action(Catch=[CATCHER | {"ErrorEquals": "E"}]),
         'value is not a valid list: "E" is text; write it in brackets: ["E"]'),
        (action(Catch=CATCHER), "value is not a valid list: this is an object; write it in brackets: [{...}]"),
        ({"Type": "Choice", "Choices": ["x" * 300]},
         f'value is not a valid dict: "{"x" * 60}..." is text; write an object: {{"name": value}}'),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_told_what_would_be_right(state, words):
    (found,) = [one for one in validate(flow(state)) if "never reached" not in one.msg]
    assert sentence(found.to_json()) == words


LONG = "https://a.example/" + "x" * 2048
TEXT = [  # (id, state, rest of the location, words of the message)
    ("B28 case", {"Type": "action"}, (), "did you mean 'Action'?"),
    ("B28 unknown", {"Type": "Frobnicate"}, (), "allowed values: 'Action'"),
    ("type number", {"Type": 3}, (), "No match for discriminator"),
    ("not served", {"Type": "Map"}, ("Type",), "'Map' of the Amazon States Language is not served yet"),
    ("web input", {"Type": "AwaitWebInput"}, ("Type",), "'AwaitWebInput' of Globus Flows is not served yet"),
    ("B45 both", action(InputPath="$.a"), (), "exactly one of Parameters and InputPath; this one has Parameters and"),
    ("B45 none", without(action(), "Parameters"), (), "exactly one of Parameters and InputPath; this one has none"),
    ("no url", without(action(), "ActionUrl"), (), "exactly one of ActionUrl and Handler"),
    ("url and handler", action(Handler={"Type": "ActionProvider", "Url": URL}), (), "ActionUrl and Handler"),
    ("B44 zero", action(WaitTime=0), ("WaitTime",), "greater than or equal to 1"),
    ("B44 minus", action(WaitTime=-1), ("WaitTime",), "greater than or equal to 1"),
    ("B44 huge", action(WaitTime=10**10), ("WaitTime",), "less than or equal to 31536000"),
    ("WaitTime text", action(WaitTime="5"), ("WaitTime",), "value is not a valid integer"),
    ("WaitTime true", action(WaitTime=True), ("WaitTime",), "value is not a valid integer"),
    ("RunAs", action(RunAs=" "), ("RunAs",), "must not be blank"),
    ("scope", action(ActionScope=1), ("ActionScope",), "str type expected"),
    ("B54 http", action(ActionUrl="http://a.example/"), ("ActionUrl",), "must begin with https://"),
    ("B54 ftp", action(ActionUrl="ftp://a.example/"), ("ActionUrl",), "must begin with https://"),
    ("B54 file", action(ActionUrl="file:///etc/passwd"), ("ActionUrl",), "must begin with https://"),
    ("B54 script", action(ActionUrl="javascript:alert(1)"), ("ActionUrl",), "must begin with https://"),
    ("B54 user", action(ActionUrl="https://u:p@a.example/"), ("ActionUrl",), "user name or password"),
    ("B54 CRLF", action(ActionUrl="https://a.example/\r\nX: y"), ("ActionUrl",), "control characters"),
    ("B54 long", action(ActionUrl=LONG), ("ActionUrl",), "the limit is 2048"),
    ("B54 homograph", action(ActionUrl="https://\u0430pple.com/"), ("ActionUrl",), "xn-- form"),
    ("fragment", action(ActionUrl="https://a.example/#x"), ("ActionUrl",), "fragment"),
    ("no host", action(ActionUrl="https:///x"), ("ActionUrl",), "names no host"),
    ("port", action(ActionUrl="https://a.example:99999/"), ("ActionUrl",), "is not an address"),
    ("backslash", action(ActionUrl="https://a.example\\@b.example/"), ("ActionUrl",), "backslashes"),
    ("handler url", without(action(Handler={"Type": "ActionProvider", "Url": "x"}), "ActionUrl"), ("Handler", "Url"),
     "must begin with https://"),
    ("handler no url", without(action(Handler={"Type": "ActionProvider"}), "ActionUrl"), ("Handler", "Url"),
     "field required"),
    ("handler extra", without(action(Handler={"Type": "ActionProvider", "Url": URL, "url": 1}), "ActionUrl"),
     ("Handler", "url"), "extra fields not permitted"),
    ("handler type", without(action(Handler={"Type": "actionprovider"}), "ActionUrl"), ("Handler", "Type"),
     "did you mean 'ActionProvider'?"),
    ("handler api", without(action(Handler={"Type": "RegisteredAPI", "Id": "1" * 8 + "-1111-1111-1111-" + "1" * 12}),
     "ActionUrl"), ("Handler",), "registered APIs are not served here yet"),
    ("handler id", without(action(Handler={"Type": "RegisteredAPI", "Id": "x"}), "ActionUrl"), ("Handler", "Id"),
     "value is not a valid uuid"),
    ("handler urn", without(action(Handler="urn:globus:flows:handle:globus:a.b"), "ActionUrl"), ("Handler",),
     "hosted registered APIs are not served here yet"),
    ("handler word", without(action(Handler="x"), "ActionUrl"), ("Handler",), "is not a handle"),
    ("B39 minus", {"Type": "Wait", "Seconds": -1, "End": True}, ("Seconds",), "greater than or equal to 0"),
    ("B39 fraction", {"Type": "Wait", "Seconds": 1.5, "End": True}, ("Seconds",), "value is not a valid integer"),
    ("B39 text", {"Type": "Wait", "Seconds": "5", "End": True}, ("Seconds",), "value is not a valid integer"),
    ("B39 true", {"Type": "Wait", "Seconds": True, "End": True}, ("Seconds",), "value is not a valid integer"),
    ("B39 huge", {"Type": "Wait", "Seconds": 10**12, "End": True}, ("Seconds",), "less than or equal to"),
    ("wait none", {"Type": "Wait", "End": True}, (), "one of Seconds, SecondsPath, Timestamp and TimestampPath"),
    ("wait two", {"Type": "Wait", "Seconds": 1, "TimestampPath": "$.t", "End": True}, (), "has Seconds and Timest"),
    ("B40", {"Type": "Wait", "Timestamp": "2026-01-31T12:00:00", "End": True}, ("Timestamp",), "add Z or an offset"),
    ("B41", {"Type": "Wait", "Timestamp": "2016-12-31T23:59:60Z", "End": True}, ("Timestamp",), "leap seconds"),
    ("B42 Feb 30", {"Type": "Wait", "Timestamp": "2026-02-30T00:00:00Z", "End": True}, ("Timestamp",), "calendar"),
    ("B42 year 0", {"Type": "Wait", "Timestamp": "0000-01-01T00:00:00Z", "End": True}, ("Timestamp",), "calendar"),
    ("B42 year 10000", {"Type": "Wait", "Timestamp": "10000-01-01T00:00:00Z", "End": True}, ("Timestamp",), "RFC 3339"),
    ("SecondsPath", {"Type": "Wait", "SecondsPath": "a", "End": True}, ("SecondsPath",), "begin with '$'"),
    ("fail twins", {"Type": "Fail", "Error": "E", "ErrorPath": "$.e"}, (), "Error and ErrorPath exclude each other"),
    ("fail text", {"Type": "Fail", "Cause": {}}, ("Cause",), "str type expected"),
    ("ResultPath slice", END | {"ResultPath": "$.a[1:]"}, ("ResultPath",), ""),
    ("ResultPath $$", END | {"ResultPath": "$$.a"}, ("ResultPath",), "not into $$"),
    ("B38 name", END | {"ResultPath": "$._context.x"}, ("ResultPath",), "reserved"),
    ("B38 bracket", END | {"ResultPath": "$['_context']"}, ("ResultPath",), "reserved"),
    ("variable", END | {"InputPath": "$name.x"}, ("InputPath",), "variables are not served yet"),
    ("B46 three", pass_with(**{"x": 1, "x.$": "$.a", "x.=": "1"}), ("Parameters", "x"), "three values for 'x'"),
    ("B46 two", pass_with(l=[{"x.$": "$.a", "x.=": "1"}]), ("Parameters", "l", 0, "x.$"), "two values for 'x'"),
    ("path not text", pass_with(**{"x.$": 1}), ("Parameters", "x.$"), "must be a path"),
    ("path no $", pass_with(**{"x.$": "a.b"}), ("Parameters", "x.$"), "begin with '$'"),
    ("intrinsic", pass_with(**{"x.$": "States.UUID()"}), ("Parameters", "x.$"), "intrinsic functions"),
    ("B47", pass_with(a={"x.=": 1}), ("Parameters", "a", "x.="), "must be an expression, as text"),
    ("B48 empty", pass_with(**{"x.=": ""}), ("Parameters", "x.="), ""),
    ("B48 long", pass_with(**{"x.=": "1+" * 2500 + "1"}), ("Parameters", "x.="), ""),
    ("B48 unfinished", pass_with(**{"x.=": "1 +"}), ("Parameters", "x.="), "column"),
    ("B48 bracket", pass_with(**{"x.=": ")"}), ("Parameters", "x.="), "column"),
    ("B58", pass_with(**{"key.$": "$.k", "__Private_Parameters": ["key", "kye"]}),
     ("Parameters", "__Private_Parameters", 1), "no parameter 'kye' beside this list to keep private; did you mean"),
    ("private text", pass_with(__Private_Parameters="key"), ("Parameters", "__Private_Parameters"), "valid list"),
    ("B53", action(Catch=[{"ErrorEquals": [], "Next": "Done"}]), ("Catch", 0, "ErrorEquals"), "at least 1 items"),
    ("catch no errors", action(Catch=[{"Next": "Done"}]), ("Catch", 0, "ErrorEquals"), "field required"),
    ("catch no next", action(Catch=[{"ErrorEquals": ["E"]}]), ("Catch", 0, "Next"), "field required"),
    ("catch error", action(Catch=[{"ErrorEquals": [5], "Next": "Done"}]), ("Catch", 0, "ErrorEquals", 0), "str type"),
    ("catch path", action(Catch=[{"ErrorEquals": ["E"], "Next": "Done", "ResultPath": "x"}]),
     ("Catch", 0, "ResultPath"), "begin with '$'"),
    ("catch extra", action(Catch=[{"ErrorEquals": ["E"], "Next": "Done", "next": "x"}]), ("Catch", 0, "next"),
     "extra fields"),
    ("ALL not alone", action(Catch=[{"ErrorEquals": ["States.ALL", "E"], "Next": "Done"}]),
     ("Catch", 0, "ErrorEquals"), "must stand alone"),
    ("B52", action(Catch=[{"ErrorEquals": ["States.All"], "Next": "Done"}, {"ErrorEquals": ["E"], "Next": "Done"}]),
     ("Catch", 0, "ErrorEquals"), "the catchers after it are unreachable"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "loc", "words"), [row[1:] for row in TEXT], ids=[row[0] for row in TEXT])
def test_a_state_with_one_thing_wrong_has_one_problem_at_its_place(state, loc, words):
    found = problem(flow(state))
    assert found.loc == ("definition", "States", "S", *loc)
    assert words in found.msg


@pytest.mark.parametrize("path", ["$.", "$..a", "$[?(@.x)]", "$.a[", "$[-999999999999]", "$." + "a" * 10_000, ""])
def test_paths_of_other_forms_are_refused(path):  # B35
    for place, state in (
        (("InputPath",), END | {"InputPath": path}),
        (("ResultPath",), END | {"ResultPath": path}),
        (("Parameters", "x.$"), pass_with(**{"x.$": path})),
    ):
        found = problem(flow(state), GLOBUS)
        assert (found.loc[3:], found.type) == (place, "value_error.path")


def test_filters_and_descent_are_for_reading_in_asl():
    assert validate(flow(END | {"InputPath": "$..a[?(@.x == 1)]"}), ASL) == []
    assert problem(flow(END | {"ResultPath": "$..a"}), ASL).type == "value_error.path"


GOOD = [
    action(ActionUrl="https://a.example/hello_world/"),
    action(ActionUrl="https://a.example:8443/x"),
    without(action(Handler={"Type": "ActionProvider", "Url": URL, "Scope": "s"}), "ActionUrl"),
    without(action(InputPath="$.body"), "Parameters"),
    action(RunAs="Curator", WaitTime=172_800, ExceptionOnActionFailure=False, ActionScope="urn:x", ResultPath="$"),
    action(Catch=[{"ErrorEquals": ["E"], "Next": "Done", "ResultPath": "$.e"}, {"ErrorEquals": ["States.All"],
                                                                               "Next": "Done"}]),
    without(action(End=False, Next="Done")),
    pass_with(**{"a.$": "$._context.run_id", "b.=": "`$._context.run_id` + '_x'", "__Private_Parameters": ["a", "b"]}),
    pass_with(a=[{"b.$": "$.x[1:]"}, [{"c.=": "1 + 1"}]]),
    END | {"Result": {"a": 1}, "ResultPath": "$._run.Step"},
    {"Type": "Wait", "Seconds": 0, "End": True},
    {"Type": "Wait", "Timestamp": "2026-01-31T12:00:00+02:00", "End": True},
    {"Type": "Fail"},
    {"Type": "Fail", "ErrorPath": "$.e", "Cause": "why"},
]  # fmt: skip


@pytest.mark.parametrize("state", GOOD)
def test_what_the_hosted_service_accepts_is_accepted(state):
    assert validate(flow(state), GLOBUS) == []
    assert validate(flow(state), UNION) == []


def test_every_problem_is_found_not_only_the_first():
    document = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B", "X": 1}, "C": {"Type": "Wait"}}}
    assert [found.loc[1:] for found in validate(document)] == [
        ("States", "A", "X"),
        ("States", "C"),
        ("States", "C"),
        ("States", "A", "Next"),
        ("States", "C"),
    ]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x", "https://[::1]/x"])
def test_http_is_a_choice_of_the_operator(url):
    assert validate(flow(action(ActionUrl=url)), allow_http=True) == []


@pytest.mark.parametrize(
    ("state", "dialect", "accepted"),
    [
        ({"Type": "Succeed"}, ASL, True),
        ({"Type": "Succeed"}, UNION, True),
        ({"Type": "Succeed"}, GLOBUS, False),
        (action(), ASL, False),
        (END | {"OutputPath": "$.a"}, UNION, True),
        (END | {"OutputPath": "$.a"}, GLOBUS, False),
        (END | {"InputPath": None, "ResultPath": None}, UNION, True),
        (END | {"InputPath": None}, GLOBUS, False),
        (END | {"Result": "text"}, ASL, True),
        (END | {"Result": "text"}, GLOBUS, False),
        (END | {"Parameters": ["x"]}, ASL, True),
        (END | {"InputPath": "$$.Execution.Id"}, ASL, True),
        (END | {"InputPath": "$$.Execution.Id"}, GLOBUS, False),
        (END | {"Parameters": {"x.=": 1}}, ASL, True),
        ({"Type": "Wait", "Seconds": 99_999_999, "End": True}, ASL, True),
        ({"Type": "Wait", "Seconds": 31_536_001, "End": True}, GLOBUS, False),
        (END | {"QueryLanguage": "JSONPath"}, ASL, True),
        (END | {"QueryLanguage": "JSONata", "Output": 1}, ASL, False),
    ],
)
def test_a_dialect_decides_what_may_be_written(state, dialect, accepted):
    assert (validate(flow(state), dialect) == []) is accepted


def test_succeed_in_the_globus_dialect_says_what_to_write_instead():
    assert 'use a Pass with "End": true' in problem(flow({"Type": "Succeed"}), GLOBUS).msg


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"Version": "2.0"}, "Version"),
        ({"TimeoutSeconds": 0}, "TimeoutSeconds"),
        ({"QueryLanguage": "SQL"}, "QueryLanguage"),
    ],
)
def test_top_level_fields_of_asl_are_checked(fields, loc):
    assert problem(flow(END) | fields, ASL).loc == ("definition", loc)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "empty or blank"),
        ("   ", "empty or blank"),
        ("x" * 129, "has 129 characters; the limit is 128"),
        ("a\nb", "control character U+000A"),
        ("a\x7f", "control character U+007F"),
        ("a\u202eb", "U+202E, which changes the text direction"),
    ],
)
def test_names_that_people_cannot_read_are_refused(name, words):  # B30
    found = problem({"StartAt": name, "States": {name: END}})
    assert found.loc == ("definition", "States", name)
    assert words in found.msg


def test_names_are_shorter_in_asl():
    document = {"StartAt": "x" * 81, "States": {"x" * 81: END}}
    assert validate(document, GLOBUS) == []
    assert "the limit is 80" in problem(document, ASL).msg


def test_two_names_that_look_the_same_are_refused():  # B31
    composed, decomposed = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    document = {"StartAt": composed, "States": {composed: {"Type": "Pass", "Next": decomposed}, decomposed: END}}
    assert "look the same" in problem(document).msg


def test_a_definition_of_1001_states_is_refused_and_a_chain_of_1000_is_not():  # B29
    def chain(length):
        states = {f"s{i}": {"Type": "Pass", "Next": f"s{i + 1}"} for i in range(length - 1)}
        return {"StartAt": "s0", "States": states | {f"s{length - 1}": END}}

    assert validate(chain(1_000)) == []
    assert problem(chain(1_001)).msg == "the definition has 1001 states; the limit is 1000"


def test_a_definition_over_512_kib_is_refused():
    assert "the limit is 524288" in problem(flow(END | {"Comment": "x" * 524_288})).msg


def test_empty_states_are_refused():
    assert problem({"StartAt": "S", "States": {}}).msg == "a definition needs at least one state"


def test_no_sentence_shows_the_inside_of_the_program():
    for row in [*HOSTED, *TEXT]:
        document = row[1] if len(row) == 5 else flow(row[1])
        for found in validate(document):
            assert not any(word in found.msg for word in ("Traceback", "object at 0x", "NoneType", "<class")), found.msg


@pytest.mark.parametrize(
    ("state", "loc", "words"),
    [
        ({"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": True, "Next": "Done"}]}, (), "without a Default"),
        (without(action(Next="Done"), "End"), (), "replaces all data of the run"),
        (action(Catch=[{"ErrorEquals": ["E"], "Next": "Done"}]), ("Catch", 0), "the error replaces all data"),
        (
            action(Catch=[{"ErrorEquals": ["E"], "Next": "Done", "ResultPath": "$.e"}] * 2),
            ("Catch", 1, "ErrorEquals"),
            "have caught all these errors already",
        ),
    ],
)
def test_legal_but_suspicious_states_get_a_warning(state, loc, words):
    assert validate(flow(state)) == []
    (found,) = warnings(flow(state))
    assert found.loc == ("definition", "States", "S", *loc)
    assert words in found.msg


def test_a_loop_without_a_wait_gets_a_warning_and_one_with_a_wait_does_not():  # B24
    rule = {"Variable": "$.a", "IsPresent": True, "Next": "Again"}
    choice = {"Type": "Choice", "Choices": [rule], "Default": "Done"}
    spinning = flow(choice, Again={"Type": "Pass", "Next": "S"})
    waiting = flow(choice, Again={"Type": "Wait", "Seconds": 5, "Next": "S"})
    assert ["S -> Again -> S" in found.msg for found in warnings(spinning)] == [True]
    assert warnings(waiting) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ActionFailed", "ActionFailedException"),
        ("ActionFailedError", "ActionFailedException"),
        ("actionfailedexception", "ActionFailedException"),
        ("ActionTimedOut", "ActionTimeout"),
        ("ActionTimeoutException", "ActionTimeout"),
        ("ActionUnableToStart", "ActionUnableToRun"),
        ("NoToken", "NoTokenException"),
        ("States.Timeout", "ActionTimeout"),
        ("States.TaskFailed", "ActionFailedException"),
        ("States.all", "States.ALL"),
        ("States.NoChoiceMatch", "States.NoChoiceMatched"),
    ],
)
def test_a_catcher_of_an_error_that_is_not_raised_gets_a_warning(name, meant):
    document = flow(action(Catch=[CATCHER | {"ErrorEquals": ["ActionLost", name]}]))
    assert validate(document) == []
    (found,) = warnings(document)
    assert found.loc == ("definition", "States", "S", "Catch", 0, "ErrorEquals", 1)
    assert found.msg == f"{name!r} is not an error that is raised here; did you mean {meant!r}?"


def test_an_unknown_name_of_the_reserved_kind_gets_a_warning_without_a_suggestion():
    assert wrong_with_error("States.Zebra") == "'States.Zebra' is not an error that is raised here"


@pytest.mark.parametrize("name", ["ActionFailedException", "States.ALL", "States.All", "E", "CopyFailed", "NotFound"])
def test_errors_that_are_raised_and_names_of_ones_own_are_free(name):
    assert wrong_with_error(name) is None


def test_the_documentation_lists_the_errors_that_are_raised():
    text = (Path(__file__).parents[3] / "docs" / "flow-language.md").read_text("utf-8")
    table = text.partition("## Errors")[2].partition("## ")[0]
    assert re.findall(r"^\| `([\w.]+)`", table, re.MULTILINE) == [*RAISED, "States.ALL"]
