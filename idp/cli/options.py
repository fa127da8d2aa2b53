"""Options and parameter types that several commands share."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import rich_click as click

from idp.keys.algorithms import SIGNING_ALGORITHMS

#: As in :class:`idp.admin.roles.Role`, which is slow to import.
ADMIN_ROLES = ("owner", "key_admin", "client_admin", "group_admin", "support", "auditor")
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


#: Of a command that asks. It looks first, so that it asks about what exists, and by its name.
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


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


class _Seconds(click.ParamType[int | str]):
    """A number of seconds; an empty value clears it."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if re.fullmatch(r"[0-9]{0,12}", str(value)) is None:
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return int(value) if value != "" else ""


class _JSONObject(click.ParamType[Any]):
    """A JSON object, or the name of a file with one; an empty value clears it."""

    name = "json|file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "" or isinstance(value, dict):
            return value
        import msgspec

        try:
            text = value if value.lstrip().startswith("{") else Path(value).read_text(encoding="utf-8")
            return msgspec.json.decode(text, type=dict[str, Any])
        except (OSError, UnicodeError, msgspec.MsgspecError):
            self.fail(f"{value!r} is neither a JSON object nor a file with one.", param, ctx)


SECONDS, JSON_OBJECT = _Seconds(), _JSONObject()


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
