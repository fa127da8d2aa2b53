"""A client that presents tokens of a trusted issuer about a user."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any

import httpx

from idp.accounts.tables import User
from idp.federation.linking import import_identity
from idp.infra.db.engine import transaction
from idp.oauth.issuers import registration
from idp.oauth.token.jwt_bearer import GRANT_TYPE
from tests.support.issuers import TrustedIssuer
from tests.support.oauth import RelyingParty

SCOPE = "openid email orders:read orders:write"


@dataclass
class Grants:
    """The client, the issuer, and the user to whom ``subject`` is linked.

    Attributes:
        id: the id of the rule of the issuer.
        form: parameters of each request.
    """

    party: RelyingParty
    issuer: TrustedIssuer
    user: User
    subject: str
    id: str
    form: dict[str, str]

    def assertion(self, typ: str | None = "JWT", **changes: Any) -> str:
        return self.issuer.grant(self.party.issuer, changes.pop("sub", self.subject), typ, **changes)

    def id_jag(self, **changes: Any) -> str:
        claims = {"client_id": self.party.client_id, "scope": "orders:read"} | changes
        return self.assertion("oauth-id-jag+jwt", **claims)

    async def present(self, assertion: str, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
        sent = {"grant_type": GRANT_TYPE, "assertion": assertion} | self.form | form
        return await self.party.post("/token", headers, **sent)

    async def token(self, **changes: Any) -> str:
        """Return an access token."""
        response = await self.present(self.assertion(**changes))
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    async def change(self, accepted: bool, **values: Any) -> None:
        """Change the rule, and wait until the server accepts or refuses assertions."""
        await registration.update(self.id, **values)
        await self.until(accepted)

    async def until(self, accepted: bool) -> None:
        """Wait until the server knows the rule."""
        async with asyncio.timeout(30):
            while ((await self.present(self.assertion())).status_code == 200) is not accepted:
                await asyncio.sleep(0.02)


async def grants(party: RelyingParty, issuer: TrustedIssuer, user: User, **rule: Any) -> Grants:
    """Link a user to a new subject of an issuer, and trust it for a client."""
    subject = secrets.token_hex(8)
    async with transaction():
        await import_identity(user.id, issuer.issuer, subject, None)
    values = {"issuer": issuer.issuer, "clients": [party.client_id], "purposes": ["jwt_bearer", "id_jag"]}
    added = await registration.add(**(values | {"scope": SCOPE} | rule))
    made = Grants(party, issuer, user, subject, added.id, {})
    await made.until(accepted=True)
    return made
