"""Lays out tables and records in the width of a terminal. A line is broken between words, never within one."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import rich_click as click
from rich.cells import cell_len

#: Spaces between two columns.
_GAP = 2
#: Least width of a column of prose. A table that leaves less for it is printed as records.
_LEAST = 16
#: What is not broken: a word, or a time.
_WORD = re.compile(r"\S+(?: \d\d:\d\d:\d\d UTC)?")


def table(columns: Sequence[str], rows: Sequence[Sequence[Sequence[str]]], width: int) -> Iterator[str]:
    """Yield the lines of a table. If it does not fit, without its empty columns; if it still does not, as records.

    Args:
        rows: for each value, its lines.
    """
    widths = _widths(columns, rows, width)
    if widths is None:
        full = [index for index in range(len(columns)) if any(any(row[index]) for row in rows)]
        columns, rows = [columns[index] for index in full], [[row[index] for index in full] for row in rows]
        widths = _widths(columns, rows, width)
    if widths is None:
        for number, row in enumerate(rows):
            if number:
                yield ""
            yield from record(zip(columns, row, strict=True), width)
        return
    for line in _lines([[column] for column in columns], widths):
        yield click.style(line, bold=True)
    for row in rows:
        yield from _lines(row, widths)


def record(values: Iterable[tuple[str, Sequence[str]]], width: int) -> Iterator[str]:
    """Yield a name and a value per line. Empty values are left out."""
    given = [(name, lines) for name, lines in values if any(lines)]
    indent = max((cell_len(name) for name, _ in given), default=0) + _GAP
    for name, lines in given:
        broken = [part for line in lines for part in _broken(line, max(width - indent, _LEAST))]
        for label, line in zip_longest([name], broken, fillvalue=""):
            yield click.style(_padded(label, indent), bold=True) + line


def _widths(columns: Sequence[str], rows: Sequence[Sequence[Sequence[str]]], width: int) -> list[int] | None:
    """Return the widths of the columns; None: they do not fit."""
    room = width - _GAP * (len(columns) - 1)
    texts = [[column, *(line for row in rows for line in row[index])] for index, column in enumerate(columns)]
    wanted = [max(map(cell_len, lines)) for lines in texts]
    words = [max((cell_len(word) for line in lines for word in _WORD.findall(line)), default=0) for lines in texts]
    widths = [min(whole, max(word, _LEAST)) for whole, word in zip(wanted, words, strict=True)]
    if sum(widths) > room:
        return None
    for _ in range(min(room, sum(wanted)) - sum(widths)):
        widest = max(range(len(columns)), key=lambda index: wanted[index] - widths[index])
        widths[widest] += 1
    return widths


def _lines(row: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    cells = [[part for line in cell for part in _broken(line, width)] for cell, width in zip(row, widths, strict=True)]
    for parts in zip_longest(*cells, fillvalue=""):
        padded = (_padded(part, width + _GAP) for part, width in zip(parts, widths, strict=True))
        yield "".join(padded).rstrip()


def _broken(line: str, width: int) -> list[str]:
    """Break a line between words. A word that is longer than the width stays whole."""
    if cell_len(line) <= width:
        return [line]
    lines = [""]
    for word in _WORD.findall(line):
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and cell_len(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
