"""Use cases of functions: register, look at, delete, list."""

from __future__ import annotations

import uuid

from schemas.json_text import Json
from schemas.principals import Caller

from . import access
from .desk import Desk
from .documents import function_document
from .members import checked_uuid
from .refusals import forbidden, not_found, quota
from .requests import read_function
from .rows import functions as rows
from .rows.functions import Function


class Functions:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def register(self, caller: Caller, body: Json) -> dict[str, Json]:
        settings = self._desk.settings
        new = read_function(body, max_requeues=settings.max_requeues)
        function = Function(
            function_no=0,
            function_id=str(uuid.uuid4()),
            owner=caller.urn,
            name=new.name,
            description=new.description,
            meta=new.meta,
            public=new.public,
            group_id=new.group_id,
            on_loss=new.on_loss,
            max_requeues=new.max_requeues,
            python_version=new.python_version,
            created_at=self._desk.now_us(),
            sha256=new.sha256,
            code_bytes=new.code_bytes,
        )
        with self._desk.db.begin() as tx:
            if rows.count(tx, caller.urn) >= settings.max_functions:
                raise quota(
                    f"you have {settings.max_functions} functions, which is the limit; delete some that you do not use, "
                    "and register a function once instead of at each submission"
                )
            rows.add(tx, function, new.code)
        return {"function_uuid": function.function_id}

    def get(self, caller: Caller, function_id: str) -> dict[str, Json]:
        identifier = checked_uuid(function_id, "the function's id")
        with self._desk.db.read() as tx:
            function = rows.load(tx, identifier)
            if function is None or not access.may_use_function(function, caller):
                raise not_found("FUNCTION", identifier)
            code = rows.code_of(tx, function.function_no)
        return function_document(function) | {"function_code": code}

    def delete(self, caller: Caller, function_id: str) -> dict[str, Json]:
        identifier = checked_uuid(function_id, "the function's id")
        with self._desk.db.begin() as tx:
            function = rows.load(tx, identifier)
            if function is None or not access.may_use_function(function, caller):
                raise not_found("FUNCTION", identifier)
            if not access.owns(function.owner, caller):
                raise forbidden("FUNCTION", identifier, f"only its owner may delete the function {identifier}")
            rows.mark_deleted(tx, identifier, now=self._desk.now_us())
        return {"result": 302}

    def owned(self, caller: Caller, *, marker: int | None, limit: int) -> dict[str, Json]:
        with self._desk.db.read() as tx:
            found = rows.owned(tx, caller.principals, before=marker, limit=limit)
        last = found[-1].function_no if len(found) == limit else None
        return {"functions": [function_document(one) for one in found], "marker": last}
