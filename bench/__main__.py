"""`make bench`: measures every figure of the table, prints it and writes bench/results.json."""

import argparse
import os
import platform
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from bench import product

RESULTS = Path(__file__).with_name("results.json")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", help="only these figures, by function name")
    parser.add_argument("--seconds", type=float, default=5, help="duration of one load")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each figure, of which the median counts")
    parser.add_argument("--scale", type=float, default=1, help="millions of users, and ten thousands of deliveries")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _machine() -> dict[str, str | int | float]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "cpu": next(models, platform.processor()),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": os.getloadavg()[0],
    }


async def _measure(arguments: argparse.Namespace, port: int) -> None:
    # Modules that read the settings are imported here, after the environment is set.
    import msgspec

    from bench import claims, deliveries, directory, large, lists, scrapes, storm
    from bench.figures import FIGURES, Bench, Figure
    from bench.report import show
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
    machine, found = _machine(), []
    async with prepared(port, arguments.seconds, arguments.rounds) as bench:
        for row in arguments.figures or rows:
            found.append(await rows[row](bench))
            show(found[-1:])
    results = {"machine": machine, "commit": _commit(), "figures": found}
    arguments.output.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    print()
    show(found, heading=True)


def main() -> None:
    product.run(partial(_measure, _arguments()))


if __name__ == "__main__":
    main()
