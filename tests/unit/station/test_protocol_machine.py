"""Both sides of the agent protocol, interleaved and killed at will: no file lost, nobody halted.

The scripts of both agents run for real in a shell, stopped before each of their steps; ours runs
over a real SFTP server, and is cut off at any of its requests. Each of our backups is given a dead
process as its owner, so that a crash is to let go.
"""

import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lab import plain_sftp
from lab.station import DEPLOYED_AGENT, IMPROVED_AGENT, lay_out
from tests.unit.station.stepped import Breaking, SteppedAgent
from uploaderd.errors import StationHalted
from uploaderd.station import index
from uploaderd.station.halt import HaltFlag, Patience, this_process
from uploaderd.station.index import IndexEntry

NO_PATIENCE = Patience(tries=1, settle_s=0)
DEAD = replace(this_process(), pid=2**22 + 1, started=1)


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ended = ExitStack()
        folder = Path(self.ended.enter_context(tempfile.TemporaryDirectory()))
        self.station = lay_out(folder / "station")
        self.fifos = folder / "fifos"
        self.sftp: paramiko.SFTPClient = self.ended.enter_context(plain_sftp.session())
        self.agent: SteppedAgent | None = None
        self.flag: HaltFlag | None = None
        self.crashed = False
        self.written: set[bytes] = set()
        self.fetched: set[bytes] = set()
        self.done: set[bytes] = set()

    # ---- the station ----

    @rule()
    def a_file_is_written(self) -> None:
        path = self.station.write(f"{len(self.written)}.bin", b"x")
        self.written.add(os.fsencode(path))

    @precondition(lambda self: self.agent is None)
    @rule(agent=st.sampled_from([DEPLOYED_AGENT, IMPROVED_AGENT]))
    def cron_starts_an_agent(self, agent: Path) -> None:
        self.agent = SteppedAgent(self.station, self.fifos, agent)

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

    def new_flag(self, sftp: paramiko.SFTPClient) -> HaltFlag:
        return HaltFlag(
            sftp, self.station.config, DEAD, patience=NO_PATIENCE, wait=lambda _seconds: None
        )

    @precondition(lambda self: self.flag is None)
    @rule()
    def a_backup_begins(self) -> None:
        flag = self.new_flag(self.sftp)
        try:
            self.flag = flag.__enter__()
            self.crashed = False
            self.done = set()
        except StationHalted:
            self.flag = None

    @precondition(lambda self: self.flag is not None)
    @rule(share=st.integers(1, 3))
    def files_are_fetched(self, share: int) -> None:
        entries = index.entries(self.sftp, self.station.config)
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

    @precondition(lambda self: self.flag is None)
    @rule(after=st.integers(0, 50))
    def a_backup_is_cut_off_at_a_request(self, after: int) -> None:
        with plain_sftp.session() as sftp:
            Breaking(sftp, after)
            try:
                with self.new_flag(sftp) as flag:
                    found = index.entries(sftp, self.station.config)
                    done = {entry.path for entry in found if isinstance(entry, IndexEntry)}
                    self.fetched |= done
                    index.append_done(sftp, self.station.config, sorted(done))
                    flag.confirm()
                    index.remove(sftp, self.station.config, done)
            except StationHalted:
                pass
            except EOFError:
                self.crashed = True

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

    def flag_is_ours(self) -> bool:
        flag = self.station.flag
        return flag.exists() and flag.read_bytes().startswith(b"uploaderd")

    @invariant()
    def the_station_is_not_left_halted_by_us(self) -> None:
        if self.flag is None and not self.crashed:
            assert not self.flag_is_ours()

    def teardown(self) -> None:
        try:
            if self.flag is not None:
                self.the_backup_ends()
            self.end_agent()
            # A flag of a killed agent becomes stale; one of our killed server need not.
            if self.station.flag.exists() and not self.flag_is_ours():
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
            phases=[Phase.generate],  # To make a failure smaller takes many minutes here.
        ),
    )


def test_no_interleaving_loses_a_file_or_leaves_the_station_halted() -> None:
    run(12, 25)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_long_interleaving_loses_a_file_or_leaves_the_station_halted() -> None:
    run(500, 60)
