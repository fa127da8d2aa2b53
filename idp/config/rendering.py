"""A plan as text, for a terminal of 80 columns."""

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

import msgspec

from idp.config.errors import printable
from idp.config.planning import Change, Field, Plan

WIDTH: Final = 80
SIGNS: Final = {"create": "+", "update": "~", "delete": "-"}
#: Labels of an unmanaged section that are named.
_NAMED: Final = 5


def render(plan: Plan) -> str:
    """Return the changes, field by field, what is left alone, and the numbers."""
    lines: list[str] = []
    for section, changes in groupby(plan.changes, key=lambda change: change.section):
        lines += [section, *(line for change in changes for line in _change(change)), ""]
    if plan.unmanaged:
        lines.append("In no file, and left alone:")
        for each in plan.unmanaged:
            more = len(each.keys) - _NAMED
            labels = [*each.keys[:_NAMED], *([f"{more} more"] if more > 0 else [])]
            lines += _wrapped(f"{each.section}: {', '.join(labels)}", 2)
        lines.append("")
    for note in plan.notes:
        lines += _wrapped(f"Note: {note}", 0)
    return "\n".join([*map(printable, lines), _summary(plan)])


def _summary(plan: Plan) -> str:
    if not plan.changes:
        return "Nothing to change."
    words = {"create": "to create", "update": "to change", "delete": "to delete"}
    numbers = [
        f"{number} {text}"
        for operation, text in words.items()
        if (number := sum(change.operation == operation for change in plan.changes))
    ]
    return f"{', '.join(numbers)}."


def _change(change: Change) -> Iterator[str]:
    yield f"  {SIGNS[change.operation]} {change.key}"
    if change.losses:
        yield from _wrapped(change.losses, 6)
    for field in change.fields:
        yield from _field(field, is_new=change.operation == "create")


def _field(field: Field, *, is_new: bool) -> Iterator[str]:
    before, after = field.before, field.after
    if is_new:
        yield from _wrapped(f"{field.name}: {_text(after)}", 6)
    elif before is None and after is None:
        yield f"      {field.name}: changes"
    elif isinstance(before, list) and isinstance(after, list):
        yield f"      {field.name}:"
        gone, new = _without(before, after), _without(after, before)
        for sign, values in (("-", gone), ("+", new)):
            for value in values:
                yield from _wrapped(f"{sign} {_text(value)}", 8)
        if not gone and not new:
            yield from _wrapped(f"order: {_text(after)}", 8)
    else:
        yield from _wrapped(f"{field.name}: {_text(before)} → {_text(after)}", 6)


def _without(values: Iterable[Any], others: Iterable[Any]) -> list[Any]:
    known = list(others)
    return [value for value in values if value not in known]


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
