from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from amqpfire.lean import masked

WAITING = """
import sys
from amqpfire.lean import hide_arguments
hide_arguments()
print("hidden", sys.argv[1], flush=True)
sys.stdin.read()
"""


def test_ps_shows_neither_user_nor_password() -> None:
    secrets = ["passwd=canary one", "user=canary-two", "amqp://me:canary3@broker/"]
    secrets += ["--password", "canary4", "--password=canary5", '{"passwd": "canary6"}', "host_id=7"]
    command = [sys.executable, "-c", WAITING, *secrets]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"hidden passwd=canary one\n"
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"canary" not in shown
    assert shown.endswith(b"\0host_id=7\0")
    assert b"amqp://me:*" in shown


def test_other_arguments_are_left_as_they_are() -> None:
    shown = b"amqpfire\0--server=h\0superuser=x\0host_uid=user=y\0--url\0amqp://me@h/\0"
    assert masked(shown) == shown


def test_the_way_to_the_broker_needs_neither_asyncio_nor_a_validator() -> None:
    code = (
        "import sys; from amqpfire.__main__ import main;"
        "status = main(['-s', 'publish', '--server', '127.0.0.1', '--port', '1']);"
        "sys.exit(status != 5 or 'asyncio' in sys.modules or 'jsonschema' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_asyncio_adapter_is_there_for_who_wants_it() -> None:
    code = (
        "from amqpfire.lean import import_pika; import_pika();"
        "from pika.adapters.asyncio_connection import AsyncioConnection; AsyncioConnection.__name__"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
