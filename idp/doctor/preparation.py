"""Finds out how much the checks may use in this process. Nothing is created: a doctor does not change the patient."""

from idp.doctor.models import Needs
from idp.infra.db import migrate, outages
from idp.keys import root_key, vault
from idp.keys.repository import root_keys


async def provided() -> Needs:
    """Open the root key, if there is one, and return what checks may use. The database is connected."""
    try:
        if await migrate.pending() or not await root_keys.has_root_key():
            return Needs.DATABASE
        await root_key.unlock()
    except (vault.SecretsError, migrate.UnknownMigrationError, *outages.ERRORS):
        return Needs.DATABASE
    return Needs.RECORDS
