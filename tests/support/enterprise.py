"""Two servers: an identity provider, and the authorization server of an application that trusts it.

Each is a process with a database of its own. The identity provider is the shared server of the tests.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.federation.linking import import_identity
from idp.infra.db.engine import transaction
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.oauth.exchange.token_types import ID_TOKEN
from idp.oauth.id_jag import registration as policies
from idp.oauth.issuers import registration as issuers
from idp.oauth.token import id_jag, jwt_bearer, token_exchange
from tests.conftest import MASTER_KEY
from tests.support.isolated import isolated
from tests.support.oauth import RelyingParty
from tests.support.server import LOOPBACK, Server

SCOPE = "notes:read notes:write"


@dataclass
class Enterprise:
    """The same client and the same person at both servers.

    Attributes:
        here: the client at the identity provider, with a policy.
        there: the client at the server of the application.
        person: the user there, to whom the identity is linked.
        resource: the API of the application.
        policy: the id of the policy.
    """

    here: RelyingParty
    there: RelyingParty
    person: User
    resource: str
    policy: Any

    async def exchange(self, id_token: str, **changes: str | None) -> Any:
        """Ask the identity provider for an identity assertion."""
        form: dict[str, str | None] = {
            "grant_type": token_exchange.GRANT_TYPE,
            "requested_token_type": id_jag.TOKEN_TYPE,
            "subject_token": id_token,
            "subject_token_type": ID_TOKEN,
            "audience": self.there.issuer,
        }
        return await self.here.post("/token", **(form | changes))

    async def present(self, assertion: str, **more: str) -> Any:
        """Present it to the server of the application."""
        return await self.there.post("/token", grant_type=jwt_bearer.GRANT_TYPE, assertion=assertion, **more)


@asynccontextmanager
async def enterprise(
    here: RelyingParty, user: User, dsn: str, folder: Path, *, resource: str | None = None, **policy: Any
) -> AsyncIterator[Enterprise]:
    """Start the server of the application, with a client and a user, and let the client get assertions for it.

    Args:
        dsn: an empty, migrated database for it.
        policy: fields of the policy.
    """
    resource = resource or f"https://{secrets.token_hex(4)}.example/mcp"
    async with isolated(dsn):
        person = await create_user(user.email, None, name="Alice there", email_verified=True)
        async with transaction():
            await import_identity(person.id, here.issuer, str(user.id), None)
        client, secret = await register_client(
            client_name="Agent", grant_types=[jwt_bearer.GRANT_TYPE], scope=SCOPE, redirect_uris=[]
        )
        await register_resource_server(resource, "Notes", scope=SCOPE)
        await issuers.add(issuer=here.issuer, purposes=["id_jag"], clients=[client.client_id], scope=SCOPE)
    server = Server(folder, IDP_DATABASE_URL=dsn, IDP_MASTER_KEY=MASTER_KEY, IDP_JWT_BEARER="true", **LOOPBACK)
    values = {"resources": [resource], "scope": SCOPE} | policy
    added = await policies.add(here.client_id, audience=server.issuer, audience_client_id=client.client_id, **values)
    try:
        yield Enterprise(
            here, RelyingParty(server.issuer, here.http, client.client_id, secret), person, resource, added.id
        )
    finally:
        server.stop()
        await policies.remove(added.id)
