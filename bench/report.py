"""Prints the table."""

from collections.abc import Sequence

from bench.figures import Figure


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


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
