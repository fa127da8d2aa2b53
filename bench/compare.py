"""`make bench-compare BASE=rev`: compares two revisions, measured in turn so that the machine's load affects both."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

HERE = Path(__file__).parents[1]


def _measure(checkout: Path, output: Path, figures: list[str], seconds: float) -> dict[str, float]:
    """Run one round of the figures with the benchmark of a checkout.

    Returns:
        the values of the parts of each figure by name. The value of a figure is that of its worst part, which may be
        another part in each checkout.
    """
    command = [sys.executable, "-m", "bench", *figures, "--rounds", "1", "--seconds", str(seconds)]
    subprocess.run(
        [*command, "--output", str(output)],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    results = msgspec.json.decode(output.read_bytes())
    output.unlink()
    # Earlier revisions wrote one run.
    run = results[-1] if isinstance(results, list) else results
    return {
        figure["name"] if len(figure["parts"]) < 2 else f"{figure['name']}: {part['name']}": part["value"]
        for figure in run["figures"]
        for part in figure["parts"] or [figure]
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("base", help="the revision to compare with; it must have this benchmark")
    parser.add_argument("figures", nargs="*", default=["client_credentials", "refresh_token", "documents"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    rounds: list[tuple[dict[str, float], dict[str, float]]] = []
    with tempfile.TemporaryDirectory(prefix="idp-compare-") as name:
        base, output = Path(name, "base"), Path(name, "results.json")
        subprocess.run(["git", "-C", HERE, "worktree", "add", "--detach", "-q", base, arguments.base], check=True)
        try:
            for _ in range(arguments.rounds):
                one, other = (
                    _measure(checkout, output, arguments.figures, arguments.seconds) for checkout in (base, HERE)
                )
                rounds.append((one, other))
        finally:
            subprocess.run(["git", "-C", HERE, "worktree", "remove", "--force", base], check=True)
    print(f"| figure | {arguments.base} | here | here / {arguments.base} |\n| --- | ---: | ---: | ---: |")
    for figure in rounds[0][1]:
        before, after = (statistics.median(pair[side].get(figure, 0.0) for pair in rounds) for side in (0, 1))
        print(f"| {figure} | {before:,.1f} | {after:,.1f} | {after / before if before else float('nan'):.2f} |")


if __name__ == "__main__":
    main()
