"""The address of a running `idp serve --dev`.

Commands on the same embedded database use it as the issuer, so that the links they print and mail lead to that server.
"""

import contextlib
import os
from pathlib import Path

import rich_click as click

from idp.settings import Settings, load, settings


def _file(config: Settings) -> Path:
    return config.data_dir / "dev-issuer"


def remember(config: Settings, issuer: str) -> None:
    """Store the address of development mode. An unwritable folder is ignored here: what needs it reports it."""
    with contextlib.suppress(OSError):
        config.data_dir.mkdir(parents=True, exist_ok=True)
        _file(config).write_text(issuer, encoding="ascii")


def tell_without_mail() -> None:
    """Say that no mail is sent, if no server sends it by SMTP, and none in development mode captures it."""
    config = settings()
    if not config.sends_mail and (config.database_url is not None or not _file(config).exists()):
        click.echo("No mail is sent, because IDP_SMTP_URL is not set. Pass the link on yourself.", err=True)


def adopt() -> None:
    """Use the stored address as the issuer, unless the settings name an issuer or a database."""
    config = load()
    if "issuer" in config.model_fields_set or config.database_url is not None:
        return
    with contextlib.suppress(OSError):
        os.environ["IDP_ISSUER"] = _file(config).read_text(encoding="ascii")
        settings.cache_clear()
