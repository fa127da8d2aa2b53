"""The results: printed while they are measured, kept in bench/results.json, and shown in docs/performance.md.

``python -m bench.report`` writes the tables of the docs from the results.
"""

import statistics
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import msgspec

from bench.figures import Figure, Part

RESULTS = Path(__file__).with_name("results.json")
DOCS = Path(__file__).parents[1] / "docs" / "performance.md"
#: A table of the docs is between these lines, with its name in the first one.
BEGIN, END = "<!-- From bench/results.json: {} -->\n", "<!-- End -->\n"
#: Runs that are kept. A single one may have met a bad moment of the machine.
KEPT = 3
#: Figures with more parts than this are shown by their worst part alone.
MOST_PARTS = 8
#: The rows of the table of costs: the beginning of a figure's name, a part, and whether the rate is that of the limit.
COSTS = {
    "an RSA 2048 signature, alone": ("client_credentials (JWT", "against the signatures", True),
    "`client_credentials`, RS256": ("client_credentials (JWT", "against the signatures", False),
    "`client_credentials`, ES256": ("the same with ES256", "", False),
    "`authorization_code`: access token, ID token, refresh token": ("authorization_code", "", False),
    "`refresh_token`, the same three": ("refresh_token", "", False),
    "introspection": ("introspection", "introspection", False),
    "userinfo": ("introspection", "userinfo", False),
    "JWKS": ("JWKS", "jwks.json, 200", False),
    "an Argon2id hash, alone": ("password sign-in", "", True),
    "sign-in by password": ("password sign-in", "", False),
}


class Machine(msgspec.Struct, frozen=True):
    """Where a run was measured.

    Attributes:
        load_before: the average number of runnable processes in the minute before it.
    """

    cpu: str
    cores: int
    python: str
    system: str
    load_before: float


class Run(msgspec.Struct, frozen=True):
    """One run of ``make bench``.

    Attributes:
        commit: as ``git describe`` names it; ``-dirty`` if files were changed.
        date: of its beginning, in UTC.
        minutes: its duration.
        arguments: of the command.
    """

    machine: Machine
    commit: str
    date: date
    minutes: float
    arguments: Sequence[str]
    figures: Sequence[Figure]


def read(path: Path = RESULTS) -> list[Run]:
    """Return the runs that a file has, the latest one last."""
    return msgspec.json.decode(path.read_bytes(), type=list[Run]) if path.exists() else []


def keep(run: Run, path: Path = RESULTS) -> None:
    """Add a run to a file, of which the last ones are kept."""
    runs = [*read(path), run][-KEPT:]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(runs)) + b"\n")


def show(figures: Sequence[Figure], *, heading: bool = False) -> None:
    """Print figures, each followed by its parts."""
    if heading:
        print("| figure | reached | limit | ratio | goal | met |")
        print("| --- | ---: | ---: | ---: | --- | --- |")
    for figure in figures:
        row = f"| {figure.name} | {_number(figure.value)} {figure.unit} | {_number(figure.limit)} | {figure.ratio:.2f}"
        print(f"{row} | {figure.goal} | {'yes' if figure.met else 'no'} |")
        for part in (*figure.parts, *figure.beside):
            print(
                f"| · {part.name} | {_number(part.value)} | {_number(part.limit)} | {part.ratio:.2f} | {part.goal} | |"
            )


def table(runs: Sequence[Run]) -> str:
    """Return the table of all runs, in Markdown. ✓ marks figures that reach their goal in all of them."""
    machine, arguments = runs[-1].machine, " ".join(runs[-1].arguments)
    command = f"make bench ARGS='{arguments}'" if arguments else "make bench"
    lines = [f"`{command}` on {machine.cpu}, {machine.cores} cores, Python {machine.python}:", ""]
    lines += [f"- run {number}: {_about(run)}" for number, run in enumerate(runs, 1)]
    names = " | ".join(f"run {number}" for number in range(1, len(runs) + 1))
    return "\n".join(
        [*lines, "", f"| figure | {names} | goal |", f"| --- |{' ---: |' * len(runs)} --- |", *_rows(runs), ""]
    )


def costs(runs: Sequence[Run]) -> str:
    """Return the table of what a request costs, in Markdown: the medians of the runs."""
    lines = ["| request | per second | CPU time, each |", "| --- | ---: | ---: |"]
    for label, (name, part, of_limit) in COSTS.items():
        rates = [_rate(run, name, part, of_limit=of_limit) for run in runs]
        microseconds = statistics.median(run.machine.cores / rate * 1e6 for run, rate in zip(runs, rates, strict=True))
        lines.append(f"| {label} | {statistics.median(rates):,.0f} | {microseconds:,.0f} µs |")
    return "\n".join([*lines, ""])


def _rate(run: Run, name: str, part: str, *, of_limit: bool) -> float:
    figure = next(one for one in run.figures if one.name.startswith(name))
    found = _part(figure, part) or figure
    return found.limit if of_limit else found.value


def _about(run: Run) -> str:
    return f"{run.date}, commit {run.commit}, {run.minutes:.0f} minutes, load before it {run.machine.load_before:.1f}"


def _rows(runs: Sequence[Run]) -> Iterator[str]:
    for figure in runs[-1].figures:
        same = [next((one for one in run.figures if one.name == figure.name), None) for run in runs]
        met = all(one is not None and one.met for one in same)
        yield _row(f"{figure.name} ({figure.unit})", same, f"{figure.goal} ✓" if met else figure.goal)
        shown = figure.parts if len(figure.parts) <= MOST_PARTS else []
        for part in (*shown, *figure.beside):
            parts = [_part(one, part.name) for one in same]
            yield _row(f"· {part.name}", parts, part.goal)


def _part(figure: Figure | None, name: str) -> Part | None:
    parts = (*figure.parts, *figure.beside) if figure is not None else ()
    return next((part for part in parts if part.name == name), None)


def _row(name: str, cells: Sequence[Figure | Part | None], goal: str) -> str:
    shown = [
        f"{_number(cell.value)} / {_number(cell.limit)} = {cell.ratio:.2f}" if cell is not None else ""
        for cell in cells
    ]
    return f"| {name} | {' | '.join(shown)} | {goal} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def written(text: str, runs: Sequence[Run]) -> str:
    """Return the text of the docs with the tables of these runs."""
    for name, content in (("costs", costs(runs)), ("figures", table(runs))):
        begin = BEGIN.format(name)
        before, rest = text.split(begin)
        _, after = rest.split(END, maxsplit=1)
        text = f"{before}{begin}\n{content}\n{END}{after}"
    return text


if __name__ == "__main__":
    DOCS.write_text(written(DOCS.read_text(), read()))
