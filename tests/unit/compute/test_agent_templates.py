"""Templates: whatever a submitter gives stays text, and what is refused is refused with a sentence for the submitter."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_agent.agent.config import read_config
from compute_agent.agent.engine_blocks import EngineBlocks
from compute_agent.agent.templates import UserConfigRefused, UserTemplate, quoted
from compute_agent.agent.yaml_text import ConfigError, YamlText

PLAIN = UserTemplate("engine:\n  type: thread\n  label: {{ label }}\n")
EVIL = [
    "x\n  type: parsl",
    "x\r\ntype: y",
    "{{ 7 * 7 }}",
    "{% for a in b %}",
    "&a x",
    "*a",
    "a: b",
    "a #b",
    "- a",
    "!!python/object:os.system",
    "'",
    '"',
    '"\n}, evil: {',
    "\\",
    "\\n",
    "\\ud83d\\ude00",
    "]",
    "}, type: evil",
    "| \n a",
    "%TAG",
    "\u0085 next",
    "\u2028line",
    "\x7f\x1b[2J\x00",
    "\ufeff",
    "😀 ü",
    "",
    "null",
    "yes",
    "1:30",
    "---",
    "...",
]


@pytest.mark.parametrize("text", EVIL)
def test_a_value_of_a_submitter_stays_text(text: str) -> None:
    assert PLAIN.render({"label": text}).engine == {"type": "thread", "label": text}


@pytest.mark.parametrize("text", EVIL)
def test_a_value_inside_lists_and_mappings_stays_text(text: str) -> None:
    rendered = PLAIN.render({"label": {"a": [text, {"b": text}], "c": None, "d": True, "e": 1.5}}).engine
    assert rendered["label"] == {"a": [text, {"b": text}], "c": None, "d": True, "e": 1.5}


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_comes_back_from_yaml_as_it_was(text: str) -> None:
    written = quoted(text)
    assert written.isascii()
    assert written.isprintable()
    assert YamlText(f"a: {written}", "x").document == {"a": text}


@pytest.mark.parametrize("text", [one for one in EVIL if one.isprintable()] + ["$(touch x)", "a;b", "`id`", "a b"])
def test_a_shell_word_of_a_submitter_stays_one_word(text: str) -> None:
    template = UserTemplate(
        "engine:\n  type: x\n  init: |\n    echo {{ word|shell_escape }}\n  more: run {{ word|shell_escape }}\n"
    )
    engine = template.render({"word": text}).engine
    assert shlex.split(engine["init"]) == ["echo", text]
    said = subprocess.run(
        ["/bin/sh", "-c", engine["more"].replace("run ", "printf %s ", 1)], capture_output=True, check=True
    )
    assert said.stdout.decode() == text


def test_a_shell_word_may_not_hold_a_line_break() -> None:
    template = UserTemplate("engine: {type: x, a: {{ word|shell_escape }}}")
    with pytest.raises(UserConfigRefused, match="line breaks"):
        template.render({"word": "a\nb"})


def test_values_compare_as_published_in_quotes() -> None:
    template = UserTemplate("""engine: {type: {{ 'thread' if kind == '"small"' else 'parsl' }}}""")
    assert template.render({"kind": "small"}).engine == {"type": "thread"}


def test_defaults_of_the_template_apply() -> None:
    template = UserTemplate("engine: {type: thread, max_workers: {{ n|default(3) }}, x: {{ y|default('a') }}}")
    assert template.render({}).engine == {"type": "thread", "max_workers": 3, "x": "a"}


def test_what_stands_in_gc_can_be_used() -> None:
    template = UserTemplate(
        "engine: {type: x, a: {{ _GC.parent_config.display_name }}, b: {{ _GC.env.HERE }},"
        " c: {{ _GC.mapped_identity.globus.id }}, d: {{ _GC.mapped_identity.local.uid }}, e: {{ parent_config.public }}}",
        parent_config={"display_name": "Lab", "public": True},
        environ={"HERE": "there"},
    )
    owner = "urn:globus:auth:identity:00000000-0000-4000-8000-000000000001"
    engine = template.render({}, owner=owner).engine
    assert engine["a"] == "Lab"
    assert engine["b"] == "there"
    assert engine["c"] == "00000000-0000-4000-8000-000000000001"
    assert isinstance(engine["d"], int)
    assert engine["e"] is True


@pytest.mark.parametrize(
    ("source", "user_config", "sentence"),
    [
        ("engine: {type: {{ kind }}}", {}, "'kind' is undefined"),
        ("engine: {type: x}", {"_GC": 1}, "reserved"),
        ("engine: {type: x}", {"parent_config": {}}, "reserved"),
        ("engine: {type: x, a: {{ a }}}", {"a": {"b: c": 1}}, "user_endpoint_config.a has the key 'b: c'"),
        ("engine: {type: x, a: {{ a }}}", {"a": "\ud800"}, "is not JSON"),
        ("engine: {type: x, a: '{{ 'x' * n }}'}", {"n": 10**9}, "not repeated"),
        ("engine: {type: x, a: {{ 9 ** n }}}", {"n": 10**6}, "power"),
        ("engine: {type: x, a: {{ a.__class__.__mro__ }}}", {"a": "x"}, "does not"),
        ("engine: {type: x, a: {{ 1 / n }}}", {"n": 0}, "ZeroDivisionError"),
        ("engine: {type: x, a: {{ a }}}", {"a": "x" * 70_000}, "larger than the limit"),
        ("engine: {type: x}\nengin: 1", {"n": 1}, "gives no usable configuration"),
    ],
)
def test_what_cannot_be_rendered_is_refused(source: str, user_config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserConfigRefused) as raised:
        UserTemplate(source).render(user_config)
    assert sentence in str(raised.value)


def test_the_schema_speaks_first_and_to_the_submitter() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 4}}, "additionalProperties": False}
    template = UserTemplate("engine: {type: x, n: {{ n }}}", schema=schema)
    assert template.render({"n": 4}).engine["n"] == 4
    with pytest.raises(UserConfigRefused, match="n: 9 is greater than the maximum of 4"):
        template.render({"n": 9})
    with pytest.raises(UserConfigRefused, match="'m' was unexpected"):
        template.render({"n": 1, "m": 2})


def test_a_schema_fetches_nothing() -> None:
    template = UserTemplate("engine: {type: x}", schema={"$ref": "http://127.0.0.1:1/schema.json"})
    with pytest.raises(UserConfigRefused, match="cannot be applied"):
        template.render({"a": 1})


@pytest.mark.parametrize(
    ("source", "schema", "sentence"),
    [
        ("engine:\n  {{ a", None, "line 2"),
        ("{% include 'x' ", None, "line 1"),
        ("engine: {type: x}", {"type": "objekt"}, "is not a JSON Schema: at /type"),
        ("engine: {type: x}", ["a"], "must hold a JSON object"),
    ],
)
def test_a_wrong_template_or_schema_is_found_before_anybody_submits(source: str, schema: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        UserTemplate(source, schema=schema)
    assert sentence in str(raised.value)


def test_equal_configurations_share_an_engine_and_the_endpoints_list_overrules_the_templates() -> None:
    one, two = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
    template = UserTemplate(f"engine: {{type: x, n: {{{{ n|default(1) }}}}}}\nallowed_functions: [{one}]\n")
    blocks = EngineBlocks(read_config(""), template)
    default = blocks.default()
    assert blocks.for_task({"n": 1}, owner="a").key == default.key
    assert blocks.for_task({"n": 2}, owner="a").key != default.key
    assert default.allowed_functions == {one}
    assert EngineBlocks(read_config(f"allowed_functions: [{two}]"), template).default().allowed_functions == {two}


def test_an_endpoint_without_a_template_takes_no_user_configuration() -> None:
    blocks = EngineBlocks(read_config("engine: {type: thread}"), None)
    with pytest.raises(UserConfigRefused, match="takes no user_endpoint_config"):
        blocks.for_task({"n": 1}, owner="")
