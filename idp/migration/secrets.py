"""Secrets of clients and upstreams: those of the export, or of environment variables, which win."""

import os
from typing import Final

from idp.config.export import variable
from idp.migration.models import Export
from idp.oauth.clients.registration import SECRET, SECRET_RULE

#: Keycloak and Auth0 write these instead of a secret.
_MASKED: Final = ("", "**********", "REPLACE_ME")


def of_client(export: Export, what: str, client_id: str, secret: str) -> dict[str, str] | None:
    """Return the reference to the secret of a client; None: it has none that is accepted here, which is noted.

    Args:
        what: the client, for the note.
        secret: as in the export.
    """
    named, found = reference(export, "clients", client_id, secret)
    if found is None:
        export.skip(what, f"Its secret is not in the export. Set it in the environment: {named}")
    elif not SECRET.fullmatch(os.environ.get(named, secret)):
        export.secrets.pop(named, None)
        export.skip(what, f"Its secret is not {SECRET_RULE}. Set another one in the environment: {named}")
        return None
    return found


def reference(export: Export, section: str, name: str, secret: str) -> tuple[str, dict[str, str] | None]:
    """Return the name of the variable of a secret, and the reference to it; None: nothing has the secret.

    Names that differ in signs only have variables with a number, in the order of the export.

    Args:
        name: of the object in the section.
        secret: as in the export.
    """
    named = variable(section, name)
    export.variables[named] += 1
    if (number := export.variables[named]) > 1:
        named = f"{named}_{number}"
    if named not in os.environ:
        if secret in _MASKED or secret.startswith("${"):
            return named, None
        export.secrets[named] = secret
    return named, {"env": named}
