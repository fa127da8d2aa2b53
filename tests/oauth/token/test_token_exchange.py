"""Token exchange (RFC 8693): what a client gets for a token."""

import json
from typing import Any

import msgspec
import pytest

from idp import clock
from idp.accounts.repository import admin_roles
from idp.accounts.tables import User
from idp.audit import buffer
from idp.errors import OAuthError, Refused
from idp.infra.db.engine import execute, fetch, transaction
from idp.keys.key_set import key_set
from idp.oauth import access_tokens
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.clients.models import Client
from idp.oauth.exchange import token_types
from idp.oauth.sign_out import sign_out_user
from idp.oauth.token.access_token import family_of
from idp.oauth.token.token_exchange import GRANT_TYPE
from idp.reasons import Reason
from idp.settings import settings
from tests.conftest import MakeUser
from tests.support.exchange import a_service, allow, an_api, an_app, exchange, own_token, refusal, sign_in
from tests.support.tokens import claims_of

pytestmark = pytest.mark.usefixtures("db")


class World:
    """An app of a user, a service behind it, and what the service calls: app -> orders -> stock."""

    def __init__(self, app: Client, orders: Client, orders_api: str, stock_api: str) -> None:
        self.app, self.orders, self.orders_api, self.stock_api = app, orders, orders_api, stock_api

    async def token(self, user: User, **more: Any) -> str:
        """Return a token of the app for the service."""
        return (await sign_in(self.app, user, (self.orders_api,), **more)).access_token


@pytest.fixture
async def world(db: str) -> World:
    app = await an_app("openid orders:read stock:read")
    orders = await a_service("stock:read stock:write")
    return World(app, orders, await an_api("orders:read", client=orders), await an_api("stock:read stock:write"))


async def test_a_service_acts_for_a_user(world: World, alice: User) -> None:
    """Delegation: the token is about the user, for another resource server, and names the service as actor."""
    await allow(world.orders, world.stock_api, scope="stock:read")
    token = await world.token(alice)
    given = await exchange(world.orders, token, resource=world.stock_api)
    assert (given.issued_token_type, given.token_type) == (token_types.ACCESS_TOKEN, "Bearer")
    assert given.scope == "stock:read"
    before, after = claims_of(token), claims_of(given.access_token)
    assert after["aud"] == world.stock_api
    assert after["sub"] == str(alice.id)
    assert after["client_id"] == world.orders.client_id
    assert after["act"] == {"sub": world.orders.client_id, "client_id": world.orders.client_id}
    assert {name: after[name] for name in ("acr", "amr", "auth_time")} == {
        name: before[name] for name in ("acr", "amr", "auth_time")
    }
    assert family_of(after["jti"]) == family_of(before["jti"])
    assert after["exp"] <= before["exp"]
    assert given.expires_in == after["exp"] - after["iat"]
    assert not isinstance(await access_tokens.validate(given.access_token), Refused)


async def test_impersonation_needs_its_own_policy(world: World, alice: User) -> None:
    """The token then does not name the service as actor. A policy of delegation counts first."""
    await allow(world.orders, world.stock_api, mode="impersonation", scope="stock:read")
    token = await world.token(alice)
    silent = await exchange(world.orders, token, resource=world.stock_api)
    assert "act" not in claims_of(silent.access_token)
    await allow(world.orders, world.stock_api, scope="stock:read")
    named = await exchange(world.orders, token, resource=world.stock_api)
    assert claims_of(named.access_token)["act"]["sub"] == world.orders.client_id


async def test_nothing_is_allowed_without_a_policy(world: World, alice: User) -> None:
    token = await world.token(alice)
    assert await refusal(world.orders, token, resource=world.stock_api) == ("unauthorized_client", "no_policy")
    await allow(world.orders, world.orders_api, scope="orders:read")
    assert (await refusal(world.orders, token, resource=world.stock_api))[0] == "invalid_target"


async def test_scopes_are_those_of_the_token_the_policy_the_client_and_the_resource(world: World, alice: User) -> None:
    await allow(world.orders, world.stock_api, scope="stock:read stock:write orders:read")
    token = await world.token(alice)
    assert (await exchange(world.orders, token, resource=world.stock_api)).scope == "stock:read"
    for scope in ("stock:write", "orders:read", "openid", "stock:read stock:write", "none"):
        assert (await refusal(world.orders, token, resource=world.stock_api, scope=scope))[0] == "invalid_scope"


async def test_a_policy_can_add_scopes(world: World, alice: User) -> None:
    """The app of the user knows nothing of what the service calls."""
    await allow(world.orders, world.stock_api, added_scope="stock:write")
    token = await world.token(alice, scope="openid orders:read")
    assert (await exchange(world.orders, token, resource=world.stock_api)).scope == "stock:write"


async def test_scopes_of_two_policies_do_not_add_up(world: World, alice: User) -> None:
    await allow(world.orders, world.stock_api, scope="stock:read")
    await allow(world.orders, world.stock_api, added_scope="stock:write")
    token = await world.token(alice)
    for scope in ("stock:read", "stock:write"):
        assert (await exchange(world.orders, token, resource=world.stock_api, scope=scope)).scope == scope
    both = await refusal(world.orders, token, resource=world.stock_api, scope="stock:read stock:write")
    assert both[0] == "invalid_scope"


async def test_a_narrower_token_for_the_same_resource(world: World, alice: User) -> None:
    """A client gives away less than it has: without a target, the resource servers stay the same."""
    agent = await a_service(
        "openid orders:read stock:read",
        grant_types=["authorization_code", GRANT_TYPE],
        redirect_uris=["https://agent.example/cb"],
    )
    token = (await sign_in(agent, alice, (world.orders_api,))).access_token
    await allow(agent, world.orders_api, scope="orders:read", max_lifetime=60)
    given = await exchange(agent, token)
    claims = claims_of(given.access_token)
    assert (claims["aud"], given.scope, given.expires_in) == (world.orders_api, "orders:read", 60)


async def test_the_target_by_audience_and_by_resource(world: World, alice: User) -> None:
    third = await an_api("third")
    await allow(world.orders, world.stock_api, third)
    token = await world.token(alice)
    given = await exchange(world.orders, token, audience=world.stock_api, resource=f"{third}/")
    assert set(claims_of(given.access_token)["aud"]) == {world.stock_api, third}
    for target in ("https://unknown.example", f"{settings().issuer}/admin/api", settings().issuer, "stock"):
        assert (await refusal(world.orders, token, audience=target))[0] == "invalid_target"


async def test_an_actor_token(world: World, alice: User, make_user: MakeUser) -> None:
    """The actor is whom it names: a client by its own token, or a user who is signed in to the client."""
    await allow(world.orders, world.stock_api, scope="stock:read")
    token, own = await world.token(alice), await own_token(world.orders)
    given = await exchange(world.orders, token, resource=world.stock_api, actor_token=own)
    assert claims_of(given.access_token)["act"] == {
        "sub": world.orders.client_id,
        "client_id": world.orders.client_id,
    }
    bob = await make_user()
    of_bob = await world.token(bob)
    given = await exchange(world.orders, token, resource=world.stock_api, actor_token=of_bob)
    assert claims_of(given.access_token)["act"] == {"sub": str(bob.id)}
    delegated = given.access_token
    # The actor must not act for somebody already; and the token must be for the client.
    stock = await a_service()
    elsewhere = await own_token(stock)
    for actor, reason in ((elsewhere, "wrong_audience"), (delegated, "wrong_actor"), ("garbage", "malformed")):
        refused = await refusal(world.orders, token, resource=world.stock_api, actor_token=actor)
        assert refused == ("invalid_request", reason)


async def test_an_actor_token_is_not_for_impersonation(world: World, alice: User) -> None:
    await allow(world.orders, world.stock_api, mode="impersonation")
    token, own = await world.token(alice), await own_token(world.orders)
    assert (await refusal(world.orders, token, resource=world.stock_api, actor_token=own))[0] == "unauthorized_client"


async def test_a_chain_of_services(alice: User) -> None:
    """app -> orders -> stock -> prices: the token names every service on the way, the current one first."""
    app = await an_app("openid read")
    services = [await a_service("read") for _ in range(3)]
    apis = [await an_api("read", client=service) for service in services] + [await an_api("read")]
    token = (await sign_in(app, alice, (apis[0],))).access_token
    for number, service in enumerate(services):
        await allow(service, apis[number + 1], scope="read")
        token = (await exchange(service, token, resource=apis[number + 1])).access_token
    first, second, third = [{"sub": service.client_id, "client_id": service.client_id} for service in services]
    claims = claims_of(token)
    assert claims["act"] == third | {"act": second | {"act": first}}
    assert claims["sub"] == str(alice.id)
    assert not isinstance(await access_tokens.validate(token), Refused)


async def test_a_chain_has_an_end(alice: User) -> None:
    """Also one that goes in a circle, and one of a client that exchanges its own token again and again."""
    one, two = [await a_service("read") for _ in range(2)]
    apis = [await an_api("read", client=service) for service in (one, two)]
    app = await an_app("openid read")
    for service in (one, two):
        await allow(service, *apis, scope="read")
    token = (await sign_in(app, alice, (apis[0],))).access_token
    for number in range(settings().token_exchange_max_depth):
        token = (await exchange((one, two)[number % 2], token, resource=apis[(number + 1) % 2])).access_token
    refused = [await refusal(service, token, resource=api) for service, api in zip((one, two), apis, strict=True)]
    assert refused[0] == refused[1] == ("invalid_request", "too_many_exchanges")


async def test_an_actor_is_named_once(world: World, alice: User) -> None:
    """A service that narrows its own token again is no second actor."""
    await allow(world.orders, world.stock_api, scope="stock:read")
    token = (await exchange(world.orders, await world.token(alice), resource=world.stock_api)).access_token
    again = await exchange(world.orders, token, scope="")
    assert claims_of(again.access_token)["act"] == {
        "sub": world.orders.client_id,
        "client_id": world.orders.client_id,
    }


async def test_an_id_token(world: World, alice: User) -> None:
    """It is exchanged by its client, allows what its family allows, and ends with its session."""
    web = await a_service(
        "openid stock:read",
        grant_types=["authorization_code", GRANT_TYPE],
        redirect_uris=["https://web.example/cb"],
    )
    signed_in = await sign_in(web, alice, (world.stock_api,))
    kind = {"subject_token_type": token_types.ID_TOKEN}
    await allow(web, world.stock_api, scope="stock:read")
    assert await refusal(web, signed_in.id_token, **kind) == ("invalid_request", "wrong_type")
    await allow(web, world.stock_api, scope="stock:read", subject_token_types=["id_token"])
    given = await exchange(web, signed_in.id_token, **kind)
    assert (given.scope, claims_of(given.access_token)["aud"]) == ("stock:read", world.stock_api)
    assert family_of(claims_of(given.access_token)["jti"]) == signed_in.grant.family_id
    # Its type must be the one that is said.
    assert await refusal(web, signed_in.access_token, **kind) == ("invalid_request", "wrong_type")
    assert await refusal(web, signed_in.id_token) == ("invalid_request", "wrong_type")
    # Another client's.
    await allow(world.orders, world.stock_api, scope="stock:read", subject_token_types=["id_token"])
    other = await refusal(world.orders, signed_in.id_token, resource=world.stock_api, **kind)
    assert other == ("invalid_request", "wrong_audience")
    # With offline access the family would outlive the session.
    await execute("UPDATE token_family SET offline_access = true WHERE id = $1", signed_in.grant.family_id)
    await execute("UPDATE session SET ended_at = now() WHERE id = $1", signed_in.session_id)
    assert await refusal(web, signed_in.id_token, **kind) == ("invalid_request", "session_ended")


async def test_a_policy_for_some_users(world: World, alice: User, make_user: MakeUser) -> None:
    await allow(world.orders, world.stock_api, scope="stock:read", user_ids=[str(alice.id)])
    assert await exchange(world.orders, await world.token(alice), resource=world.stock_api)
    other = await world.token(await make_user())
    assert await refusal(world.orders, other, resource=world.stock_api) == ("invalid_request", "no_policy")


async def test_a_policy_for_the_tokens_of_a_client(world: World, alice: User) -> None:
    """Without it, a token that the service was not meant to see cannot be exchanged by it."""
    elsewhere = (await sign_in(world.app, alice, (world.stock_api,))).access_token
    await allow(world.orders, world.stock_api, scope="stock:read")
    refused = await refusal(world.orders, elsewhere, resource=world.stock_api)
    assert refused == ("invalid_request", "wrong_audience")
    await allow(world.orders, world.stock_api, scope="stock:read", subject_clients=[world.app.client_id])
    assert (await exchange(world.orders, elsewhere, resource=world.stock_api)).scope == "stock:read"


async def test_pairwise_subjects(alice: User) -> None:
    """Each client knows the user by its own name, and an actor too."""
    app = await an_app("read", subject_type="pairwise")
    one = await a_service("read")
    sector = {"grant_types": ["authorization_code", GRANT_TYPE], "subject_type": "pairwise"}
    two = await a_service("read", redirect_uris=["https://two.example/cb"], **sector)
    apis = [await an_api("read", client=client) for client in (one, two)]
    await allow(one, apis[1], scope="read")
    await allow(two, apis[1], scope="read")
    token = (await sign_in(app, alice, (apis[0],))).access_token
    first = (await exchange(one, token, resource=apis[1], actor_token=token)).access_token
    second = (await exchange(two, first, resource=apis[1])).access_token
    of_app, of_one, of_two = map(claims_of, (token, first, second))
    assert of_one["sub"] == of_one["act"]["sub"] == str(alice.id)
    assert of_two["act"]["client_id"] == two.client_id
    assert of_two["act"]["act"] == {"sub": of_two["sub"]}
    assert len({of_app["sub"], of_one["sub"], of_two["sub"]}) == 3
    assert not isinstance(await access_tokens.validate(second), Refused)


async def test_what_ends_a_token_ends_what_came_from_it(world: World, alice: User) -> None:
    """A sign-out, a disabled user: the exchanged token has the family of its subject."""
    await allow(world.orders, world.stock_api, scope="stock:read")
    for change in (
        "UPDATE token_family SET revoked_at = now(), revoked_reason = 'consent_withdrawn' WHERE id = $1",
        "UPDATE session SET ended_at = now() WHERE id = (SELECT session_id FROM token_family WHERE id = $1)",
        "UPDATE users SET disabled_at = now() WHERE id = (SELECT user_id FROM token_family WHERE id = $1)",
    ):
        signed_in = await sign_in(world.app, alice, (world.orders_api,))
        given = await exchange(world.orders, signed_in.access_token, resource=world.stock_api)
        assert not isinstance(await access_tokens.validate(given.access_token), Refused)
        await execute(change, signed_in.grant.family_id)
        assert isinstance(await access_tokens.validate(given.access_token), Refused)
        assert (await refusal(world.orders, signed_in.access_token, resource=world.stock_api))[0] == "invalid_request"


async def test_a_revoked_token_takes_along_what_came_from_it(world: World, alice: User) -> None:
    """RFC 7009 for one access token: its family goes on."""
    await allow(world.orders, world.stock_api, world.orders_api, scope="stock:read orders:read")
    token = await world.token(alice)
    first = (await exchange(world.orders, token, resource=world.stock_api)).access_token
    second = (await exchange(world.orders, first)).access_token
    sibling = (await exchange(world.orders, token, resource=world.orders_api)).access_token
    revoke = "INSERT INTO revoked_access_token (jti, expires_at) VALUES ($1, now() + interval '1 hour')"
    await execute(revoke, claims_of(first)["jti"])
    for dead in (first, second):
        assert await access_tokens.validate(dead, with_user=True) == Refused(
            Reason.REVOKED_BY_CLIENT, alice.id, family_of(claims_of(token)["jti"])
        )
    for live in (token, sibling):
        assert not isinstance(found := await access_tokens.validate(live), Refused)
        assert await access_tokens.lock(found)
    await execute(revoke, claims_of(token)["jti"])
    assert isinstance(await access_tokens.validate(sibling), Refused)


async def test_a_signed_out_user(world: World, alice: User) -> None:
    await allow(world.orders, world.stock_api)
    given = await exchange(world.orders, await world.token(alice), resource=world.stock_api)
    async with transaction():
        await sign_out_user(alice.id, "signed_out_by_user")
    assert isinstance(await access_tokens.validate(given.access_token), Refused)


async def test_the_binding_to_a_key(world: World, alice: User) -> None:
    """A resource server cannot prove the key of the app, so it proves its own. A bearer token needs a policy."""
    await allow(world.orders, world.stock_api, scope="stock:read")
    app_key, own_key = Confirmation(jkt="app"), Confirmation(jkt="orders")
    token = await world.token(alice, confirmation=app_key)
    assert await refusal(world.orders, token, resource=world.stock_api) == ("invalid_request", "proof_missing")
    given = await exchange(world.orders, token, resource=world.stock_api, proved=own_key)
    assert (given.token_type, claims_of(given.access_token)["cnf"]) == ("DPoP", {"jkt": "orders"})
    # The client that has the key must prove it.
    assert await refusal(world.orders, given.access_token, proved=app_key) == ("invalid_request", "proof_missing")
    again = await exchange(world.orders, given.access_token, proved=own_key)
    assert claims_of(again.access_token)["cnf"] == {"jkt": "orders"}
    await allow(world.orders, world.stock_api, scope="stock:read", bearer_for_bound=True)
    bearer = await exchange(world.orders, token, resource=world.stock_api)
    assert (bearer.token_type, "cnf" in claims_of(bearer.access_token)) == ("Bearer", False)
    assert (await refusal(world.orders, given.access_token))[1] == "proof_missing"


async def test_administrators_are_not_impersonated(world: World, alice: User) -> None:
    await allow(world.orders, world.stock_api, mode="impersonation")
    token = await world.token(alice)
    assert await exchange(world.orders, token, resource=world.stock_api)
    await admin_roles.grant_role(alice.id, "auditor", "test")
    assert await refusal(world.orders, token, resource=world.stock_api) == ("invalid_request", "administrator")
    await allow(world.orders, world.stock_api)
    named = await exchange(world.orders, token, resource=world.stock_api)
    assert claims_of(named.access_token)["act"]["sub"] == world.orders.client_id


async def test_a_token_without_a_user(world: World) -> None:
    await allow(world.orders, world.stock_api)
    token = await own_token(world.orders)
    assert await refusal(world.orders, token, resource=world.stock_api) == ("invalid_request", "wrong_type")


def signed(claims: dict[str, Any], typ: str = "at+jwt") -> str:
    return key_set.sign("RS256", typ, claims)


async def test_the_lifetime_is_what_is_left(world: World, alice: User) -> None:
    await allow(world.orders, world.stock_api, max_lifetime=3600)
    claims = claims_of(await world.token(alice))
    short = signed(claims | {"exp": clock.timestamp() + 40})
    given = await exchange(world.orders, short, resource=world.stock_api)
    assert 35 <= given.expires_in <= 40
    assert claims_of(given.access_token)["exp"] <= clock.timestamp() + 40
    shorter = msgspec.structs.replace(world.orders, access_token_lifetime=30)
    assert (await exchange(shorter, short, resource=world.stock_api)).expires_in == 30
    actor = signed(claims_of(await own_token(world.orders)) | {"exp": clock.timestamp() + 20})
    given = await exchange(world.orders, short, resource=world.stock_api, actor_token=actor)
    assert 15 <= given.expires_in <= 20
    expired = signed(claims | {"exp": clock.timestamp() - 1})
    assert await refusal(world.orders, expired, resource=world.stock_api) == ("invalid_request", "expired")


async def test_may_act(world: World, alice: User) -> None:
    """It names the only actor, whoever the client is."""
    await allow(world.orders, world.stock_api)
    await allow(world.orders, world.stock_api, mode="impersonation")
    claims = claims_of(await world.token(alice))
    for allowed in ({"sub": world.orders.client_id}, {"sub": world.orders.client_id, "email": "x@example.com"}):
        assert await exchange(world.orders, signed(claims | {"may_act": allowed}), resource=world.stock_api)
    for other in (
        {"sub": "another"},
        {"sub": world.orders.client_id, "iss": "https://evil.example"},
        {"sub": str(alice.id)},
        {},
        [],
        "x",
        None,
        {"sub": 1},
    ):
        token = signed(claims | {"may_act": other})
        assert await refusal(world.orders, token, resource=world.stock_api) == ("invalid_request", "wrong_actor")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"subject_token": None}, "subject_token"),
        ({"subject_token_type": None}, "subject_token"),
        ({"subject_token_type": "access_token"}, "subject_token_type"),
        ({"subject_token_type": f"{token_types.PREFIX}refresh_token"}, "subject_token_type"),
        ({"subject_token_type": f"{token_types.PREFIX}saml2"}, "subject_token_type"),
        ({"actor_token_type": token_types.ACCESS_TOKEN}, "actor_token"),
        ({"actor_token": "x", "actor_token_type": None}, "actor_token"),
        ({"requested_token_type": f"{token_types.PREFIX}refresh_token"}, "requested_token_type"),
        ({"requested_token_type": token_types.ID_TOKEN}, "requested_token_type"),
    ],
)
async def test_malformed_requests(world: World, alice: User, changes: dict[str, str | None], said: str) -> None:
    with pytest.raises(OAuthError) as error:
        await exchange(world.orders, **({"subject_token": await world.token(alice)} | changes))  # type: ignore[arg-type]
    assert error.value.code == "invalid_request"
    assert error.value.description.startswith(said)


async def test_every_exchange_is_in_the_audit_trail(world: World, alice: User) -> None:
    """With both parties, the policy and what the token is for; refusals too."""
    policy = await allow(world.orders, world.stock_api, scope="stock:read")
    token = await world.token(alice)
    given = await exchange(world.orders, token, resource=world.stock_api)
    await refusal(world.orders, token, resource=world.stock_api, scope="stock:write")
    await refusal(world.orders, "garbage", resource=world.stock_api)
    await buffer.write()
    rows = await fetch(
        "SELECT event, outcome, user_id, detail FROM audit_event WHERE client_id = $1 AND event LIKE 'token_exchange%'"
        " AND event NOT LIKE '%policy%' ORDER BY id",
        world.orders.client_id,
    )
    done, beyond, malformed = [
        (row["event"], row["outcome"], row["user_id"], json.loads(row["detail"])) for row in rows
    ]
    assert done[:3] == ("token_exchanged", "success", alice.id)
    assert done[3] == {
        "jti": claims_of(given.access_token)["jti"],
        "subject_jti": claims_of(token)["jti"],
        "subject_client": world.app.client_id,
        "actor": {"sub": world.orders.client_id, "client_id": world.orders.client_id},
        "mode": "delegation",
        "policy": str(policy.id),
        "resource": world.stock_api,
        "scope": "stock:read",
        "family_id": str(family_of(claims_of(token)["jti"])),
    }
    assert beyond[:3] == ("token_exchange_refused", "failure", alice.id)
    assert (beyond[3]["reason"], beyond[3]["scope"]) == ("scope_not_allowed", "stock:write")
    assert malformed[:3] == ("token_exchange_refused", "failure", None)
    assert malformed[3]["reason"] == "malformed"
