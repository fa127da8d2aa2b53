"""Row 14: a token that was exchanged ends with its user, and with every client on the way."""

import time
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable

import jwt
import pytest

from idp import clock
from idp.accounts.profile import delete_user
from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.errors import Refused
from idp.oauth import access_tokens, subjects
from idp.oauth.access_tokens import LiveAccessToken
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import disable_client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_client, set_not_before
from idp.oauth.exchange import actors
from idp.oauth.sign_out import sign_out_for_deletion, sign_out_user
from idp.oauth.status.revocation_list import RevocationList
from idp.oauth.token.token_exchange import GRANT_TYPE
from idp.reasons import Reason
from tests.conftest import MakeUser
from tests.oauth.status.test_revocation_list import resource_server
from tests.support.exchange import a_service, allow, an_api, an_app, exchange, refusal, sign_in
from tests.support.tokens import claims_of


class Way:
    """app -> first -> second -> an API."""

    def __init__(self, app: Client, first: Client, second: Client, apis: list[str]) -> None:
        self.app, self.first, self.second, self.apis = app, first, second, apis
        self.tokens: list[str] = []

    async def go(self, user: User) -> None:
        token = (await sign_in(self.app, user, (self.apis[0],))).access_token
        one = (await exchange(self.first, token, resource=self.apis[1])).access_token
        two = (await exchange(self.second, one, resource=self.apis[2])).access_token
        self.tokens = [token, one, two]

    async def live(self) -> list[bool]:
        return [not isinstance(await access_tokens.validate(token), Refused) for token in self.tokens]


@pytest.fixture
async def way(db: str, alice: User) -> Way:
    app, first, second = await an_app("openid read"), await a_service("read"), await a_service("read")
    apis = [await an_api("read", client=first), await an_api("read", client=second), await an_api("read")]
    await allow(first, apis[1], scope="read")
    await allow(second, apis[2], scope="read")
    way = Way(app, first, second, apis)
    await way.go(alice)
    assert await way.live() == [True, True, True]
    return way


async def test_14_a_disabled_user(way: Way, alice: User) -> None:
    await disable_user(alice.id, sign_out_user)
    assert await way.live() == [False, False, False]
    assert (await refusal(way.first, way.tokens[0], resource=way.apis[1]))[0] == "invalid_request"
    assert (await refusal(way.second, way.tokens[1], resource=way.apis[2]))[0] == "invalid_request"


async def test_14_a_disabled_client_of_the_user(way: Way) -> None:
    """The family is its own."""
    await disable_client(way.app.client_id)
    await registry.load()
    assert await way.live() == [False, False, False]


async def test_14_a_disabled_client_on_the_way(way: Way) -> None:
    """It is no longer the client of the last token, but acts in it."""
    await disable_client(way.first.client_id)
    await registry.load()
    assert await way.live() == [True, False, False]
    refused = await refusal(way.second, way.tokens[1], resource=way.apis[2])
    assert refused == ("invalid_request", "client_disabled")


async def test_14_a_disabled_actor(way: Way) -> None:
    await disable_client(way.second.client_id)
    await registry.load()
    assert await way.live() == [True, True, False]
    found = await access_tokens.validate(way.tokens[2])
    assert isinstance(found, Refused)
    assert found.reason == Reason.CLIENT_DISABLED


async def _delete(user: User) -> None:
    assert await delete_user(user.id, sign_out_for_deletion)


async def _disable(user: User) -> None:
    assert await disable_user(user.id, sign_out_user)


@pytest.mark.parametrize("end", [_disable, _delete], ids=["disabled", "deleted"])
async def test_14_a_user_who_acts(alice: User, make_user: MakeUser, end: Callable[[User], Awaitable[None]]) -> None:
    """Also further inside, and for a client that knows the actor by another name."""
    bob = await make_user()
    app, first = await an_app("openid read"), await a_service("read")
    sector = {"grant_types": ["authorization_code", GRANT_TYPE], "subject_type": "pairwise"}
    second = await a_service("read", redirect_uris=["https://second.example/cb"], **sector)
    apis = [await an_api("read", client=first), await an_api("read", client=second), await an_api("read")]
    await allow(first, apis[1], scope="read")
    await allow(second, apis[2], scope="read")
    token, of_bob = [(await sign_in(app, user, (apis[0],))).access_token for user in (alice, bob)]
    one = (await exchange(first, token, resource=apis[1], actor_token=of_bob)).access_token
    two = (await exchange(second, one, resource=apis[2])).access_token
    assert [actor["sub"] for actor in actors.chain(claims_of(two))] == [
        second.client_id,
        subjects.subject(second, bob.id),
    ]
    tokens = (token, one, two)
    assert [isinstance(await access_tokens.validate(each), LiveAccessToken) for each in tokens] == [True, True, True]
    await end(bob)
    assert [isinstance(await access_tokens.validate(each), LiveAccessToken) for each in tokens] == [True, False, False]
    assert await refusal(second, one, resource=apis[2]) == ("invalid_request", "user_disabled")


async def test_14_not_before(way: Way) -> None:
    """That of a client on the way holds for the tokens after it too."""
    await set_not_before(way.first.client_id, clock.now())
    await registry.load()
    assert await way.live() == [True, False, False]
    assert (await refusal(way.second, way.tokens[1], resource=way.apis[2]))[1] == "issued_too_early"


async def test_14_not_before_of_the_app(way: Way) -> None:
    """What others got in exchange for its tokens ends too, here and in the list for offline validators."""
    await set_not_before(way.app.client_id, clock.now())
    await registry.load()
    assert await way.live() == [False, False, False]
    assert (await refusal(way.second, way.tokens[1], resource=way.apis[2]))[1] == "issued_too_early"


@pytest.mark.parametrize("end", ["disabled", "deleted", "not before"])
async def test_14_a_client_on_the_way_offline(way: Way, end: str) -> None:
    """The example of docs/revocation-list.md, at a resource server that asks nobody."""
    assert [await _accepts_offline(token) for token in way.tokens] == [True, True, True]
    if end == "disabled":
        await disable_client(way.first.client_id)
    elif end == "deleted":
        await delete_client(way.first.client_id)
    else:
        await set_not_before(way.first.client_id, clock.now())
    await registry.load()
    assert await way.live() == [True, False, False]
    assert [await _accepts_offline(token) for token in way.tokens] == [True, False, False]


async def _accepts_offline(token: str) -> bool:
    names = resource_server("https://id.example", "https://api.example")
    fresh = jwt.decode(await RevocationList().current(), options={"verify_signature": False})
    listed = urlsafe_b64decode(fresh["revoked"] + "==")
    fresh["revoked"] = {listed[at : at + 8] for at in range(0, len(listed), 8)}
    names["revocation"], names["fetched_at"] = fresh, time.monotonic()
    return not names["revoked"](claims_of(token))
