"""The halt flag: taken exclusively, told apart, always released."""

import os
import subprocess
import time
from dataclasses import replace

import paramiko
import pytest

from lab.station import Station
from uploaderd.errors import StationHalted
from uploaderd.station.halt import HaltFlag, Patience, this_process

QUICK = Patience(tries=2, shortest_s=0, longest_s=0, settle_s=0)


def flag_of(sftp: paramiko.SFTPClient, station: Station, **options: object) -> HaltFlag:
    return HaltFlag(sftp, station.config, patience=QUICK, **options)  # type: ignore[arg-type] # the tests' own options


def test_the_flag_names_its_owner_and_is_released(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    with flag_of(sftp, station):
        text = station.flag.read_text()
        assert f"pid={os.getpid()}" in text
        assert text.count("\n") == 1
    assert not station.flag.exists()


def test_the_flag_is_released_when_the_work_fails(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    with pytest.raises(ZeroDivisionError), flag_of(sftp, station):
        raise ZeroDivisionError
    assert not station.flag.exists()


def test_a_foreign_flag_is_respected_however_old(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    station.flag.touch()
    os.utime(station.flag, (1, 1))
    with pytest.raises(StationHalted), flag_of(sftp, station):
        pass
    assert station.flag.read_bytes() == b""


def test_a_living_owners_flag_is_respected(sftp: paramiko.SFTPClient, station: Station) -> None:
    with flag_of(sftp, station):
        content = station.flag.read_bytes()
        with pytest.raises(StationHalted, match="uploaderd on"), flag_of(sftp, station):
            pass
        assert station.flag.read_bytes() == content


def test_a_dead_process_of_this_machine_leaves_a_flag_that_is_taken_over(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    with subprocess.Popen(["true"]) as child:
        pass
    dead = replace(this_process(), pid=child.pid, started=1)
    flag_of(sftp, station, owner=dead).__enter__()
    with flag_of(sftp, station):
        assert f"pid={os.getpid()}" in station.flag.read_text()
    assert not station.flag.exists()


def test_a_flag_whose_release_failed_is_taken_over_by_the_same_process(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    with flag_of(sftp, station):
        content = station.flag.read_bytes()
    station.flag.write_bytes(content)
    with flag_of(sftp, station):
        assert station.flag.read_bytes() != content
    assert not station.flag.exists()


def test_a_flag_of_another_machine_is_respected_for_its_lease_only(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    elsewhere = replace(this_process(), host="elsewhere")
    flag_of(sftp, station, owner=elsewhere).__enter__()
    with pytest.raises(StationHalted, match="elsewhere"), flag_of(sftp, station):
        pass
    old = time.time() - 7200
    os.utime(station.flag, (old, old))
    with flag_of(sftp, station):
        pass
    assert not station.flag.exists()


def test_an_agent_that_tested_the_flag_just_before_gives_itself_away(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    """Test-then-touch: the agent touches the flag that was created between the two."""
    flag = HaltFlag(
        sftp, station.config, patience=QUICK, wait=lambda _seconds: station.flag.touch()
    )
    with pytest.raises(StationHalted), flag:
        pass
    assert station.flag.exists(), "the agent is at work and removes the flag itself"


def test_a_flag_lost_meanwhile_is_noticed_and_another_owners_is_not_removed(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    with flag_of(sftp, station) as flag:
        station.flag.unlink()
        station.flag.touch()
        with pytest.raises(StationHalted):
            flag.confirm()
    assert station.flag.exists()


def test_the_flag_is_kept_fresh(sftp: paramiko.SFTPClient, station: Station) -> None:
    with flag_of(sftp, station) as flag:
        flag._renewed -= 3600
        flag.renew()
        assert station.flag.stat().st_mtime >= time.time() - 300
        assert flag._renew_every_s <= 300 * 60 / 4


def test_the_timeout_is_minutes_on_both_sides(sftp: paramiko.SFTPClient, station: Station) -> None:
    """A flag of ours, just taken, is fresh to the agent even with a timeout of two minutes."""
    text = station.config_path.read_text().replace("HALT_TIMEOUT=300", "HALT_TIMEOUT=2")
    station.config_path.write_text(text)
    with flag_of(sftp, station):
        assert "halted" in station.run_agent().stderr
        assert station.flag.exists()
