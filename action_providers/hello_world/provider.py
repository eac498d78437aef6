"""Greets at once, after ``sleep_time`` seconds, or only with a certain consent.

Source: Globus, "Hosted action providers: Hello World".
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from schemas.json_text import Json

from ..provider import Action, ActionProvider, Active, Description, Inactive, Outcome, Succeeded, Work

_INPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "echo_string": {
            "type": "string",
            "title": "Echo",
            "description": "Text that comes back as 'hello' in the result",
        },
        "sleep_time": {
            "type": "integer",
            "minimum": 0,
            "maximum": 2_592_000,
            "title": "Sleep time",
            "description": "Seconds after which the action succeeds; at once without it",
        },
        "required_dependent_scope": {
            "type": "string",
            "minLength": 1,
            "title": "Required dependent scope",
            "description": "A scope without whose consent the action stays INACTIVE",
        },
    },
}


class HelloWorld(ActionProvider):
    pure = True
    description: ClassVar[Description] = Description(
        path="hello_world",
        title="Hello World",
        subtitle="Greets the world, at once or after a while",
        description="A provider for trying out flows: echoes a text, sleeps without using resources, and asks for a "
        "consent to show how a run waits for a person.",
        keywords=("hello", "example", "test"),
        scope="https://auth.globus.org/scopes/actions.globus.org/hello_world",
        synchronous=False,
        input_schema=_INPUT_SCHEMA,
    )

    def run(self, action: Action, now: datetime) -> Outcome:
        scope = action.body.get("required_dependent_scope")
        if scope and scope not in action.caller.scopes:
            return Inactive(
                {
                    "code": "ConsentRequired",
                    "description": f"Consent to the scope {scope} is required; give it and resume",
                    "required_scope": scope,
                }
            )
        until = action.started_at + timedelta(seconds=action.body.get("sleep_time", 0))
        return Active(_greeting(action.body), due=until) if now < until else Succeeded(_greeting(action.body))

    def advance(self, action: Action, work: Work) -> Outcome:
        return self.run(action, work.now)


def _greeting(body: Json) -> dict[str, Json]:
    echo = body.get("echo_string")
    return {"Hello": "World"} if echo is None else {"Hello": "World", "hello": echo}
