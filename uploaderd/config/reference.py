"""Writes `docs/configuration.md` out of the schemas: `python -m uploaderd.config.reference`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from uploaderd.config.check import schema

PARTS = (
    "daemon",
    "service",
    "station",
    *(
        f"behaviour/{service}"
        for service in (
            "backup",
            "garbage",
            "gateway",
            "host-check",
            "host-request",
            "process",
            "publish",
            "receive",
            "scheduler",
            "send",
        )
    ),
)

_INTRODUCTION = """\
# Configuration

Three kinds of JSON files: `config.json` for the daemon, one file for each service in
`services.d/`, and one for a station that needs settings of its own, in the folder that the backup
service's `stations` names.

The name of a service file, without `.json`, is the name of the service; two files
may run the same service with different settings. Relative paths are taken from the folder of the
file that names them. A wrong file is refused with one line: file, line, key and what was expected.

A password is given in one of four ways: `password_credential` (systemd's `LoadCredential=`),
`password_file`, `password_env`, or `password` in clear. This page is written out of the schemas.
"""


def page() -> str:
    """The whole page, in Markdown."""
    parts = [_INTRODUCTION]
    for name in PARTS:
        wanted = schema(name) or {}
        parts.append(f"## {wanted['title']}\n\n| key | default | meaning |\n| --- | --- | --- |")
        parts.append("\n".join(_rows(wanted, "")) + "\n")
    return "\n".join(parts)


def _rows(part: dict[str, Any], before: str) -> Iterator[str]:
    for key, each in part.get("properties", {}).items():
        if "properties" in each:
            yield from _rows(each, f"{before}{key}.")
            continue
        required = key in part.get("required", ())
        default = f"`{json.dumps(each['default'])}`" if "default" in each else ""
        choices = ", ".join(f"`{choice}`" for choice in each.get("enum", ()))
        text = each["description"] + (f" ({choices})" if choices else "")
        yield f"| `{before}{key}` | {'required' if required else default} | {text} |"


if __name__ == "__main__":
    sys.stdout.write(page())
