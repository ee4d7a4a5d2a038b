"""One run of a client in Python, in a process of its own: `python -m bench.transfer.puller KIND`.

Says that it is awake, reads its order (a JSON object, a line) from standard input, prepares what it
is told of the files, says that it is ready, waits for a further line, fetches, and prints the
processor seconds that it and its children used.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import paramiko

from uploaderd import memory
from uploaderd.station.access import Access
from uploaderd.station.connection import connect
from uploaderd.station.transfer import Fetched, Limits, Verification, Wanted, fetch


def listed(order: dict[str, Any]) -> list[Wanted]:
    """The files with their sizes and times, as an agent's index has them."""
    with os.scandir(order["there"]) as entries:
        wanted = [
            Wanted(
                os.fsencode(entry.path),
                Path(order["here"], entry.name),
                entry.stat().st_size,
                entry.stat().st_mtime_ns,
            )
            for entry in entries
        ]
    return sorted(wanted, key=lambda one: one.remote_path)


def ours(
    order: dict[str, Any], wanted: list[Wanted], verification: Verification, *, by_ssh: bool
) -> None:
    """Our engine: every file hashed, made durable, named."""
    access = Access(
        host="127.0.0.1",
        port=order["port"],
        user=order["user"],
        key_file=Path(order["key_file"]),
        host_key_policy="insecure",
        legacy=by_ssh,
    )
    with connect(access) as connection:
        for outcome in fetch(connection, wanted, Limits(verification=verification)):
            assert isinstance(outcome, Fetched), outcome


def paramiko_get(order: dict[str, Any]) -> None:
    """paramiko as it is usually used: list, and `get` one file after the other."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(
        "127.0.0.1",
        order["port"],
        order["user"],
        key_filename=order["key_file"],
        allow_agent=False,
        look_for_keys=False,
    )
    with client, client.open_sftp() as sftp:
        for name in sftp.listdir(order["there"]):
            sftp.get(f"{order['there']}/{name}", f"{order['here']}/{name}")


def main() -> None:
    """Fetches once, in a process that is set up as a worker is."""
    print("awake", flush=True)
    order = json.loads(sys.stdin.readline())
    wanted = listed(order)
    memory.spare()
    memory.settle()
    print("ready", flush=True)
    sys.stdin.readline()
    before = _cpu_s()
    match sys.argv[1]:
        case "paramiko-get":
            paramiko_get(order)
        case "ours-remote-hash":
            ours(order, wanted, "remote_hash", by_ssh=False)
        case kind:
            ours(order, wanted, "size", by_ssh=kind == "ours-by-ssh")
    print(json.dumps({"cpu_s": _cpu_s() - before}))


def _cpu_s() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usage = [resource.getrusage(kind) for kind in kinds]
    return sum(one.ru_utime + one.ru_stime for one in usage)


if __name__ == "__main__":
    main()
