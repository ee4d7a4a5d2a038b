"""One run of a client in Python, in a process of its own: `python -m bench.transfer.puller KIND`.

Says that it is ready, reads its order (a JSON object) from standard input, fetches, and prints the
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


def ours(order: dict[str, Any], verification: Verification, *, by_ssh: bool) -> None:
    """Our engine: every file hashed, made durable, named; in a process as a worker is."""
    memory.settle()
    access = Access(
        host="127.0.0.1",
        port=order["port"],
        user=order["user"],
        key_file=Path(order["key_file"]),
        host_key_policy="insecure",
        legacy=by_ssh,
    )
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
    wanted.sort(key=lambda one: one.remote_path)
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
    """Fetches once."""
    print("ready", flush=True)
    order = json.load(sys.stdin)
    before = _cpu_s()
    match sys.argv[1]:
        case "paramiko-get":
            paramiko_get(order)
        case "ours-remote-hash":
            ours(order, "remote_hash", by_ssh=False)
        case kind:
            ours(order, "size", by_ssh=kind == "ours-by-ssh")
    print(json.dumps({"cpu_s": _cpu_s() - before}))


def _cpu_s() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usage = [resource.getrusage(kind) for kind in kinds]
    return sum(one.ru_utime + one.ru_stime for one in usage)


if __name__ == "__main__":
    main()
