"""A station cannot make the server fetch what is not a measurement file."""

import os

import paramiko
import pytest

from lab.station import Station
from uploaderd.station.paths import Refused, Sound, check, screen


def test_each_bad_path_is_refused_for_its_own_reason(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    good = station.write("2024/a.bin", b"123")
    outside = station.folder / "secret"
    outside.write_bytes(b"x")
    (station.data / "out").symlink_to(outside)
    (station.data / "within").symlink_to(good)
    (station.data / "folder").symlink_to(station.folder)
    os.mkfifo(station.data / "pipe")
    root = os.fsencode(station.data)
    wanted = {
        os.fsencode(good): None,
        root + b"/within": None,
        os.fsencode(outside): "outside",
        root + b"/../secret": "outside",
        b"relative": "outside",
        root + b"-other/file": "outside",
        root + b"/out": "outside",
        root + b"/folder/secret": "outside",
        root + b"/pipe": "special",
        root + b"/2024": "special",
        root + b"/gone": "vanished",
        root + b"/no/such/folder": "vanished",
        root + b"/\xff\xfe": "name",
        root + b"/a\nb": "name",
    }
    found = list(screen(sftp, station.config, wanted, window=5))
    assert [each.path for each in found] == list(wanted)
    codes = [each.code if isinstance(each, Refused) else None for each in found]
    assert codes == list(wanted.values())
    assert found[0] == Sound(os.fsencode(good), 3, int(good.stat().st_mtime) * 1_000_000_000)


def test_a_data_folder_that_is_itself_a_link_is_followed(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    real = station.folder / "disk"
    station.data.rename(real)
    station.data.symlink_to(real)
    path = os.fsencode(station.write("a.bin", b"1"))
    assert [type(each) for each in screen(sftp, station.config, [path])] == [Sound]


def test_a_path_is_judged_without_the_station(station: Station) -> None:
    assert check(os.fsencode(station.data / "a"), station.config) is None
    assert check(os.fsencode(station.data), station.config) is not None


@pytest.mark.parametrize("there", [True, False])
def test_no_file_has_vanished_where_the_disk_may_not_be_mounted(
    sftp: paramiko.SFTPClient, station: Station, there: bool
) -> None:
    gone = os.fsencode(station.data / "2024" / "a.bin")
    if not there:
        station.data.rmdir()
    (refused,) = screen(sftp, station.config, [gone])
    assert isinstance(refused, Refused)
    assert refused.code == "unmounted"
