"""The address of `idp serve --dev`. Commands on the same embedded database use it, so that the links that they print
and mail lead to the server that runs, whatever its port.
"""

import contextlib
import os
from pathlib import Path

from idp.settings import Settings, load, settings


def _file(config: Settings) -> Path:
    return config.data_dir / "dev-issuer"


def remember(config: Settings, issuer: str) -> None:
    """Keep the address that development mode chose. A folder that cannot be written to is told by what needs it."""
    with contextlib.suppress(OSError):
        config.data_dir.mkdir(parents=True, exist_ok=True)
        _file(config).write_text(issuer, encoding="ascii")


def adopt() -> None:
    """Use that address as the issuer, unless the settings name one, or a database of their own."""
    config = load()
    if "issuer" in config.model_fields_set or config.database_url is not None:
        return
    with contextlib.suppress(OSError):
        os.environ["IDP_ISSUER"] = _file(config).read_text(encoding="ascii")
        settings.cache_clear()
