"""`python -m bench NAME [--json]`: runs one benchmark, a module of this package with `run`."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
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
    arguments = parser.parse_args()
    results = []
    for result in importlib.import_module(f"bench.{arguments.name}").run():
        results.append(result)
        if not arguments.json:
            print(
                f"{result['case']}: {result['ours']} {result['unit']}, "
                f"{result['ratio']} x {result['reference_name']} ({result['reference']})",
                flush=True,
            )
    if arguments.json:
        print(json.dumps({"name": arguments.name, "results": results}, ensure_ascii=False))


if __name__ == "__main__":
    main()
