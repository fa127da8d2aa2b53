"""Secrets of clients and upstreams: those of the export, or of environment variables, which win."""

import os
from typing import Final

from idp.config.export import variable
from idp.migration.models import Export

#: Keycloak and Auth0 write these instead of a secret.
_MASKED: Final = ("", "**********", "REPLACE_ME")


def reference(export: Export, section: str, name: str, secret: str) -> dict[str, str] | None:
    """Return the reference to a secret; None: the export has none, and no variable is set.

    Args:
        name: of the object in the section.
        secret: as in the export.
    """
    named = variable(section, name)
    if named in os.environ:
        return {"env": named}
    if secret in _MASKED or secret.startswith("${"):
        return None
    export.secrets[named] = secret
    return {"env": named}
