"""Row 17: an exchanged token never allows more than its subject token and the policy."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.accounts.tables import User
from idp.errors import InvalidScopeError, InvalidTargetError
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.exchange import token_types
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.exchange.parties import Party
from idp.oauth.exchange.rules import Exchange, allowed_scopes, choose
from tests.support.exchange import a_service, allow, an_api, an_app, exchange, refusal, sign_in
from tests.support.tokens import claims_of

NAMES = ("read", "write", "delete", "openid", "email", "offline_access")
WORDS = st.sets(st.sampled_from(NAMES)).map(lambda names: " ".join(sorted(names)))
OWN = WORDS.filter(lambda words: not {"openid", "email", "offline_access"} & set(words.split()))


@pytest.fixture(scope="module")
async def apis(db: str) -> list[str]:
    return [await an_api(scope) for scope in ("read", "read write", "delete", "")]


@given(
    held=WORDS,
    registered=WORDS,
    asked=WORDS,
    policies=st.lists(st.tuples(WORDS, OWN, st.sets(st.integers(0, 3), min_size=1)), min_size=1, max_size=3),
    targets=st.sets(st.integers(0, 3), min_size=1, max_size=2),
)
def test_17_never_beyond_subject_and_policy(
    apis: list[str],
    held: str,
    registered: str,
    asked: str,
    policies: list[tuple[str, str, set[int]]],
    targets: set[int],
) -> None:
    """Whatever a policy keeps must be in the subject token; the rest it must add itself; and both must be registered
    for the client and, unless they are scopes of OpenID Connect, for a resource server of the token.
    """
    client = Client(client_id="service", client_name="Service", scope=registered)
    subject = Party(
        token_type=token_types.ACCESS_TOKEN,
        claims={"aud": apis[0]},
        client=client,
        user_id=UUID(int=1),
        scope=frozenset(held.split()),
    )
    request = Exchange(
        client=client,
        subject=subject,
        actor=None,
        resource=[apis[number] for number in targets],
        scope=asked.split(),
        confirmation=None,
    )
    rows = [
        ExchangePolicy(
            id=UUID(int=number),
            client_id="service",
            mode="delegation",
            resources=tuple(apis[target] for target in sorted(to)),
            scope=kept,
            added_scope=added,
            created_at=datetime.now(UTC),
        )
        for number, (kept, added, to) in enumerate(policies)
    ]
    try:
        policy = choose(rows, request)
    except InvalidTargetError:
        assert not any(targets <= to for _, _, to in policies)
        return
    except InvalidScopeError:
        assert asked
        return
    allowed = allowed_scopes(policy, request)
    servers = [registry.resource_server(identifier) for identifier in request.resource]
    there = {name for server in servers if server is not None for name in server.scopes} | {"openid", "email"}
    kept = set(held.split()) & set(policy.scope.split())
    assert allowed == (kept | set(policy.added_scope.split())) & set(registered.split()) & there
    assert set(request.scope) <= allowed
    assert "offline_access" not in allowed
    assert set(request.resource) <= set(policy.resources)


async def test_17_no_way_back_by_a_second_exchange(db: str, alice: User) -> None:
    """A token that was narrowed stays narrow, for every policy that keeps scopes."""
    service = await a_service("read write")
    api = await an_api("read write", client=service)
    app = await an_app("openid read write")
    await allow(service, api, scope="read write")
    token = (await sign_in(app, alice, (api,))).access_token
    narrow = (await exchange(service, token, scope="read")).access_token
    assert (await exchange(service, narrow)).scope == "read"
    assert (await refusal(service, narrow, scope="read write"))[0] == "invalid_scope"
    assert (await refusal(service, narrow, scope="write"))[0] == "invalid_scope"


async def test_17_the_audience_is_what_the_policy_says(db: str, alice: User) -> None:
    service = await a_service("read openid")
    api, other = await an_api("read", client=service), await an_api("read")
    app = await an_app("openid read")
    await allow(service, api, scope="read openid")
    token = (await sign_in(app, alice, (api, other))).access_token
    assert claims_of((await exchange(service, token, resource=api, scope="read")).access_token)["aud"] == api
    for target in ({"resource": other}, {"audience": other}, {"resource": f"{api} {other}"}, {}):
        assert (await refusal(service, token, scope="read", **target))[0] == "invalid_target", target
