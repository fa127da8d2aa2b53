"""Access policies on the shared server, and every door by which tokens of a user leave it."""

import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx

from idp.accounts.tables import User
from idp.infra.db.engine import fetchrow
from idp.oauth.access_policies import registration
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.device import codes as device_codes
from idp.oauth.exchange import registration as exchange_policies
from idp.oauth.exchange import token_types
from idp.oauth.id_jag import registration as id_jag_policies
from idp.oauth.issuers import registration as issuers
from idp.oauth.token import id_jag, jwt_bearer, token_exchange
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.ciba import CIBA, asked, decide, poll
from tests.support.ciba import GRANT as CIBA_GRANT
from tests.support.devices import METADATA as DEVICE
from tests.support.devices import Device, approve
from tests.support.grants import grants
from tests.support.issuers import TrustedIssuer
from tests.support.oauth import RelyingParty, until_current

#: Presents something for tokens.
Ask = Callable[[], Awaitable[httpx.Response]]


@dataclass
class Door:
    """What stands ready to be presented for tokens.

    Attributes:
        party: the client that presents it.
        ask: presents it. It may be repeated as long as it is refused.
        acr: the level of its sign-in.
        error: of a refusal by policy.
        other: a further client whose policy counts.
    """

    party: RelyingParty
    ask: Ask
    acr: str = "1"
    error: str = "invalid_grant"
    other: str | None = None

    @property
    def networks_count(self) -> bool:
        """Whether the address of the request is that of the user: the client is public."""
        return self.party.client_secret is None

    async def refused(self) -> None:
        response = await self.ask()
        assert (response.status_code, response.json()["error"]) == (400, self.error), response.text
        assert response.json()["error_description"] == "The user may not use this application.", response.text

    async def opened(self) -> None:
        response = await self.ask()
        assert response.status_code == 200, response.text
        assert response.json()["access_token"]


async def set_policy(party: RelyingParty, client_id: str | None = None, **values: Any) -> None:
    """Set the policy of a client, and wait until the server knows it. Without values it has none."""
    client_id = client_id or party.client_id
    if values:
        await registration.set_policy(client_id, **values)
    else:
        await registration.remove_policy(client_id)
    await until_current(party)


#: Makes a door for a user who is allowed, with what must be undone later.
MakeDoor = Callable[[MakeClient, Browser, User, AsyncExitStack], Awaitable[Door]]


async def _code(make_client: MakeClient, browser: Browser, user: User, _stack: AsyncExitStack) -> Door:
    party = await make_client(skip_consent=True)
    code = await party.sign_in(browser, user.email)
    return Door(party, lambda: party.redeem(code))


async def _public_code(make_client: MakeClient, browser: Browser, user: User, _stack: AsyncExitStack) -> Door:
    party = await make_client(skip_consent=True, token_endpoint_auth_method="none")
    code = await party.sign_in(browser, user.email)
    return Door(party, lambda: party.redeem(code))


async def _refresh(make_client: MakeClient, browser: Browser, user: User, _stack: AsyncExitStack) -> Door:
    party = await make_client(skip_consent=True)
    token = (await party.tokens(browser, user.email))["refresh_token"]
    return Door(party, lambda: party.refresh(token))


async def _repeated_refresh(make_client: MakeClient, browser: Browser, user: User, stack: AsyncExitStack) -> Door:
    """The client asks for the successor of a used token again."""
    door = await _refresh(make_client, browser, user, stack)
    await door.opened()
    return door


async def _exchange(make_client: MakeClient, browser: Browser, user: User, _stack: AsyncExitStack) -> Door:
    resource = f"https://{secrets.token_hex(6)}.example"
    party = await make_client(
        grant_types=["client_credentials", token_exchange.GRANT_TYPE], redirect_uris=[], scope="openid profile"
    )
    await register_resource_server(resource, "API", client_id=party.client_id)
    await exchange_policies.add(party.client_id, mode="delegation", resources=[resource], scope="openid")
    await until_current(party)
    app = await make_client(skip_consent=True)
    token = (await app.tokens(browser, user.email, resource=resource, scope="openid"))["access_token"]
    form = {"grant_type": token_exchange.GRANT_TYPE, "audience": resource, "scope": "openid"}
    form |= {"subject_token": token, "subject_token_type": token_types.ACCESS_TOKEN}
    return Door(party, lambda: party.post("/token", **form), error="invalid_request")


async def _id_jag(make_client: MakeClient, browser: Browser, user: User, stack: AsyncExitStack) -> Door:
    party = await make_client(skip_consent=True, grant_types=["authorization_code", token_exchange.GRANT_TYPE])
    other = await make_client()
    audience = f"https://{secrets.token_hex(6)}.example"
    policy = await id_jag_policies.add(
        party.client_id, audience=audience, audience_client_id="there", relying_party=other.client_id
    )
    stack.push_async_callback(id_jag_policies.remove, policy.id)
    await until_current(party)
    token = (await party.tokens(browser, user.email))["id_token"]
    form = {"grant_type": token_exchange.GRANT_TYPE, "requested_token_type": id_jag.TOKEN_TYPE, "audience": audience}
    form |= {"subject_token": token, "subject_token_type": token_types.ID_TOKEN}
    return Door(party, lambda: party.post("/token", **form), error="invalid_request", other=other.client_id)


async def _jwt_bearer(make_client: MakeClient, _browser: Browser, user: User, stack: AsyncExitStack) -> Door:
    issuer = TrustedIssuer()
    stack.callback(issuer.stop)
    party = await make_client(grant_types=[jwt_bearer.GRANT_TYPE], redirect_uris=[], scope="openid email orders:read")
    made = await grants(party, issuer, user)
    stack.push_async_callback(issuers.remove, made.id)
    return Door(party, lambda: made.present(made.assertion()), acr=jwt_bearer.NO_SIGN_IN)


async def _device(make_client: MakeClient, browser: Browser, user: User, _stack: AsyncExitStack) -> Door:
    device = await Device.start(await make_client(**DEVICE, skip_consent=True))
    await approve(browser, user.email, device)
    return Door(device.party, device.poll, error="access_denied")


async def _ciba(make_client: MakeClient, browser: Browser, user: User, _stack: AsyncExitStack) -> Door:
    party = await make_client(**CIBA)
    auth_req_id = await asked(party, user.email)
    row = await fetchrow("SELECT id FROM backchannel_request WHERE user_id = $1 ORDER BY id DESC LIMIT 1", user.id)
    assert row is not None
    await decide(browser, f"/account/requests/{row['id']}", user.email)
    return Door(party, lambda: poll(party, auth_req_id), error="access_denied")


#: By name: the grant type, the type of token that is requested, and how the door is made.
DOORS: dict[str, tuple[str, str | None, MakeDoor]] = {
    "code": ("authorization_code", None, _code),
    "code of a public client": ("authorization_code", None, _public_code),
    "refresh": ("refresh_token", None, _refresh),
    "repeated refresh": ("refresh_token", None, _repeated_refresh),
    "exchange": (token_exchange.GRANT_TYPE, token_types.ACCESS_TOKEN, _exchange),
    "identity assertion": (token_exchange.GRANT_TYPE, id_jag.TOKEN_TYPE, _id_jag),
    "JWT bearer": (jwt_bearer.GRANT_TYPE, None, _jwt_bearer),
    "device": (device_codes.GRANT_TYPE, None, _device),
    "CIBA": (CIBA_GRANT, None, _ciba),
}
#: Grants without a user.
WITHOUT_USER = {"client_credentials"}
