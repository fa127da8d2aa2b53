"""`make bench`: measures every figure of the table, prints it and adds it to bench/results.json.

If only some figures are named, they are printed, and written only to the file that ``--output`` names.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench import product

#: Rows that fill an empty database of their own.
FILLED = {"directory", "lists"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", help="only these figures, by function name")
    parser.add_argument("--seconds", type=float, default=2, help="duration of one load")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each figure, of which the median counts")
    parser.add_argument("--scale", type=float, default=0.05, help="millions of users, and ten thousands of deliveries")
    parser.add_argument("--output", type=Path, help="the file of the results, in place of bench/results.json")
    return parser.parse_args()


def _commit() -> str:
    """Return the name of the commit, with ``-dirty`` if a file was changed other than the results of earlier runs."""
    git = ["git", "-C", str(Path(__file__).parent)]
    name = subprocess.run([*git, "describe", "--always"], capture_output=True, text=True, check=False).stdout.strip()
    others = [*git, "diff", "--quiet", "HEAD", "--", ":/", ":(exclude)results.json"]
    changed = subprocess.run(others, capture_output=True, check=False)
    return f"{name}-dirty" if name and changed.returncode else name


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


async def _measure(arguments: argparse.Namespace, port: int) -> None:
    # Modules that read the settings are imported here, after the environment is set.
    from bench import claims, deliveries, directory, large, lists, scrapes, storm
    from bench.figures import FIGURES, Bench, Figure
    from bench.report import RESULTS, Machine, Run, keep, show
    from bench.setting import prepared

    scale = large.Scale().of(arguments.scale)
    rows: dict[str, Callable[[Bench], Awaitable[Figure]]] = {row.__name__: row for row in FIGURES}
    rows["storm"] = storm.storm
    rows["claims"] = claims.claims
    rows["scrapes"] = scrapes.scrapes
    rows["deliveries"] = lambda bench: deliveries.deliveries(bench, scale.deliveries)
    rows["growth"] = lambda bench: large.growth(bench, scale)
    rows["clean_up"] = lambda bench: large.clean_up(bench, scale)
    rows["directory"] = lambda bench: directory.directory(bench, directory.Scale().of(arguments.scale))
    rows["lists"] = lambda bench: lists.lists(
        bench, large.Scale(audit_events_of_user=2, refresh_tokens_of_user=0).of(arguments.scale)
    )
    if unknown := set(arguments.figures) - rows.keys():
        sys.exit(f"There is no figure {', '.join(sorted(unknown))}. There are {', '.join(rows)}.")
    found: list[Figure] = []
    machine = Machine(
        _cpu(), os.cpu_count() or 1, platform.python_version(), f"{platform.system()} {platform.release()}",
        os.getloadavg()[0],
    )  # fmt: skip
    began, started = datetime.now(UTC).date(), time.monotonic()
    wanted = arguments.figures or list(rows)
    groups = [[row for row in wanted if row not in FILLED], *([row] for row in wanted if row in FILLED)]
    for group in filter(None, groups):
        async with prepared(port, arguments.seconds, arguments.rounds) as bench:
            for row in group:
                found.append(await rows[row](bench))
                show(found[-1:])
    minutes = round((time.monotonic() - started) / 60, 1)
    output = arguments.output or (None if arguments.figures else RESULTS)
    if output is not None:
        keep(Run(machine, _commit(), began, minutes, sys.argv[1:], found), output)
    print()
    show(found, heading=True)


def main() -> None:
    product.run(partial(_measure, _arguments()))


if __name__ == "__main__":
    main()
