"""Parsl's providers and launchers from a configuration: by class name, with options checked against their constructors."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import parsl.launchers
import parsl.providers
import typeguard
from parsl.launchers.base import Launcher
from parsl.providers import LocalProvider
from parsl.providers.base import ExecutionProvider

from . import processes
from .base import EngineConfigError
from .options import nearest, unknown_key

#: Providers that need a library which Parsl does not bring along: the module, and the extra of Parsl that installs it.
_LIBRARIES = {
    "AWSProvider": ("boto3", "aws"),
    "AzureProvider": ("msrestazure", "azure"),
    "GoogleCloudProvider": ("googleapiclient", "google-cloud"),
    "KubernetesProvider": ("kubernetes", "kubernetes"),
}
_WALLTIME = re.compile(r"(\d+):([0-5]\d):([0-5]\d)")
#: Providers whose scheduler gets whole minutes, of which 0 stands for no limit.
_COUNT_MINUTES = frozenset({"LSFProvider", "SlurmProvider"})


class OwnHostProvider(LocalProvider):
    """Parsl's local provider, except that the end of a block is the end of all its processes.

    Parsl signals the process group of a block's script, and finds none once the script is gone, though workers may be
    left; what a worker started in a session of its own it never finds.
    """

    #: How long processes of a block have between SIGTERM and SIGKILL.
    grace_s = 2.0

    def submit(self, command: str, tasks_per_node: int, job_name: str = "block") -> Any:
        job_id = cast(Any, super()).submit(command, tasks_per_node, job_name)
        try:
            self.resources[job_id]["group"] = os.getpgid(self.resources[job_id]["remote_pid"])
        except ProcessLookupError:  # it has ended already; ``status`` will say so
            self.resources[job_id]["group"] = None
        return job_id

    def status(self, job_ids: Sequence[Any]) -> Any:
        statuses = cast(Any, super()).status(job_ids)
        for job_id, status in zip(job_ids, statuses, strict=True):
            if status.terminal:
                self._end_group(job_id)
        return statuses

    def cancel(self, job_ids: Sequence[Any]) -> list[bool]:
        for job_id in job_ids:
            self.resources[job_id]["cancelled"] = True
            self._end_group(job_id)
        return [True for _ in job_ids]

    def _end_group(self, job_id: Any) -> None:
        group = self.resources[job_id].pop("group", None)
        if group is not None:
            members = processes.members_of_group(group)
            processes.end(processes.with_descendants(members), grace_s=self.grace_s)


def make_provider(block: Any, where: str = "engine.provider") -> ExecutionProvider:
    """The provider that a block ``{"type": class name, **options}`` describes; its ``launcher`` is such a block too.

    Raises:
        EngineConfigError: names the key, its value and what is allowed.
    """
    name, options = _named(block, where, parsl.providers.__all__)
    provider_class = OwnHostProvider if name == "LocalProvider" else getattr(parsl.providers, name)
    signature = inspect.signature(getattr(parsl.providers, name).__init__)
    if "launcher" in options and "launcher" in signature.parameters:
        options["launcher"] = make_launcher(options["launcher"], f"{where}.launcher")
    _check_blocks(options, where)
    _check_walltime(options.get("walltime"), name, where)
    provider: ExecutionProvider = _construct(provider_class, name, options, where, signature)
    _check_scaling(provider, where)
    return provider


def make_launcher(block: Any, where: str = "engine.provider.launcher") -> Launcher:
    name, options = _named(block, where, sorted(set(parsl.launchers.__all__)))
    launcher_class = getattr(parsl.launchers, name)
    signature = inspect.signature(launcher_class.__init__)
    launcher: Launcher = _construct(launcher_class, name, options, where, signature)
    return launcher


def _named(block: Any, where: str, allowed: list[str]) -> tuple[str, dict[str, Any]]:
    if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
        raise EngineConfigError(
            f"{where}: {block!r} cannot be used, it must be a block with a type, one of {', '.join(allowed)}, and options"
        )
    name = block["type"]
    if name not in allowed:
        raise EngineConfigError(
            f'{where}.type: there is no "{name}"{nearest(name, allowed) or ";"} the types are {", ".join(allowed)}'
        )
    if "channel" in block:
        raise EngineConfigError(
            f"{where}.channel: Parsl has no channels any more; run the agent where the scheduler's commands work"
        )
    return name, {key: value for key, value in block.items() if key != "type"}


def _construct(part: Any, name: str, options: Mapping[str, Any], where: str, signature: inspect.Signature) -> Any:
    parameters = {key: one for key, one in signature.parameters.items() if key != "self"}
    for key, value in options.items():
        if key not in parameters:
            raise unknown_key(f"{where} ({name})", key, parameters)
        _check_kind(f"{where}.{key}", value, parameters[key])
    missing = [key for key, one in parameters.items() if one.default is one.empty and key not in options]
    if missing:
        raise EngineConfigError(f"{where} ({name}): {', '.join(missing)} must be given")
    module, extra = _LIBRARIES.get(name, ("parsl", ""))
    if importlib.util.find_spec(module) is None:
        raise EngineConfigError(
            f'{where}: {name} needs the library {module}, which is not installed here; run: pip install "parsl[{extra}]"'
        )
    try:
        return part(**options)
    except Exception as error:  # constructors of Parsl raise whatever they meet; all of it comes from the options
        raise EngineConfigError(f"{where}: {name} cannot be made with these options: {_one_line(error)}") from error


def _check_kind(where: str, value: Any, parameter: inspect.Parameter) -> None:
    """Against the annotation, or, where Parsl gives none, against the kind of the default."""
    default = parameter.default
    if parameter.annotation is not parameter.empty:
        hint = parameter.annotation
    elif isinstance(default, bool | str):
        hint = type(default)
    elif isinstance(default, int | float):
        hint = int | float
    else:
        return
    try:
        typeguard.check_type(value, hint)
    except typeguard.TypeCheckError as error:
        hint_text = " (put it in quotes)" if hint is str and isinstance(value, int | float) else ""
        raise EngineConfigError(f"{where}: {value!r} cannot be used: {_one_line(error)}{hint_text}") from error


def _check_blocks(options: Mapping[str, Any], where: str) -> None:
    for key in ("init_blocks", "min_blocks", "max_blocks", "nodes_per_block"):
        value = options.get(key)
        least = 1 if key in ("max_blocks", "nodes_per_block") else 0
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise EngineConfigError(
                f"{where}.{key}: {value!r} cannot be used, it must be a whole number, {least} or more"
            )


def _check_walltime(walltime: Any, provider: str, where: str) -> None:
    if not isinstance(walltime, str):
        return  # another kind is refused where the provider is made
    parts = _WALLTIME.fullmatch(walltime)
    if parts is None:
        raise EngineConfigError(f'{where}.walltime: {walltime!r} cannot be used, it must be like "01:30:00" (HH:MM:SS)')
    hours, minutes, seconds = map(int, parts.groups())
    if provider in _COUNT_MINUTES and not (hours or minutes):
        raise EngineConfigError(
            f"{where}.walltime: {walltime!r} cannot be used: {provider} drops the seconds, and a walltime of 0 is no limit;"
            ' the least is "00:01:00"'
        )
    if not (hours or minutes or seconds):
        raise EngineConfigError(f'{where}.walltime: {walltime!r} cannot be used, the least is "00:00:01"')


def _check_scaling(provider: ExecutionProvider, where: str) -> None:
    for key in ("min_blocks", "init_blocks"):
        if getattr(provider, key) > provider.max_blocks:
            raise EngineConfigError(
                f"{where}.{key}: {getattr(provider, key)} is more than max_blocks, which is {provider.max_blocks}"
            )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
