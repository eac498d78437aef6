"""Wiring: ``build(settings)`` makes every part by plain constructor calls. The only file that knows every concrete class.

Nothing starts by itself: ``House.start`` begins the background work, ``House.close`` ends it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flask import Flask
from sqlalchemy import MetaData, select

from action_providers import registry
from action_providers import tables as provider_tables
from action_providers.background import Background
from action_providers.blueprint import create_blueprint as providers_blueprint
from action_providers.compute import providers as compute_providers
from action_providers.service import Actions
from action_providers.transfer import providers as transfer_providers
from action_providers.transfer import tables as transfer_tables
from action_providers.transfer.collections import Collections
from compute_agent.private_files import create_private_file
from compute_agent.service import tables as compute_tables
from compute_agent.service.api import create_blueprint as compute_blueprint
from compute_agent.service.compute import ComputeService
from compute_agent.service.settings import ComputeSettings
from flows_engine.actions.addresses import AddressPolicy, Allowed
from flows_engine.actions.aliases import HOSTED_ALIASES, Aliases, load_aliases, own_aliases
from flows_engine.actions.guarded_http import GuardedHttp
from flows_engine.actions.http import HttpActionClient
from flows_engine.actions.local import LocalActionClient
from flows_engine.actions.resolve import ActionDirectory
from flows_engine.api import front
from flows_engine.api.auth_api import create_blueprint as auth_blueprint
from flows_engine.api.flows_api import create_blueprint as flows_blueprint
from flows_engine.asl.dialects import DIALECTS
from flows_engine.asl.errors import EvaluationError, ExpressionSyntaxError
from flows_engine.asl.expression import evaluate_with
from flows_engine.asl.input_schema import check_input
from flows_engine.auth import identities
from flows_engine.auth import tables as auth_tables
from flows_engine.auth.bootstrap import Installation, ensure_installation
from flows_engine.auth.scopes import ScopeBook
from flows_engine.auth.service import AuthService, AuthSettings
from flows_engine.chores import Chore, Chores
from flows_engine.clock import SystemClock
from flows_engine.engine.advance import Advance
from flows_engine.engine.delegation import Delegation
from flows_engine.engine.errands import Errands
from flows_engine.engine.flows import Flows
from flows_engine.engine.runs import Runs
from flows_engine.engine.subflows import FlowActionClient
from flows_engine.settings import DATABASE_FILE, Settings, remembered_database
from flows_engine.store import address, tables
from flows_engine.store.db import DATABASE_TROUBLE, SqlDatabase
from flows_engine.store.doorbell import Doorbell
from flows_engine.store.installation import open_installation
from flows_engine.store.lock import FileLock
from flows_engine.store.migrate import migrate
from flows_engine.store.runs import purge_idempotency_keys
from flows_engine.worker import Worker, WorkerSettings
from schemas.json_text import Json
from schemas.ports import Clock
from schemas.times import to_us

#: Every table of the house, in the order of creation.
METADATA: Sequence[MetaData] = (
    tables.metadata,
    auth_tables.metadata,
    provider_tables.metadata,
    transfer_tables.metadata,
    compute_tables.metadata,
)


#: What actions in the middle of something are given when the house is closed; the worker takes about as long before.
_ACTIONS_STOP_S = 4.0
#: How often it is asked which compute agents have been silent for too long.
_SWEEP_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Everything that runs in one process."""

    settings: Settings
    database: SqlDatabase
    installation: Installation
    auth: AuthService
    flows: Flows
    runs: Runs
    collections: Collections
    actions: Actions
    compute: ComputeService
    directory: ActionDirectory
    advance: Advance
    worker: Worker
    background: Background
    chores: Chores
    doorbell: Doorbell | None
    web: Flask
    lock: FileLock | None

    def start(self) -> None:
        """Begin advancing runs and actions, and judging who of the compute agents is silent."""
        # What was made so far lives as long as the process: the garbage collector need not look at it again.
        gc.collect()
        gc.freeze()
        self.compute.on_start()
        self.background.start()
        self.worker.start()
        self.chores.start()
        if self.doorbell is not None:
            self.doorbell.start()

    def hang_up(self) -> None:
        """Answer those who wait for news: from now on every request is answered at once."""
        self.compute.news.close()

    def close(self, *, started: bool = True) -> None:
        """Finish what is in hand, give the rest back to the queue, close the database."""
        self.hang_up()
        with contextlib.ExitStack() as last_first:  # every part is closed, whatever happens to the others
            if self.lock is not None:
                last_first.callback(self.lock.release)
            last_first.callback(self.database.dispose)
            if started:
                last_first.callback(self.background.stop, _ACTIONS_STOP_S)
                last_first.callback(self.worker.stop)
                last_first.callback(self.chores.stop)
                if self.doorbell is not None:
                    last_first.callback(self.doorbell.stop)


def build(settings: Settings, clock: Clock | None = None) -> House:
    """Open (on first use: make) the installation and wire everything on it.

    Raises:
        DatabaseInUse: another engine owns the SQLite file.
        SchemaTooNew: the database was written by a newer version.
        WrongDatabase: the data directory belongs to another database.
        PermissionError: files of secrets may be read by others.
    """
    clock = clock or SystemClock()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    address.check(settings.data_dir, settings.database_url)
    lock = _own_database(settings)
    try:
        return _build(settings, clock, lock)
    except BaseException:
        if lock is not None:
            lock.release()
        raise


def _build(settings: Settings, clock: Clock, lock: FileLock | None) -> House:
    db = SqlDatabase(settings.database_url)
    migrate(db, METADATA)
    installation = ensure_installation(db, clock, settings.data_dir)
    _remember_database(settings)
    with db.begin() as tx:
        namespace = open_installation(tx, now=to_us(clock.now()))
    collections = Collections(db, clock)
    bell = _Bell()
    compute = ComputeService(
        db,
        clock,
        settings=ComputeSettings(heartbeat_s=settings.compute_heartbeat_s, lease_s=settings.compute_lease_s),
        finished=bell.tasks_ended,
        notify_others=bell.ring_others,
    )
    actions = _actions(settings, db, clock, collections, compute, bell)
    auth = _auth(settings, db, clock, installation, actions)
    delegation = Delegation(auth)
    directory = _directory(settings, clock, actions, delegation)
    delegation.scope_of = directory.scope_of
    advance = _advance(settings, clock, namespace, directory, bell)
    worker = Worker(
        db=db,
        clock=clock,
        advance=advance,
        errands=Errands(
            clock=clock,
            directory=directory,
            caller_of=delegation.caller_of,
        ),
        settings=WorkerSettings(lease_s=settings.lease_s, batch=settings.batch, poll_s=settings.poll_s),
    )
    bell.worker, bell.compute, bell.actions = worker, compute, actions
    if db.dialect == "postgresql":
        bell.doorbell = Doorbell(db.url, bell.heard)
    flows = Flows(
        database=db,
        clock=clock,
        base_url=f"{settings.base_url}/flows",
        scope_of=directory.scope_of,
        dialect=DIALECTS[settings.dialect],
        allow_http=settings.allow_http_actions or bool(settings.allowed_hosts),
        introduce=lambda tx, flow_id, title, now: identities.ensure_flow(tx, flow_id, title, now=now),
    )
    runs = Runs(database=db, clock=clock, advance=advance)
    directory.flows = FlowActionClient(runs)
    background = Background(actions)
    return House(
        settings=settings,
        database=db,
        installation=installation,
        auth=auth,
        flows=flows,
        runs=runs,
        collections=collections,
        actions=actions,
        compute=compute,
        directory=directory,
        advance=advance,
        worker=worker,
        background=background,
        chores=Chores(
            [
                Chore("settle compute tasks", compute.sweep, _SWEEP_EVERY_S),
                Chore("purge tokens", auth.purge_expired),
                Chore("purge idempotency keys", lambda: _purge_keys(db, clock)),
            ]
        ),
        doorbell=bell.doorbell,
        web=_web(settings, flows, runs, auth, actions, compute),
        lock=lock,
    )


def _purge_keys(db: SqlDatabase, clock: Clock) -> None:
    with db.begin() as tx:
        purge_idempotency_keys(tx, now=to_us(clock.now()))


class _Bell:
    """Rings for the worker, which is made after those who ring, and for those who wait in other processes."""

    worker: Worker | None = None
    compute: ComputeService | None = None
    actions: Actions | None = None
    doorbell: Doorbell | None = None

    def notify(self) -> None:
        if self.worker is not None:
            self.worker.notify()
        self.ring_others()

    def tasks_ended(self, task_group_ids: Collection[str]) -> None:
        """Compute tasks have ended; the group of an action's tasks has the action's id."""
        if self.actions is not None:
            self.actions.nudge(task_group_ids)

    def ring_others(self) -> None:
        if self.doorbell is not None:
            self.doorbell.ring()

    def heard(self) -> None:
        """Another process rang, or this one; which of the two cannot be told."""
        if self.worker is not None:
            self.worker.notify()
        if self.compute is not None:
            self.compute.news.ring_all()

    def wake(self, waiter: str) -> None:
        if self.worker is not None:
            self.worker.wake(waiter)


def _own_database(settings: Settings) -> FileLock | None:
    if not settings.is_sqlite:
        return None
    file = address.sqlite_file(settings.database_url)
    if file is None:
        return None
    lock = FileLock(Path(f"{file.resolve()}.lock"))  # one lock, by whatever name the file is opened
    lock.acquire()
    # SQLite would let others read a file that it makes; those beside it (-wal, -shm) get the mode of this one.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    return lock


def _remember_database(settings: Settings) -> None:
    """From now on the data directory belongs to this database. Of two first starts at once, one is refused."""
    document = address.document(settings.data_dir, settings.database_url)
    if remembered_database(settings.data_dir) is None and document is not None:
        create_private_file(settings.data_dir / DATABASE_FILE, document)
    address.check(settings.data_dir, settings.database_url)


def _auth(
    settings: Settings, db: SqlDatabase, clock: Clock, installation: Installation, actions: Actions
) -> AuthService:
    def flow_exists(flow_id: str) -> bool:
        with db.read() as tx:
            found = select(tables.flows.c.flow_no).where(
                tables.flows.c.flow_id == flow_id, tables.flows.c.deleted_at.is_(None)
            )
            return tx.execute(found).first() is not None

    def collection_exists(collection_id: str) -> bool:
        table = transfer_tables.collections
        with db.read() as tx:
            return (
                tx.execute(select(table.c.collection_id).where(table.c.collection_id == collection_id)).first()
                is not None
            )

    descriptions = [provider.description for provider in actions.providers.values()]
    return AuthService(
        db,
        clock,
        keys=installation.keys,
        settings=AuthSettings(
            public_url=f"{settings.base_url}/auth", access_token_life=timedelta(seconds=settings.token_life_s)
        ),
        book=ScopeBook(
            flow_exists=flow_exists,
            collection_exists=collection_exists,
            extra={one.scope: f"action_provider:{one.path}" for one in descriptions},
        ),
    )


def _actions(
    settings: Settings,
    db: SqlDatabase,
    clock: Clock,
    collections: Collections,
    compute: ComputeService,
    bell: _Bell,
) -> Actions:
    discovered = registry.discover()
    offered = [
        *registry.built_in(evaluate=_evaluate),
        *transfer_providers(collections),
        *compute_providers(compute),
        *discovered.providers,
    ]
    return Actions(
        db,
        clock,
        registry.by_path(offered),
        check_body=check_input,
        wake=bell.wake,
        lease=timedelta(seconds=settings.lease_s),
    )


def _evaluate(expression: str, arguments: Mapping[str, Json]) -> Json:
    try:
        return evaluate_with(expression, arguments)
    except (EvaluationError, ExpressionSyntaxError) as error:
        raise ValueError(str(error)) from error


def _directory(settings: Settings, clock: Clock, actions: Actions, delegation: Delegation) -> ActionDirectory:
    policy = AddressPolicy(
        allowed=tuple(Allowed.parse(entry) for entry in settings.allowed_hosts),
        plain_http=settings.allow_http_actions,
        own_ports=frozenset({settings.port}),
    )
    http = GuardedHttp(policy)
    own = {f"http://{name}:{settings.port}" for name in ("127.0.0.1", "localhost")} | {settings.base_url}
    extra = load_aliases(settings.alias_file) if settings.alias_file else {}
    return ActionDirectory(
        LocalActionClient(actions),
        HttpActionClient(http, delegation.token_for, clock),
        aliases=Aliases(HOSTED_ALIASES, own_aliases(own), extra),
        known={path: provider.description for path, provider in actions.providers.items()},
        http=http,
    )


def _advance(
    settings: Settings, clock: Clock, namespace: uuid.UUID, directory: ActionDirectory, bell: _Bell
) -> Advance:
    def releases(url: str) -> bool:
        return settings.release_remote_actions and not directory.is_local(url)

    return Advance(
        namespace=namespace,
        dialect=DIALECTS[settings.dialect],
        clock=clock,
        releases=releases,
        notify=bell.notify,
    )


def _web(
    settings: Settings, flows: Flows, runs: Runs, auth: AuthService, actions: Actions, compute: ComputeService
) -> Flask:
    app = Flask("flows_engine", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    for blueprint, prefix in (
        (auth_blueprint(auth), "/auth"),
        (flows_blueprint(flows, runs, auth), None),
        (providers_blueprint(actions, auth), "/actions"),
        (compute_blueprint(compute, auth, waiting=settings.http_threads // 2), None),
    ):
        for kind in DATABASE_TROUBLE:
            blueprint.register_error_handler(kind, front.database_trouble)
        app.register_blueprint(blueprint, **({"url_prefix": prefix} if prefix else {}))
    services = {name: f"{settings.base_url}/{name}/" for name in ("auth", "flows", "actions", "compute")}
    for name in ("flows", "compute"):
        services[f"{name} api documentation"] = f"{settings.base_url}/{name}/docs/"
    front.install(
        app,
        hosts=front.allowed_hosts(settings.base_url, settings.host, settings.port),
        services=services,
        is_ready=lambda: None,
    )
    return app
