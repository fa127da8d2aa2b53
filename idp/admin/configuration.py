"""The settings in effect with masked secrets, for the console, the API and the command line."""

from typing import Any

from idp.settings import PREFIX, SECRETS, Settings, settings

MASK = "***"


def settings_in_effect() -> list[dict[str, Any]]:
    """Return name, value, default and meaning of every setting. Values of secrets are masked."""
    return [
        {
            "name": PREFIX + name.upper(),
            "value": _masked(getattr(settings(), name)) if name in SECRETS else _plain(getattr(settings(), name)),
            "default": _plain(field.default),
            "secret": name in SECRETS,
            "help": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]


def _masked(value: object) -> str:
    return "" if value is None else MASK


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
