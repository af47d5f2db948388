"""Kenning end to end: the real binary with the real clients of other people.

usage: run.py KENNING_BINARY [--js DIR_WITH_NODE_MODULES] [--ui UI_DIR] [--only PART_OF_A_NAME]

Every function `check_*` in `checks/` is a check; one whose tools are missing is reported as skipped, loudly. The last
line counts.
"""

import argparse
import importlib
import os
import pathlib
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from kenning import Skip  # noqa: E402


def checks(only):
    """Name and function of every check whose name has `only` in it, by module and name."""
    for path in sorted(HERE.glob("checks/*.py")):
        module = vars(importlib.import_module(f"checks.{path.stem}"))
        for function, check in sorted(module.items()):
            name = f"{path.stem}.{function.removeprefix('check_')}"
            if function.startswith("check_") and only in name:
                yield name, check


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kenning", type=os.path.abspath)
    parser.add_argument("--js", type=os.path.abspath)
    parser.add_argument("--ui", type=os.path.abspath)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    counts = dict(passed=0, failed=0, skipped=0)
    for name, check in checks(options.only):
        start = time.monotonic()
        try:
            check(options)
            outcome, story = "passed", ""
        except Skip as reason:
            outcome, story = "skipped", f": SKIPPED, {reason}"
        except Exception:
            outcome, story = "failed", ""
            traceback.print_exc()
        counts[outcome] += 1
        print(f"{name}: {outcome}{story} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
