"""The calculations of the benchmark, and its messages if it cannot run."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from bench.bare import Answer
from bench.figures import Figure, Part
from bench.load import Request
from bench.report import COSTS, DOCS, KEPT, Machine, Run, costs, keep, read, table, written

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", ["bench", "bench.profile"])
def test_without_wrk(tmp_path: Path, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "wrk, which makes the load, is not installed. On Debian and Ubuntu: apt install wrk\n"


@pytest.mark.parametrize(
    ("goal", "ratios", "worst", "met"),
    [
        (">= 0.70", (0.9, 0.7), 0.7, True),
        (">= 0.70", (0.9, 0.69), 0.69, False),
        ("<= 1.20", (1.2, 0.1), 1.2, True),
        ("<= 1.20", (0.1, 1.21), 1.21, False),
    ],
)
def test_a_figure_is_its_worst_part(goal: str, ratios: tuple[float, ...], worst: float, met: bool) -> None:
    figure = Figure.of("x", "y", goal, [Part.of(str(ratio), ratio, 1) for ratio in ratios])
    assert (figure.value, figure.ratio, figure.met, len(figure.parts)) == (worst, worst, met, 2)


@pytest.mark.parametrize(
    ("rate", "delay", "worst", "met"),
    [(0.8, 1.1, "delay", True), (0.71, 1.1, "rate", True), (0.6, 1.1, "rate", False), (0.8, 1.3, "delay", False)],
)
def test_parts_may_have_goals_of_their_own(rate: float, delay: float, worst: str, met: bool) -> None:
    parts = [Part.of("rate", rate, 1, ">= 0.70"), Part.of("delay", delay, 1, "<= 1.20")]
    figure = Figure.of("x", "y", "", parts)
    (shown,) = [part for part in parts if part.ratio == figure.ratio]
    assert (shown.name, figure.goal, figure.met) == (worst, shown.goal, met)


def test_requests_are_lines() -> None:
    request = Request("POST", "/token", {"A": "b: c", "D": "e"}, "f=g")
    assert request.line == "POST\t/token\tA: b: c|D: e\tf=g\n"


def test_the_bare_answer_is_the_same() -> None:
    import httpx

    response = httpx.Response(200, headers={"Date": "now", "X-A": "b", "Content-Length": "1"}, content=b"x")
    assert Answer.of(response) == Answer(200, [("x-a", "b"), ("content-length", "1")], b"x")


def test_hops_are_counted() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.hops"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    rows = {line[:34].strip(): [int(number) for number in line[34:].split()] for line in done.stdout.splitlines()[1:]}
    assert len(rows) == 5
    assert all(calls >= functions >= files > 5 for calls, functions, files in rows.values())


def test_imports_are_counted_by_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.imports"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    rows = {line[:24].strip(): line[24:].split() for line in done.stdout.splitlines()[1:]}
    assert {"idp", "litestar", "Python's library"} <= rows.keys()
    *parts, total = rows.values()
    assert sum(int(modules) for modules, _ in parts) == int(total[0])
    assert float(rows["idp"][1]) < float(total[1])


def _run(number: int, rate: float) -> Run:
    machine = Machine("A processor", 2, "3.11.7", "Linux 6", 0.1)
    parts = [Part.of("against the signatures", rate, 8000), Part.of("against the bare handler", rate, 6000, ">= 0.90")]
    tokens = Figure.of("client_credentials (JWT access token, RS256)", "tokens/s", ">= 0.70", parts)
    return Run(machine, f"c{number}", date(2026, 12, number), 12.3, ["--scale", "0.1"], [tokens])


def test_the_last_runs_are_kept(tmp_path: Path) -> None:
    for number in range(1, KEPT + 2):
        keep(_run(number, 5600), tmp_path / "results.json")
    assert [run.commit for run in read(tmp_path / "results.json")] == ["c2", "c3", "c4"]


def test_a_figure_is_met_if_all_runs_meet_it() -> None:
    def row(*rates: float) -> str:
        runs = [_run(number, rate) for number, rate in enumerate(rates, 1)]
        return next(line for line in table(runs).splitlines() if "tokens/s" in line)

    assert row(5600, 6000).endswith("| 5,600 / 8,000 = 0.70 | 6,000 / 8,000 = 0.75 | >= 0.70 ✓ |")
    assert row(5600, 5000).endswith("| 5,600 / 8,000 = 0.70 | 5,000 / 8,000 = 0.62 | >= 0.70 |")


def test_the_docs_show_the_results() -> None:
    """`python -m bench.report` writes them. Each run has every row."""
    runs = read()
    assert len(runs) == KEPT
    assert all(len(run.figures) == 20 for run in runs)
    assert DOCS.read_text(encoding="utf-8") == written(DOCS.read_text(encoding="utf-8"), runs)
    assert all(f"| {request} |" in costs(runs) for request in COSTS)
