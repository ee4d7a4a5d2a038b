"""Both sides of the agent protocol, interleaved and killed at will: no file lost, nobody halted.

The deployed agent's script runs for real, stopped before each of its steps; ours runs over a real
SFTP server. Each of our backups is given a dead process as its owner, so that a crash is to let go.
"""

import os
import select
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lab import plain_sftp
from lab.station import DEPLOYED_AGENT, Station, lay_out
from uploaderd.errors import StationHalted
from uploaderd.station import index
from uploaderd.station.halt import HaltFlag, Patience, this_process
from uploaderd.station.index import IndexEntry

HOOK = '#!/bin/sh\necho "$1" >"$INDEXERD_FIFOS/at"\nread -r _ <"$INDEXERD_FIFOS/go"\n'
NO_PATIENCE = Patience(tries=1, settle_s=0)
DEAD = replace(this_process(), pid=2**22 + 1, started=1)


class SteppedAgent:
    """A run of the deployed agent that stops before each step."""

    def __init__(self, station: Station, folder: Path) -> None:
        self._fifos = {name: os.open(folder / name, os.O_RDWR) for name in ("at", "go")}
        environment = {"INDEXERD_STEP": str(folder / "hook"), "INDEXERD_FIFOS": str(folder)}
        self._process = subprocess.Popen(
            ["sh", str(DEPLOYED_AGENT), str(station.config_path)],
            env={**os.environ, **environment},
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.at = self._next()

    def _next(self) -> str:
        """The step that it stands before; empty once it has ended."""
        while True:
            ended = self._process.poll() is not None
            if select.select([self._fifos["at"]], [], [], 0 if ended else 0.02)[0]:
                return os.read(self._fifos["at"], 100).decode().strip()
            if ended:
                return ""

    def step(self) -> None:
        os.write(self._fifos["go"], b"\n")
        self.at = self._next()

    def end(self, *, kill: bool = False) -> None:
        """Let it run to its end, or kill it and its hook where it stands."""
        if kill and self.at:
            os.killpg(self._process.pid, 9)
            self._process.wait(30)
            self.at = ""
        while self.at:
            self.step()
        self._process.wait(30)
        for fifo in self._fifos.values():
            os.close(fifo)


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ended = ExitStack()
        folder = Path(self.ended.enter_context(tempfile.TemporaryDirectory()))
        self.station = lay_out(folder / "station")
        self.fifos = folder / "fifos"
        self.fifos.mkdir()
        for name in ("at", "go"):
            os.mkfifo(self.fifos / name)
        hook = self.fifos / "hook"
        hook.write_text(HOOK)
        hook.chmod(0o755)
        self.sftp: paramiko.SFTPClient = self.ended.enter_context(plain_sftp.session())
        self.agent: SteppedAgent | None = None
        self.flag: HaltFlag | None = None
        self.crashed = False
        self.conceded = False
        """We found our new flag touched by an agent at work: it is the agent's, who removes it."""
        self.written: set[bytes] = set()
        self.fetched: set[bytes] = set()
        self.done: set[bytes] = set()

    # ---- the station ----

    @rule()
    def a_file_is_written(self) -> None:
        path = self.station.write(f"{len(self.written)}.bin", b"x")
        self.written.add(os.fsencode(path))

    @precondition(lambda self: self.agent is None)
    @rule()
    def cron_starts_the_agent(self) -> None:
        self.agent = SteppedAgent(self.station, self.fifos)

    @precondition(lambda self: self.agent is not None)
    @rule()
    def the_agent_takes_a_step(self) -> None:
        assert self.agent is not None
        if self.agent.at:
            self.agent.step()
        if not self.agent.at:
            self.end_agent()

    @precondition(lambda self: self.agent is not None)
    @rule()
    def the_agent_is_killed(self) -> None:
        self.end_agent(kill=True)

    @precondition(lambda self: self.station.flag.exists() and self.flag is None)
    @rule()
    def so_much_time_passes_that_a_flag_is_stale(self) -> None:
        os.utime(self.station.flag, (1, 1))

    def end_agent(self, *, kill: bool = False) -> None:
        if self.agent is not None:
            self.agent.end(kill=kill)
            self.agent = None

    # ---- our side ----

    @precondition(lambda self: self.flag is None)
    @rule()
    def a_backup_begins(self) -> None:
        flag = HaltFlag(
            self.sftp, self.station.config, DEAD, patience=NO_PATIENCE, wait=self.agent_settles
        )
        try:
            self.flag = flag.__enter__()
            self.crashed = False
            self.done = set()
        except StationHalted:
            self.flag = None
            self.conceded = self.conceded or self.agent is not None

    def agent_settles(self, _seconds: float) -> None:
        """An agent between its test and its touch is through with both within milliseconds."""
        if self.agent is not None and self.agent.at == "touch":
            self.agent.step()

    @precondition(lambda self: self.flag is not None)
    @rule(share=st.integers(1, 3))
    def files_are_fetched(self, share: int) -> None:
        entries = list(index.entries(self.sftp, self.station.config))
        paths = [entry.path for entry in entries if isinstance(entry, IndexEntry)]
        self.done |= set(paths[::share])
        self.fetched |= self.done

    @precondition(lambda self: self.flag is not None)
    @rule()
    def the_index_is_rewritten(self) -> None:
        assert self.flag is not None
        try:
            self.flag.confirm()
        except StationHalted:
            self.the_backup_ends()
            return
        index.append_done(self.sftp, self.station.config, sorted(self.done))
        index.remove(self.sftp, self.station.config, self.done)

    @precondition(lambda self: self.flag is not None)
    @rule()
    def the_backup_ends(self) -> None:
        assert self.flag is not None
        self.flag.__exit__(None, None, None)
        self.flag = None

    @precondition(lambda self: self.flag is not None)
    @rule()
    def the_server_is_killed(self) -> None:
        self.flag = None
        self.crashed = True

    # ---- what has to hold ----

    @invariant()
    def the_station_is_not_left_halted_by_us(self) -> None:
        if not self.station.flag.exists():
            self.conceded = False
        elif self.flag is None and not self.crashed and not self.conceded:
            assert not self.station.flag.read_bytes().startswith(b"uploaderd")

    def teardown(self) -> None:
        try:
            if self.flag is not None:
                self.the_backup_ends()
            self.end_agent()
            # A flag of a killed agent becomes stale; one of our killed server need not.
            if self.station.flag.exists() and not self.crashed:
                self.so_much_time_passes_that_a_flag_is_stale()
            for _ in range(2):
                self.station.run_agent()
                self.a_backup_begins()
                if self.flag is not None:
                    self.files_are_fetched(1)
                    self.the_index_is_rewritten()
                    self.the_backup_ends()
            assert not self.station.flag.exists()
            assert self.fetched == self.written
            assert list(index.entries(self.sftp, self.station.config)) == []
        finally:
            self.ended.close()


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call] # hypothesis leaves it untyped
        Protocol,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            deadline=None,
        ),
    )


def test_no_interleaving_loses_a_file_or_leaves_the_station_halted() -> None:
    run(12, 25)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_long_interleaving_loses_a_file_or_leaves_the_station_halted() -> None:
    run(500, 60)
