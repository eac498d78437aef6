"""The files that ``compute-agent configure`` writes: commented, and right for one machine as they are."""

from __future__ import annotations

from typing import Literal

EngineKind = Literal["thread", "process", "parsl"]

CONFIG = """\
# An endpoint of compute-agent. Lines that begin with '#' show what else may be said, with its default.

display_name: {display_name}
# description: what runs here, and for whom

# Who may submit besides you: identities, groups, or all_authenticated_users. Whoever may submit runs code here as you.
# users:
#   - urn:globus:auth:identity:00000000-0000-0000-0000-000000000000

# Run these functions only.
# allowed_functions:
#   - 00000000-0000-0000-0000-000000000000

# Show the endpoint to everybody. It does not let them submit.
# public: false

# Seconds that running tasks get to finish when the endpoint is stopped.
# grace_period: 30

# Seconds a task may run; 0 is for ever.
# task_timeout: 0

# Start the engine with the agent rather than with the first task.
# warm_start: false

# How many seconds between signs of life (the service's own, unless this is shorter).
# heartbeat_period: 30

# Workers leave a mark before they begin a task, so that a task that never began is known and can be run elsewhere.
# Only workers that cannot reach this directory need this off; every task they had is lost if they or the agent fail.
# start_markers: true
"""

_HEAD = """\
{# What a submitter's user_endpoint_config makes of the engine. Texts of theirs come in quotes already: write {{ name }},
   not "{{ name }}". Within a shell command write {{ name|shell_escape }}. user_config_schema.json says what they may
   set. Jinja fills in {{ }} even behind a '#', so switch such lines off as this text is. #}

# End the engine after so many heartbeats (30 s each) without work; 0 is never.
idle_heartbeats_soft: 10

"""

TEMPLATES: dict[EngineKind, str] = {
    "thread": _HEAD
    + """\
# Threads of the agent: for functions that wait. One that crashes takes the agent with it.
engine:
  type: thread
  max_workers: {{ max_workers|default(4) }}
""",
    "process": _HEAD
    + """\
# Processes on this machine.
engine:
  type: process
  max_workers: {{ max_workers|default(2) }}
""",
    "parsl": _HEAD
    + """\
# Parsl: workers on this machine or in jobs of a batch system.
engine:
  type: parsl
  max_workers_per_node: {{ max_workers|default(2) }}
  provider:
    type: LocalProvider
    init_blocks: 1
    min_blocks: 0
    max_blocks: 1
{# On a cluster instead:
    type: SlurmProvider
    partition: {{ partition|default("debug") }}
    account: {{ account }}
    walltime: {{ walltime|default("00:30:00") }}
    nodes_per_block: 1
    init_blocks: 0
    max_blocks: 2
    worker_init: source /path/to/venv/bin/activate
#}
""",
}

SCHEMA = """\
{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "max_workers": {"type": "integer", "minimum": 1, "maximum": 256}
  },
  "additionalProperties": false
}
"""

ENVIRONMENT = """\
# Variables for the agent and everything it runs, such as:
# OMP_NUM_THREADS: "1"
"""
