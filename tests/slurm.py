"""A private Slurm cluster of one node for the tests: real daemons on loopback, gone afterwards.

Without systemd, cgroups, accounting or files of the system, as root or as an ordinary user; several may run at once. The
node has two cores whatever the machine has, and jobs share them, so that a job starts at once.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.postgres import free_port

PARTITION = "debug"
#: The partition that refuses a job of more than two minutes.
SHORT_PARTITION = "short"
CORES = 2

_DAEMONS = ("munged", "slurmctld", "slurmd")
_COMMANDS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
_START_S = 30.0
_STOP_S = 15.0
#: Nothing of the cluster is kept, so its daemons need not end in order.
_DAEMON_END_S = 3.0
_ATTEMPTS = 3


class SlurmMissing(Exception):
    """The programs of Slurm or MUNGE are not installed."""


class SlurmFailed(Exception):
    """A daemon or a command of the cluster failed; the text ends with what it said last."""


class SlurmCluster:
    """``munged``, ``slurmctld`` and ``slurmd`` as children of this process, with everything they write in ``folder``.

    Programs use the cluster when they run with ``environment`` (``SLURM_CONF``).
    """

    def __init__(self) -> None:
        self._programs = _programs()
        # Not below pytest's folder: munged refuses a socket below a folder that others cannot enter.
        self.folder = Path(tempfile.mkdtemp(prefix="flows-slurm-"))
        self.folder.chmod(0o755)
        self.name = f"flows{secrets.token_hex(4)}"
        self.conf = self.folder / "slurm.conf"
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start()
                return
            except SlurmFailed as error:
                self.stop(keep_folder=True)
                # Another program may have taken a port between our choice and the daemon's start.
                if attempt == _ATTEMPTS or "ddress already in use" not in str(error):
                    shutil.rmtree(self.folder, ignore_errors=True)
                    raise

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead the commands of Slurm to this cluster."""
        return {"SLURM_CONF": str(self.conf)}

    def run(self, program: str, *arguments: str) -> str:
        """What a command of Slurm prints.

        Raises:
            SlurmFailed: with what the command complained about.
        """
        command = [self._programs[program], *arguments]
        environment = os.environ | self.environment
        try:
            done = subprocess.run(
                command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=30, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SlurmFailed(f"{program} gave no answer in 30 s{self._tails()}") from error
        if done.returncode:
            raise SlurmFailed(f"{' '.join([program, *arguments])}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """State of every job that is not over, such as ``RUNNING``, by its id."""
        lines = self.run("squeue", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split(maxsplit=1) for line in lines if line.strip())

    def job(self, job_id: str) -> dict[str, str]:
        """What the controller knows of a job, over or not: ``{"JobState": "TIMEOUT", "TimeLimit": "00:01:00", ...}``."""
        fields = self.run("scontrol", "--oneliner", "show", "job", job_id).split()
        return dict(field.split("=", 1) for field in fields if "=" in field)

    def cancel(self, *job_ids: str) -> None:
        """``scancel``, as an operator or a user would."""
        self.run("scancel", *job_ids)

    def end_walltime(self, job_id: str) -> None:
        """Let the job's time run out now. The controller looks every 30 s, so it ends, in state TIMEOUT, within that."""
        self.run("scontrol", "update", f"JobId={job_id}", "EndTime=now+1second")

    def wait_until(self, condition: Callable[[], bool], what: str, *, timeout_s: float = 30.0) -> None:
        """Look at the cluster until ``condition`` holds.

        Raises:
            SlurmFailed: it does not hold after ``timeout_s``; says ``what`` was waited for, the queue and the logs.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._check_daemons()
            if time.monotonic() > deadline:
                queue = self.run("squeue", "--states=all", "--format=%i %T %r %M %l %j")
                raise SlurmFailed(f"{what}: not after {timeout_s:g} s. Queue:\n{queue}{self._tails()}")
            time.sleep(0.1)

    def stop(self, *, keep_folder: bool = False) -> None:
        """End jobs, then daemons; nothing of the cluster runs afterwards. May be repeated."""
        if self._children and all(child.poll() is None for _, child in self._children):
            # A controller in trouble does not answer; what it leaves is killed below.
            with suppress(SlurmFailed, OSError):
                for job_id in self.jobs():
                    self.run("scancel", "--signal=KILL", "--full", job_id)
                    self.run("scancel", job_id)
                self.wait_until(lambda: not self.jobs(), "end of all jobs", timeout_s=_STOP_S)
        for _, child in reversed(self._children):
            _end(child)
        self._children.clear()
        for pid in self._left_over():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not keep_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[int]:
        """Process ids of daemons, job steps and what jobs run."""
        return sorted({child.pid for _, child in self._children if child.poll() is None} | set(self._left_over()))

    def _start(self) -> None:
        for name in ("munge", "state", "spool", "log"):
            (self.folder / name).mkdir(mode=0o700 if name == "munge" else 0o755, exist_ok=True)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        self._write_configuration()
        munge = self.folder / "munge"
        self._launch(
            "munged",
            "--foreground",
            "--force",  # warn, instead of refuse, about a world-writable /tmp above
            f"--key-file={key}",
            f"--socket={self.folder / 'munge.socket'}",
            f"--pid-file={munge / 'pid'}",
            f"--log-file={self.folder / 'log' / 'munged.log'}",
            f"--seed-file={munge / 'seed'}",
        )
        self._wait_for_daemon("munged", (self.folder / "munge.socket").exists)
        self._launch("slurmctld", "-D", "-c", "-f", str(self.conf))
        self._launch("slurmd", "-D", "-c", "-f", str(self.conf), "-N", _NODE)
        self._wait_for_daemon("slurmctld and slurmd", self._node_is_idle)

    def _write_configuration(self) -> None:
        user = getpass.getuser()
        host = socket.gethostname().partition(".")[0]  # the daemons know themselves by their short name
        folder = self.folder
        self.conf.write_text(
            f"""\
ClusterName={self.name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
SlurmdParameters=config_overrides
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
EnforcePartLimits=ALL
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
KillWait=2
NodeName={_NODE} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={CORES} RealMemory=1024 State=UNKNOWN
PartitionName={PARTITION} Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 OverSubscribe=FORCE:16 State=UP
PartitionName={SHORT_PARTITION} Nodes=ALL MaxTime=2 OverSubscribe=FORCE:16 State=UP
"""
        )

    def _launch(self, program: str, *arguments: str) -> None:
        with (self.folder / "log" / f"{program}.out").open("ab") as out:
            child = subprocess.Popen(
                [self._programs[program], *arguments],
                env=os.environ | self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop the daemons in order
            )
        self._children.append((program, child))

    def _wait_for_daemon(self, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_S
        while not ready():
            self._check_daemons()
            if time.monotonic() > deadline:
                raise SlurmFailed(f"{what} not ready after {_START_S:g} s{self._tails()}")
            time.sleep(0.05)

    def _node_is_idle(self) -> bool:
        try:
            return self.run("sinfo", "--noheader", "--format=%T").split()[:1] == ["idle"]
        except SlurmFailed:
            return False  # the controller does not listen yet; a dead one is found by its exit code

    def _check_daemons(self) -> None:
        for program, child in self._children:
            if child.poll() is not None:
                raise SlurmFailed(f"{program} ended with exit code {child.returncode}{self._tails()}")

    def _tails(self) -> str:
        """The last lines that every daemon wrote, to its log or, before it had one, to its output."""
        text = ""
        for daemon, _ in self._children:
            for path in (self.folder / "log" / f"{daemon}.log", self.folder / "log" / f"{daemon}.out"):
                if path.exists() and (lines := path.read_text(errors="replace").splitlines()[-15:]):
                    text += f"\n--- {path.name}\n" + "\n".join(lines)
                    break
        return text

    def _left_over(self) -> Iterator[int]:
        """Processes of jobs, which carry the cluster's name, and children of our daemons, which name themselves slurm..."""
        of_job = f"SLURM_CLUSTER_NAME={self.name}".encode()
        of_daemon = f"SLURM_CONF={self.conf}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError):  # it ended while we looked, or belongs to somebody else
                variables = (entry / "environ").read_bytes().split(b"\0")
                of_slurm = (entry / "cmdline").read_bytes().startswith(b"slurm")
                if of_job in variables or (of_slurm and of_daemon in variables):
                    yield int(entry.name)


_NODE = "node1"


def _programs() -> dict[str, str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # daemons of ordinary users
    found = {name: shutil.which(name, path=path) for name in (*_DAEMONS, *_COMMANDS)}
    absent = [name for name, place in found.items() if place is None]
    if absent:
        raise SlurmMissing(f"no {', '.join(absent)}; install with: apt-get install slurm-wlm munge")
    return {name: place for name, place in found.items() if place is not None}


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=_DAEMON_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
