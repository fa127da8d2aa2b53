"""Options and parameter types that several commands share."""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import rich_click as click

from idp.keys.algorithms import SIGNING_ALGORITHMS

SIGNING_ALGORITHM = click.Choice(SIGNING_ALGORITHMS)
#: A ``kid`` that begins with a hyphen. One of 64 does: RFC 7638 thumbprints are base64url.
_HYPHENATED = re.compile(r"-[A-Za-z0-9_-]{42}")


class KeyCommand(click.RichCommand):
    """A command whose ``kid`` argument may begin with a hyphen."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        kids = [word for word in args if _HYPHENATED.fullmatch(word)]
        if kids and "--" not in args:
            args = [*(word for word in args if word not in kids), "--", *kids]
        return super().parse_args(ctx, args)


class _Duration(click.ParamType[int]):
    """A duration such as 90s, 30m, 24h or 7d, converted to seconds."""

    name = "duration"
    _UNITS: ClassVar = {"s": 1, "m": 60, "h": 3600, "d": 86400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,9})([smhd])", value)
        if found is None:
            self.fail(f"{value!r} is not a duration such as 90s, 30m, 24h or 7d.", param, ctx)
        return int(found[1]) * self._UNITS[found[2]]


DURATION = _Duration()


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Combine several options into one decorator, in the order in which the help shows them."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given. An empty value becomes an empty tuple or None, which clears the field."""
    named = {name: value for name, value in options.items() if value not in (None, ())}
    return {
        name: tuple(filter(None, value)) if isinstance(value, tuple) else None if value == "" else value
        for name, value in named.items()
    }
