"""Versions of libraries that are tested with our use of their undocumented parts (docs/private-apis.md)."""

from importlib.metadata import version

import structlog

log = structlog.get_logger()

#: The first tested version, and the first one after it that is not tested.
TESTED = {
    "granian": ("2.8", "2.9"),
    "joserfc": ("1.8", "1.9"),
    "litestar": ("2.25", "2.26"),
    "piccolo": ("1.38", "1.39"),
    "prometheus-client": ("0.26", "0.27"),
}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def untested() -> list[str]:
    """Return the installed libraries with an untested version, such as ``granian 2.9.0``."""
    installed = {name: version(name) for name in TESTED}
    return [
        f"{name} {installed[name]}"
        for name, (first, last) in TESTED.items()
        if not _numbers(first) <= _numbers(installed[name]) < _numbers(last)
    ]


def warn() -> None:
    """Log a warning for each untested version.

    It is no error, so that a fix of a vulnerability can be installed on the day it appears.
    """
    for each in untested():
        log.warning("untested_version", reason=f"{each} is not among the versions that this release is tested with.")
