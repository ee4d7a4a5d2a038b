"""`python -m bench NAME [--json]`: runs one benchmark, a module of this package with `run`.

A benchmark with options of its own names them in `add_options`, and is given them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from pathlib import Path


def main() -> None:
    """Prints a line a result, or one JSON object at the end."""
    names = sorted(
        module.name
        for module in pkgutil.iter_modules([str(Path(__file__).parent)])
        if not module.name.startswith("_")
    )
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments, rest = parser.parse_known_args()
    module = importlib.import_module(f"bench.{arguments.name}")
    choice: list[argparse.Namespace] = []
    own = argparse.ArgumentParser(prog=f"python -m bench {arguments.name}")
    if hasattr(module, "add_options"):
        module.add_options(own)
        choice = [own.parse_args(rest)]
    elif rest:
        own.error(f"{arguments.name} has no options")
    results = []
    for result in module.run(*choice):
        results.append(result)
        if "missing" in result:
            print(
                f"{result['case']}: no {result['reference_name']}: {result['missing']}",
                file=sys.stderr,
            )
        elif not arguments.json:
            print(
                f"{result['case']}: {result['ours']} {result['unit']}, "
                f"{result['ratio']} x {result['reference_name']} ({result['reference']})",
                flush=True,
            )
    if arguments.json:
        print(json.dumps({"name": arguments.name, "results": results}, ensure_ascii=False))


if __name__ == "__main__":
    main()
