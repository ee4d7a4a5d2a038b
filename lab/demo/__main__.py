"""Runs the main job on this machine and shows what landed.

Everything lies in `var/demo` and stays there, so that a second run finds nothing new at the
stations; `--keep` leaves everything running, `--stop` ends it.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from lab.demo import kept, play
from uploaderd.errors import UploaderError

EXAMPLES = """\
examples:
  scripts/demo             the whole job, everything ended afterwards
  scripts/demo --keep      the same, and everything goes on running
  scripts/demo --stop      ends what --keep left running
  scripts/demo --fresh     forgets earlier runs first
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; exit status 0 if everything landed, 1 if not, 130 if interrupted."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Shows uploaderd at work, on real files, in a minute.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--keep", action="store_true", help="leave everything running")
    what.add_argument("--stop", action="store_true", help="end what --keep left running")
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs first")
    parser.add_argument("--files", type=Path, metavar="FOLDER", help="CRFS files for the stations")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(__file__).parent.parent.parent / "var" / "demo"
    try:
        if arguments.stop:
            return kept.stop(folder)
        kept.stop(folder, quiet=True)
        if arguments.fresh:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.keep:
            return kept.leave_running(
                folder, lambda wait: play.run(folder, files=arguments.files, hold=wait)
            )
        return play.run(folder, files=arguments.files)
    except KeyboardInterrupt:
        print("\ndemo: interrupted; everything that was started is ended", file=sys.stderr)
        return 130
    except UploaderError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
