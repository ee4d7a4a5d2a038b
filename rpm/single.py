"""Writes the external check of Zabbix as one file that needs nothing but Python.

    python3 rpm/single.py TARGET INTERPRETER FOLDER...

The file is an archive that Python runs as it is: the packages amqpfire, pika and what amqpfire
needs of uploaderd, out of the folders named. Bytecode of the Python that builds it lies beside each
source, so that nothing is compiled at a start; another Python takes the sources.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

MAIN = """\
import sys

if sys.version_info < (3, 11):
    print('{"status_query": 0, "message_query": "The check needs Python 3.11 or later."}')
    sys.exit()

from amqpfire.zabbix import program

program()
"""
PACKAGES = ("amqpfire", "pika", "uploaderd")
NEEDLESS = ("__main__.py", "gevent_connection.py", "tornado_connection.py", "twisted_connection.py")
DATE = (1980, 1, 1, 0, 0, 0)
UNCHECKED = 1
"""PEP 552: the source is never looked at, for both are in one archive."""


def main() -> None:
    """Writes the file, so that the same sources give the same bytes."""
    target, interpreter, *folders = sys.argv[1:]
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", DATE), MAIN)
        for name, path in sorted(files([Path(folder) for folder in folders])):
            archive.writestr(zipfile.ZipInfo(name, DATE), path.read_bytes())
            if path.suffix == ".py":
                archive.writestr(zipfile.ZipInfo(f"{name}c", DATE), bytecode(name, path))
    # Isolated and without site-packages: quick, and whatever else is installed is not looked at.
    Path(target).write_bytes(b"#!%s -IS\n" % interpreter.encode() + content.getvalue())
    Path(target).chmod(0o755)


def files(folders: list[Path]) -> Iterator[tuple[str, Path]]:
    """The sources and schemas of the packages, by their names in the archive."""
    for folder in folders:
        for package in PACKAGES:
            for path in (folder / package).rglob("*"):
                if path.suffix in (".py", ".json") and path.name not in NEEDLESS:
                    yield str(path.relative_to(folder)), path


def bytecode(name: str, path: Path) -> bytes:
    """A pyc file (PEP 552) of a module."""
    source = path.read_bytes()
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    flags = UNCHECKED.to_bytes(4, "little")
    known = importlib.util.source_hash(source)
    return importlib.util.MAGIC_NUMBER + flags + known + marshal.dumps(code)


if __name__ == "__main__":
    main()
