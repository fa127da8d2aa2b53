"""The names of passkey providers by AAGUID, from ``passkey_providers.txt``.

The AAGUID names the model of an authenticator (Web Authentication section 6.5.1). Without attestation it proves
nothing, so it only suggests a name. Browsers that hide the model send zeros.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from uuid import UUID

from idp.infra.i18n import gettext as _

_FILE = Path(__file__).with_suffix(".txt")


@cache
def providers() -> Mapping[UUID, str]:
    """Return the names by AAGUID, which are read at first use."""
    lines = (line.partition(" ") for line in _FILE.read_text().splitlines() if not line.startswith("#"))
    return {UUID(aaguid): name for aaguid, _space, name in lines}


def provider(aaguid: UUID) -> str:
    """Return the name of a provider, or nothing if it is unknown."""
    return providers().get(aaguid, "")


def suggested_name(aaguid: UUID, device: str = "") -> str:
    """Return a name for a new passkey.

    Args:
        device: the browser and system that created it, as text.
    """
    known = provider(aaguid)
    if known:
        return known
    return _("Passkey from %(device)s", device=device) if device else _("Passkey")
