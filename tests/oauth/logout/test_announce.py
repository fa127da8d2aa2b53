"""Whatever ends a session announces it, once, to each client that took part."""

import ast
import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from idp.accounts import profile, users
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.admin import incidents, restore
from idp.infra.db.engine import execute, fetch, transaction
from idp.oauth import sign_out
from idp.oauth.credentials import credentials_changed
from idp.oauth.logout import announce, repository
from idp.signin.repository import sessions
from idp.signin.repository.sessions import SessionKey
from idp.signin.session_tokens import SessionToken
from tests.oauth.logout.conftest import Participate, Participation, queued, send, take_part
from tests.support.receivers import Receivers
from tests.support.rows import session_row

End = Callable[[Participation], Awaitable[object]]


async def _session_of_token(given: Participation) -> None:
    rows = await fetch("SELECT token_hash FROM session WHERE id = $1", given.session_id)
    token = SessionToken(given.user.id, rows[0]["token_hash"])
    await sessions.end_other_session_of_token(token, UUID(int=1), "x")


async def _by_restore(_: Participation) -> None:
    async with transaction():
        for end in restore._END.values():
            await end()


async def _disable_by_containment(given: Participation) -> None:
    await incidents.contain_user(given.user.id)


async def _change_credentials(given: Participation) -> None:
    async with transaction():
        await credentials_changed(given.user.id, "password_changed")


async def _delete(given: Participation) -> None:
    assert await profile.delete_user(given.user.id, sign_out.sign_out_for_deletion)


#: Every function that ends sessions, by its name in the repository of sessions, and what calls them.
WAYS: dict[str, End] = {
    "end_session": lambda given: sessions.end_session(given.user.id, given.session_id, "x"),
    "end_sessions_of_user": lambda given: sessions.end_sessions_of_user(given.user.id, "x"),
    "end_sessions": lambda given: sessions.end_sessions([SessionKey(given.user.id, given.session_id)], "x"),
    "end_all_sessions": lambda _: sessions.end_all_sessions("x"),
    "end_other_sessions": lambda given: sessions.end_other_sessions(given.user.id, UUID(int=1), "x"),
    "end_other_session_of_token": _session_of_token,
    "sign-out of one session": lambda given: sign_out.end_session(given.user.id, given.session_id, "x"),
    "sign-out everywhere": lambda given: sign_out.sign_out_everywhere(given.user.id, "x"),
    "change of credentials": _change_credentials,
    "disabling": lambda given: users.disable_user(given.user.id, credentials_changed),
    "containment": _disable_by_containment,
    "restored backup": _by_restore,
    "deletion": _delete,
}


def test_the_list_has_every_function_that_ends_sessions() -> None:
    """Only this module writes the table, so there is no other."""
    functions = [node for node in ast.parse(inspect.getsource(sessions)).body if isinstance(node, ast.AsyncFunctionDef)]
    ending = {
        function.name
        for function in functions
        if any(isinstance(node, ast.Call) and ast.unparse(node.func) == "_end" for node in ast.walk(function))
    }
    assert ending == {name for name in WAYS if name.isidentifier() and name in vars(sessions)}
    text = Path(inspect.getfile(sessions)).read_text(encoding="utf-8")
    assert text.count("ended_at = ") == 1, "There is one form of statement that ends sessions."


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_of_ending_is_announced(receivers: Receivers, participate: Participate, way: str) -> None:
    given = await participate()
    assert await announce.announce() == 0
    await WAYS[way](given)
    await send()
    (request,) = receivers.received
    assert request.path == "shop"
    assert await queued() == [(given.session_id, f"client:{given.clients[0].client_id}")]
    # Neither announced nor sent again.
    await execute("UPDATE session SET ended_at = now() WHERE user_id = $1", given.user.id)
    await send()
    assert len(receivers.received) == 1


async def test_a_deletion_that_is_rolled_back_announces_nothing(receivers: Receivers, participate: Participate) -> None:
    given = await participate()

    async def delete() -> None:
        async with transaction():
            await _delete(given)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await delete()
    await send()
    assert receivers.received == []
    assert await sessions.end_session(given.user.id, given.session_id, "x")


async def test_only_clients_that_took_part_and_can_be_told(receivers: Receivers, participate: Participate) -> None:
    told = {"backchannel_logout_uri": receivers.url("other")}
    given = await participate({}, {"backchannel_logout_uri": None}, told)
    other = await participate()
    await sessions.end_session(given.user.id, given.session_id, "x")
    await send()
    assert sorted(request.path for request in receivers.received) == ["other", "shop"]
    assert {session_id for session_id, _ in await queued()} == {given.session_id}
    assert await sessions.end_session(other.user.id, other.session_id, "x")


async def test_a_session_that_runs_out_is_not_announced(receivers: Receivers, participate: Participate) -> None:
    given = await participate()
    await execute("UPDATE session SET expires_at = now() - interval '1 minute' WHERE id = $1", given.session_id)
    await send()
    assert await queued() == []
    # The user may still end it, and then means it.
    await sessions.end_sessions_of_user(given.user.id, "x")
    await send()
    assert len(await queued()) == 1


async def test_an_ended_session_is_kept_until_it_is_announced(participate: Participate) -> None:
    from idp.infra.db.expiring import clean

    given = await participate()
    await sessions.end_session(given.user.id, given.session_id, "x")
    await execute("UPDATE session SET expires_at = now() - interval '2 days' WHERE id = $1", given.session_id)
    (expiring,) = sessions.EXPIRING
    await clean(expiring)
    assert await announce.announce() == 1
    await clean(expiring)
    assert await fetch("SELECT FROM session WHERE id = $1", given.session_id) == []
    assert len(await queued()) == 1


async def test_concurrent_processes_announce_once(participate: Participate) -> None:
    """Each takes sessions that no other one has."""
    given = [await participate() for _ in range(12)]
    await sessions.end_sessions([SessionKey(each.user.id, each.session_id) for each in given], "x")
    counts = await asyncio.gather(*(announce.announce(5) for _ in range(6)))
    assert sum(counts) == 12
    assert sorted(session_id for session_id, _ in await queued()) == sorted(each.session_id for each in given)


async def test_a_process_that_dies_in_between_leaves_it_to_another(
    participate: Participate, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await participate()
    await sessions.end_session(given.user.id, given.session_id, "x")
    with monkeypatch.context() as patched:
        patched.setattr(repository, "clients_to_tell", _die)
        with pytest.raises(KeyboardInterrupt):
            await announce.announce()
    assert await queued() == []
    assert await announce.announce() == 1
    assert len(await queued()) == 1


async def _die(_: object) -> None:
    raise KeyboardInterrupt


async def test_a_code_that_is_issued_meanwhile(receivers: Receivers, participate: Participate) -> None:
    """Either its client is told, or there is no code."""
    for _ in range(10):
        given = await participate({"backchannel_logout_uri": receivers.url("first")})
        late = await participate({"backchannel_logout_uri": receivers.url("late")})

        async def issue(given: Participation = given, late: Participation = late) -> bool:
            try:
                await take_part(given.user.id, given.session_id, late.clients[0].client_id)
            except AssertionError:
                return False
            return True

        issued, _ = await asyncio.gather(issue(), sessions.end_session(given.user.id, given.session_id, "x"))
        await send()
        found = [name for session_id, name in await queued() if session_id == given.session_id]
        assert (f"client:{late.clients[0].client_id}" in found) == issued


async def test_many_sessions_are_few_statements(receivers: Receivers, participate: Participate) -> None:
    """The statements are on sets: their number depends on batches, not on sessions."""
    given = await participate()
    user: User = await create_user("many@example.com", None)
    rows = [session_row(user.id) for _ in range(1200)]
    await type(rows[0]).insert(*rows)
    await fetch(
        "INSERT INTO session_client (user_id, session_id, client_id) SELECT user_id, id, $2 FROM session"
        " WHERE user_id = $1", user.id, given.clients[0].client_id,
    )  # fmt: skip
    await sessions.end_all_sessions("x")
    assert [await announce.announce() for _ in range(4)] == [500, 500, 201, 0]
    assert len(await queued()) == 1201
