"""Two action providers written with the official toolkit, as their authors would write them; run by ITS Python, not ours.

``slow`` takes as long as its body says, ``echo`` finishes at once. Both keep their actions in memory. ``GET /journal``
tells a test what the providers were asked to do. Where they listen and who they are comes from the environment:
PROVIDER_PORT, CLIENT_ID and CLIENT_SECRET, beside the GLOBUS_SDK_* variables that name the Auth service.
"""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime

from flask import Flask, jsonify
from globus_action_provider_tools import (
    ActionProviderDescription,
    ActionRequest,
    ActionStatus,
    ActionStatusValue,
    AuthState,
)
from globus_action_provider_tools.authorization import (
    authorize_action_access_or_404,
    authorize_action_management_or_404,
)
from globus_action_provider_tools.flask import ActionProviderBlueprint
from globus_action_provider_tools.flask.exceptions import ActionConflict, ActionNotFound
from globus_action_provider_tools.flask.helpers import assign_json_provider
from werkzeug.serving import WSGIRequestHandler, make_server

CLIENT_ID = os.environ["CLIENT_ID"]
INPUT_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "seconds": {"type": "number", "minimum": 0, "description": "How long the action takes"},
        "fail": {"type": "boolean", "description": "Whether it ends FAILED"},
        "echo": {"description": "Comes back in the details"},
    },
}


class Actions:
    """The actions of one provider. What takes time here is only a point in time that must pass."""

    def __init__(self, name, journal):
        self.name = name
        self.journal = journal
        self.lock = threading.Lock()
        self.statuses = {}
        self.ends = {}
        self.requests = {}

    def run(self, request: ActionRequest, auth: AuthState):
        content = json.dumps(json.loads(request.json()), sort_keys=True)
        with self.lock:
            key = (auth.effective_identity, request.request_id)
            if key in self.requests:
                return self.repeated(*self.requests[key], content)
            status = ActionStatus(
                status=ActionStatusValue.ACTIVE,
                creator_id=auth.effective_identity,
                label=request.label,
                monitor_by=request.monitor_by,
                manage_by=request.manage_by,
                release_after=request.release_after,
                details={"echo": request.body.get("echo"), "identities": sorted(auth.identities)},
            )
            self.requests[key] = (status.action_id, content)
            self.statuses[status.action_id] = status
            self.ends[status.action_id] = (time.monotonic() + request.body.get("seconds", 0), request.body.get("fail"))
            self.note("run")
            self.settle(status)
            return status

    def repeated(self, action_id, first_content, content):
        if content != first_content:
            raise ActionConflict("this request_id was used with other content")
        if action_id not in self.statuses:
            raise ActionNotFound("the action of this request was released")
        return self.settled(action_id), 200

    def status(self, action_id: str, auth: AuthState):
        with self.lock:
            status = self.settled(action_id)
            authorize_action_access_or_404(status, auth)
            return status

    def cancel(self, action_id: str, auth: AuthState):
        with self.lock:
            status = self.settled(action_id)
            authorize_action_management_or_404(status, auth)
            if not status.is_complete():
                self.note("cancel")
                self.end(status, ActionStatusValue.FAILED, {"code": "Cancelled", "description": "as you wish"})
            return status

    def release(self, action_id: str, auth: AuthState):
        with self.lock:
            status = self.settled(action_id)
            authorize_action_management_or_404(status, auth)
            if not status.is_complete():
                raise ActionConflict("the action has not ended")
            self.note("release")
            return self.statuses.pop(action_id)

    def settled(self, action_id):
        if action_id not in self.statuses:
            raise ActionNotFound(f"no action {action_id}")
        return self.settle(self.statuses[action_id])

    def settle(self, status):
        at, fails = self.ends[status.action_id]
        if not status.is_complete() and time.monotonic() >= at:
            if fails:
                self.end(status, ActionStatusValue.FAILED, {"code": "AskedFor", "description": "it was asked to fail"})
            else:
                self.end(status, ActionStatusValue.SUCCEEDED, status.details)
        return status

    @staticmethod
    def end(status, value, details):
        status.status = value
        status.details = details
        status.completion_time = datetime.now(UTC)

    def note(self, what):
        self.journal.append(f"{self.name} {what}")


def blueprint(name: str, *, synchronous: bool, journal: list) -> ActionProviderBlueprint:
    description = ActionProviderDescription(
        globus_auth_scope=f"https://auth.globus.org/scopes/{CLIENT_ID}/{name}",
        title=f"Third-party provider: {name}",
        admin_contact="somebody@example.org",
        synchronous=synchronous,
        input_schema=INPUT_SCHEMA,
        visible_to=["public"],
        runnable_by=["all_authenticated_users"],
    )
    provider = ActionProviderBlueprint(description, name, __name__, url_prefix=f"/{name}")
    actions = Actions(name, journal)

    @provider.action_run
    def run(request, auth):
        return actions.run(request, auth)

    @provider.action_status
    def status(action_id, auth):
        return actions.status(action_id, auth)

    @provider.action_cancel
    def cancel(action_id, auth):
        return actions.cancel(action_id, auth)

    @provider.action_release
    def release(action_id, auth):
        return actions.release(action_id, auth)

    return provider


def make_app() -> Flask:
    app = Flask(__name__)
    assign_json_provider(app)
    app.config.update(CLIENT_ID=CLIENT_ID, CLIENT_SECRET=os.environ["CLIENT_SECRET"])
    journal: list = []
    app.register_blueprint(blueprint("slow", synchronous=False, journal=journal))
    app.register_blueprint(blueprint("echo", synchronous=True, journal=journal))

    @app.get("/journal")
    def read_journal():
        return jsonify(journal)

    return app


class Silent(WSGIRequestHandler):
    def log_request(self, *_):
        """Requests are the test's business."""


if __name__ == "__main__":
    server = make_server(
        "127.0.0.1", int(os.environ["PROVIDER_PORT"]), make_app(), threaded=True, request_handler=Silent
    )
    print("ready", flush=True)
    server.serve_forever()
