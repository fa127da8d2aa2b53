"""The settings in effect with masked secrets, for the console, the API and the command line."""

from typing import Any, cast

from idp.settings import DAY, HOUR, MINUTE, PREFIX, SECRETS, Settings, settings

MASK = "***"


def settings_in_effect() -> list[dict[str, Any]]:
    """Return name, value, default, group, unit and meaning of every setting. Values of secrets are masked."""
    found, group = [], ""
    for name, field in Settings.model_fields.items():
        extra = cast("dict[str, Any]", field.json_schema_extra)
        group = extra["group"] or group
        value = getattr(settings(), name)
        found.append(
            {
                "name": PREFIX + name.upper(),
                "value": _masked(value) if name in SECRETS else _plain(value),
                "default": _plain(field.default),
                "secret": name in SECRETS,
                "group": group,
                "unit": extra["unit"],
                "help": field.description or "",
            }
        )
    return found


def in_words(value: str, unit: str | None) -> str:
    """Return a duration in whole minutes, hours or days, such as ``90 days``; empty for any other value."""
    seconds = float(value) if unit == "seconds" and value else 0
    for name, size in (("day", DAY), ("hour", HOUR), ("minute", MINUTE)):
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return f"{number} {name}{'' if number == 1 else 's'}"
    return ""


def with_unit(value: str, unit: str | None) -> str:
    """Return the value of a setting for people, such as ``7776000 (90 days)`` or ``30 s``."""
    words = in_words(value, unit)
    if words:
        return f"{value} ({words})"
    return f"{value} s" if unit == "seconds" and value else value


def _masked(value: object) -> str:
    return "" if value is None else MASK


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
