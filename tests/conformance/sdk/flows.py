"""Flows that the tests of the official clients publish and run."""

from __future__ import annotations

from typing import Any

HELLO_URL = "https://actions.globus.org/hello_world"
HELLO_SCOPE = "https://auth.globus.org/scopes/actions.globus.org/hello_world"
#: A scope that exists and that no flow is granted by itself.
NESTED_SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"

GREETING: dict[str, Any] = {
    "Comment": "Greets whom the input names.",
    "StartAt": "Greet",
    "States": {
        "Greet": {
            "Type": "Action",
            "ActionUrl": HELLO_URL,
            "Parameters": {"echo_string.$": "$.who"},
            "ResultPath": "$.greeting",
            "Next": "Note",
        },
        "Note": {
            "Type": "Pass",
            "Parameters": {"noted.$": "$.greeting.details.hello"},
            "ResultPath": "$.note",
            "End": True,
        },
    },
}
GREETING_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {"who": {"type": "string"}},
    "required": ["who"],
    "additionalProperties": False,
}

#: Never ends by itself.
NAP: dict[str, Any] = {"StartAt": "Nap", "States": {"Nap": {"Type": "Wait", "Seconds": 86_400, "End": True}}}

PASS: dict[str, Any] = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}

#: Stops INACTIVE until the owner consents to the nested scope.
CONSENT: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {
            "Type": "Action",
            "ActionUrl": HELLO_URL,
            "Parameters": {"echo_string": "thanks", "required_dependent_scope": NESTED_SCOPE},
            "ResultPath": "$.answer",
            "End": True,
        }
    },
}

#: Wrong in three places.
BROKEN: dict[str, Any] = {
    "StartAt": "Begin",
    "States": {"First": {"Type": "Pass", "Next": "Nowhere"}, "Second": {"Type": "Teleport"}},
}
