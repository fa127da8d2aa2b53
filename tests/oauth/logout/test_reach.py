"""The reach report: what each application knows of the end of a session, and until when its tokens work."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from idp import clock
from idp.accounts.users import create_user
from idp.infra.db.engine import execute, fetchrow
from idp.oauth.clients.registration import disable_client
from idp.oauth.clients.service import delete_client
from idp.oauth.logout import reach
from idp.oauth.logout.frontchannel import LOGOUT_PAGE
from idp.oauth.logout.reach import ApplicationReach, Reach
from idp.oauth.sign_out import end_session
from idp.oauth.tables import TokenFamily
from idp.settings import settings
from idp.signin.repository import sessions
from tests.oauth.logout.conftest import Participate, Participation, make_due, send
from tests.support.receivers import Receivers


@pytest.fixture(autouse=True)
def still() -> Iterator[None]:
    yield
    clock.offset = timedelta()


async def family(given: Participation, **values: Any) -> None:
    """Give the first client tokens in the session."""
    now = clock.now()
    row = TokenFamily(
        **{
            "client_id": given.clients[0].client_id, "user_id": given.user.id, "session_id": given.session_id,
            "scope": "openid", "resource": [], "offline_access": False, "auth_time": now, "amr": ["pwd"], "acr": "1",
            "expires_at": now + timedelta(days=1),
        }
        | values
    )  # fmt: skip
    await TokenFamily.insert(row)


async def of(given: Participation) -> list[ApplicationReach]:
    found = await reach.of_session(given.user.id, given.session_id)
    assert found is not None
    assert await reach.of_user(given.user.id) == [found]
    return found.applications


async def is_reached(given: Participation) -> bool:
    (found,) = await reach.of_user(given.user.id)
    return found.reached


async def test_the_states(receivers: Receivers, participate: Participate) -> None:
    """From the end of the session to the acknowledgements, refusals and failures."""
    receivers.behaviours |= {"no": "400 |unknown_session", "down": "500"}
    names = ("yes", "no", "down", None)
    given = await participate(*({"backchannel_logout_uri": name and receivers.url(name)} for name in names))
    assert await reach.of_session(given.user.id, given.session_id) is None
    assert await sessions.end_session(given.user.id, given.session_id, "x")
    # Before any process has announced it.
    assert [each.state for each in await of(given)] == [Reach.TRYING, Reach.TRYING, Reach.TRYING, Reach.CANNOT_BE_TOLD]
    await send()
    told, refused, trying, silent = await of(given)
    assert [each.client_id for each in (told, refused, trying, silent)] == [each.client_id for each in given.clients]
    assert (told.state, told.attempts, told.response) == (Reach.TOLD, 1, "204")
    assert (refused.state, refused.response) == (Reach.REFUSED, "400 unknown_session")
    assert (trying.state, trying.attempts, trying.at) == (Reach.TRYING, 1, None)
    assert silent.state is Reach.CANNOT_BE_TOLD
    for each in (told, refused):
        assert each.at is not None
        assert abs((each.at - clock.now()).total_seconds()) < 60
    assert trying.next_attempt_at is not None
    assert not await is_reached(given)
    await execute("UPDATE delivery SET expires_at = now() WHERE state = 'deferred'")
    await make_due()
    await send()
    assert (await of(given))[2].state is Reach.GAVE_UP


FRAME = {"backchannel_logout_uri": None, "frontchannel_logout_uri": "https://shop.example/signed-out"}


@pytest.mark.parametrize(
    ("reason", "state"),
    [(LOGOUT_PAGE, Reach.TOLD_BY_BROWSER), ("signed_out_by_admin", Reach.CANNOT_BE_TOLD)],
    ids=["on the page", "from elsewhere"],
)
async def test_a_client_that_only_a_browser_tells(participate: Participate, reason: str, state: Reach) -> None:
    """By the page after a sign-out. Nobody knows whether the frame did what it should."""
    given = await participate(FRAME, FRAME | {"backchannel_logout_uri": None, "frontchannel_logout_uri": None}, {})
    assert await sessions.end_session(given.user.id, given.session_id, reason)
    await send()
    assert [each.state for each in await of(given)] == [state, Reach.CANNOT_BE_TOLD, Reach.TOLD]
    assert not await is_reached(given)
    await disable_client(given.clients[0].client_id)
    assert (await of(given))[0].state is Reach.CANNOT_BE_TOLD


async def test_a_client_that_got_its_uri_later_was_not_told(participate: Participate) -> None:
    given = await participate({"backchannel_logout_uri": None})
    assert await sessions.end_session(given.user.id, given.session_id, "x")
    await send()
    await execute('UPDATE client SET metadata = metadata || \'{"backchannel_logout_uri": "https://a.example/"}\'')
    assert [each.state for each in await of(given)] == [Reach.CANNOT_BE_TOLD]


async def test_a_deleted_client(participate: Participate) -> None:
    given = await participate({"backchannel_logout_uri": None})
    assert await sessions.end_session(given.user.id, given.session_id, "x")
    await delete_client(given.clients[0].client_id)
    (found,) = await of(given)
    assert (found.client_id, found.client_name) == (given.clients[0].client_id, None)
    assert found.state is Reach.CANNOT_BE_TOLD


async def test_until_when_tokens_work(participate: Participate) -> None:
    given = await participate()
    await family(given)
    assert await end_session(given.user.id, given.session_id, "signed_out_by_user")
    await send()
    (found,) = await of(given)
    assert found.tokens_until == await ended_at(given) + timedelta(
        seconds=reach.UNDER_WAY + settings().access_token_lifetime
    )
    assert not await is_reached(given)
    clock.offset = timedelta(seconds=settings().access_token_lifetime + reach.UNDER_WAY + 60)
    (found,) = await of(given)
    assert found.tokens_until is None
    assert await is_reached(given)


async def ended_at(given: Participation) -> datetime:
    row = await fetchrow("SELECT ended_at FROM session WHERE id = $1", given.session_id)
    assert row is not None
    ended: datetime = row["ended_at"]
    return ended


async def test_without_tokens_there_is_nothing_to_wait_for(participate: Participate) -> None:
    given = await participate()
    assert await sessions.end_session(given.user.id, given.session_id, "x")
    await send()
    assert [each.tokens_until for each in await of(given)] == [None]
    assert await is_reached(given)


async def test_offline_access_outlives_a_sign_out(participate: Participate) -> None:
    """Until it is revoked; then its last tokens still work for a while."""
    given = await participate()
    await family(given)
    await family(given, offline_access=True)
    assert await sessions.end_session(given.user.id, given.session_id, "x")
    await send()
    (found,) = await of(given)
    assert (found.offline_access, found.tokens_until) == (True, None)
    assert not await is_reached(given)
    revoked_at = await ended_at(given) + timedelta(minutes=2)
    await execute("UPDATE token_family SET revoked_at = $2 WHERE session_id = $1", given.session_id, revoked_at)
    (found,) = await of(given)
    lifetime = timedelta(seconds=reach.UNDER_WAY + settings().access_token_lifetime)
    assert (found.offline_access, found.tokens_until) == (False, revoked_at + lifetime)


async def test_only_sessions_of_the_user_that_ended_lately(participate: Participate) -> None:
    given, other = await participate(), await participate()
    for each in (given, other):
        assert await sessions.end_session(each.user.id, each.session_id, "x")
    assert await reach.of_session(given.user.id, other.session_id) is None
    assert [each.sid for each in await reach.of_user(given.user.id)] == [given.session_id]
    kept = timedelta(seconds=settings().delivery_kept + 60)
    await execute("UPDATE session SET ended_at = now() - $2::interval WHERE id = $1", given.session_id, kept)
    assert await reach.of_user(given.user.id) == []
    nobody = await create_user("nobody@example.com", None)
    assert await reach.of_user(nobody.id) == []
