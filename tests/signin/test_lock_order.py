"""The user is locked before anything else of theirs (docs/decisions/0050-lookups-and-lock-order.md).

Each test holds a lock, lets the other work wait for it, and then takes what that work uses later, without waiting. If
the work held it already, the two would deadlock.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

from idp import clock, ids
from idp.accounts import email_proofs, recovery
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository.users import lock_user
from idp.accounts.tables import User
from idp.admin.access import Caller, check_client, check_user
from idp.admin.incidents import contain_upstream
from idp.admin.roles import Role
from idp.federation import authorization_requests, registry
from idp.federation.linking import ExternalIdentity, find_user
from idp.federation.repository import insert_identity
from idp.infra.db.engine import authority, execute, fetch, transaction
from idp.oauth.clients.repository import lock_client
from idp.oauth.clients.service import set_not_before
from idp.oauth.credentials import credentials_changed
from idp.signin import completion
from idp.signin import flow as flows
from idp.signin.browser import Browser, BrowserKey
from idp.signin.completion import CompletedSignIn
from idp.signin.factors import service as factors
from idp.signin.flow import Flow, FlowFinishedError
from idp.signin.repository.subjects import subject_by_id
from idp.signin.steps import StepRefusedError, VerifiedStep, email_code, upstream
from idp.signin.transitions import CompletedStep, Step
from tests.conftest import MakeClient, MakeUser

WAITS = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"


@asynccontextmanager
async def waiting(
    hold: Callable[[], Awaitable[object]], work: Coroutine[Any, Any, Any], context: Context
) -> AsyncIterator["asyncio.Task[Any]"]:
    """Run a block in a transaction that holds a lock for which the work waits."""
    async with transaction():
        await hold()
        task = asyncio.get_running_loop().create_task(work, context=context)
        async with asyncio.timeout(30):
            while not await fetch(WAITS):
                assert not task.done(), task
                await asyncio.sleep(0.01)
            yield task


async def take(statement: str, *arguments: object) -> None:
    """Lock rows, and fail if another transaction holds one."""
    assert await fetch(f"{statement} FOR UPDATE NOWAIT", *arguments)


async def _flow() -> Flow:
    return await flows.load_bound(await flows.start(BrowserKey.new(), "/"))


class Proof(NamedTuple):
    """Something that proves who the user is: its use, the statement that finds its row, and that which deletes it."""

    use: Callable[[], Coroutine[Any, Any, object]]
    row: str
    revoke: str


async def _in_transaction(complete: Callable[[], Awaitable[VerifiedStep | None]]) -> UUID | None:
    async with transaction():
        try:
            verified = await complete()
        except StepRefusedError:
            return None
        return verified.user_id if verified is not None else None


EMAIL_PROOF = (
    "SELECT FROM email_proof WHERE user_id = $1 AND consumed_at IS NULL",
    "UPDATE email_proof SET consumed_at = now() WHERE user_id = $1",
)


async def _code(user: User, purpose: Purpose, flow: Flow) -> str:
    sent = await email_proofs.create(purpose, user.email, lifetime=600, flow_id=flow.binding.id, user_id=user.id)
    return sent.code


async def _email_code(user: User) -> Proof:
    flow = await _flow()
    entered = {"code": await _code(user, Purpose.SIGN_IN, flow)}
    return Proof(partial(_in_transaction, partial(email_code.complete, flow, entered)), *EMAIL_PROOF)


def _identity(email: str | None) -> ExternalIdentity:
    return ExternalIdentity("test", "https://elsewhere.example.com", ids.random_token(), email, False, {})


async def _link(user: User) -> Proof:
    flow = await _flow()
    sent = await email_proofs.create(
        Purpose.SIGN_IN, user.email, lifetime=600, flow_id=flow.binding.id, user_id=user.id
    )
    return Proof(partial(_in_transaction, partial(email_code.complete, flow, {"token": sent.token})), *EMAIL_PROOF)


async def _email_code_of_an_identity(user: User) -> Proof:
    flow = await flows.store_identity(await _flow(), _identity(user.email))
    await execute("UPDATE users SET email_verified = true WHERE id = $1", user.id)
    entered = {"code": await _code(user, Purpose.UPSTREAM, flow)}
    return Proof(partial(_in_transaction, partial(upstream.complete, flow, entered)), *EMAIL_PROOF)


async def _linked_identity(user: User) -> Proof:
    identity = _identity(None)
    assert await insert_identity(user.id, identity.issuer, identity.subject, upstream_id="test")
    return Proof(
        partial(_in_transaction, partial(upstream.complete, await _flow(), identity)),
        "SELECT FROM identity WHERE user_id = $1",
        "DELETE FROM identity WHERE user_id = $1",
    )


async def _reset_link(user: User) -> Proof:
    sent = await email_proofs.create(Purpose.PASSWORD_RESET, user.email, lifetime=600, user_id=user.id)
    proved = await email_proofs.verify_token(sent.token, Purpose.PASSWORD_RESET)
    assert proved is not None

    async def reset() -> UUID | None:
        done = await recovery.reset_password(proved, "five odd fishes swim", credentials_changed)
        return user.id if done else None

    return Proof(reset, *EMAIL_PROOF)


PROOFS = {
    "email code": _email_code,
    "link": _link,
    "email code of an identity": _email_code_of_an_identity,
    "identity": _linked_identity,
    "reset link": _reset_link,
}


@pytest.mark.parametrize("revoked", [False, True])
@pytest.mark.parametrize("proof", PROOFS)
async def test_a_proof_is_used_after_its_user_is_locked(alice: User, proof: str, revoked: bool) -> None:
    """A change of credentials holds the lock, and may end the proof."""
    given = await PROOFS[proof](alice)
    async with waiting(partial(lock_user, alice.id), given.use(), copy_context()) as use:
        await take(given.row, alice.id)
        if revoked:
            await execute(given.revoke, alice.id)
    assert await use == (None if revoked else alice.id)


async def test_a_shared_browser_forgets_devices_before_sessions(alice: User, make_user: MakeUser) -> None:
    """Another user of the browser is signed out at the same time, which locks their devices."""
    bob = await make_user()
    first = await _sign_in(bob, Browser())
    browser = Browser(session_token=first.session_token, device_token=first.device_token)
    context = copy_context()
    hold = partial(fetch, "SELECT FROM device WHERE user_id = $1 FOR UPDATE", bob.id)
    async with waiting(hold, _sign_in(alice, browser), context) as signing_in:
        await take("SELECT FROM session WHERE user_id = $1", bob.id)
    assert (await signing_in).session.user_id == alice.id


async def _sign_in(user: User, browser: Browser) -> CompletedSignIn:
    flow = await _flow()
    async with transaction():
        await lock_user(user.id)
        person = await subject_by_id(user.id, browser)
        assert person is not None
        done = CompletedStep(Step.PASSWORD, ("pwd",))
        return await completion.complete(browser, flow, person, done, trust=False)


async def _upstream(user: User, tokens: bytes | None = None) -> tuple[Flow, ExternalIdentity]:
    """A flow whose browser is back from a provider, and whose response was accepted."""
    name, flow = f"u{secrets.token_hex(4)}", await _flow()
    await registry.add(registry.configure(kind="oidc", id=name, name="Acme", issuer="https://a.example", client_id="x"))
    attempt = await authorization_requests.create(name, flow_id=flow.binding.id)
    assert await authorization_requests.consume(attempt)
    assert await insert_identity(user.id, "https://a.example", name, upstream_id=name, tokens=tokens)
    return flow, ExternalIdentity(name, "https://a.example", name, None, False, {})


async def _finish(flow: Flow, identity: ExternalIdentity) -> CompletedSignIn:
    """Sign in by an upstream, in the caller's transaction."""
    verified = await upstream.complete(flow, identity)
    assert verified is not None
    person = await subject_by_id(verified.user_id, Browser())
    assert person is not None
    return await completion.complete(Browser(), flow, person, verified.step, trust=False)


@pytest.mark.parametrize("tokens", [None, b"earlier"])
async def test_a_sign_in_that_finishes_while_its_upstream_is_contained(alice: User, tokens: bytes | None) -> None:
    """Its session is ended, and its tokens of the upstream are deleted, with the others."""
    flow, identity = await _upstream(alice, tokens)
    identity = msgspec.structs.replace(identity, tokens=b"new")
    contain = contain_upstream(identity.upstream_id)
    async with waiting(partial(_finish, flow, identity), contain, copy_context()) as containing:
        pass
    ended = (await containing).ended
    assert (ended["sessions"], ended["upstream_tokens"]) == (1, 1)
    assert await fetch("SELECT FROM identity WHERE user_id = $1 AND tokens IS NOT NULL", alice.id) == []
    assert await fetch("SELECT FROM session WHERE user_id = $1 AND ended_at IS NULL", alice.id) == []


async def test_a_contained_upstream_loses_its_tokens_before_its_flows(alice: User) -> None:
    """As a sign-in with it, which uses the identity first."""
    flow, identity = await _upstream(alice, b"earlier")
    use, contain = partial(find_user, identity, lock=True), contain_upstream(identity.upstream_id)
    async with waiting(use, contain, copy_context()) as containing:
        await take("SELECT FROM signin_flow WHERE id = $1", flow.binding.id)
    assert (await containing).ended["upstream_tokens"] == 1


async def test_a_sign_in_that_finishes_after_its_upstream_was_contained(alice: User) -> None:
    """The provider's response was accepted before. Nothing names the user yet."""
    flow, identity = await _upstream(alice)
    await contain_upstream(identity.upstream_id)
    async with transaction():
        with pytest.raises(FlowFinishedError):
            await _finish(flow, identity)


async def test_admins_who_act_on_each_other_lock_both_in_one_order(make_user: MakeUser) -> None:
    """The one whose id comes later waits for the other before it holds anything."""
    low, high = sorted([(await make_user()).id, (await make_user()).id])
    context = copy_context()
    await asyncio.get_running_loop().create_task(_act_as(high, low), context=context)
    reset = factors.remove_all(low, credentials_changed)
    async with waiting(partial(lock_user, low), reset, context) as resetting:
        await take("SELECT FROM users WHERE id = $1", high)
    assert await resetting is False


async def _act_as(admin: UUID, target: UUID) -> None:
    """Prepare a request of an admin on a user, whose transactions check that the admin may do this."""

    async def check() -> None:
        assert await lock_user(admin)

    authority.set(check)
    await check_user(Caller(admin, None, frozenset({Role.OWNER}), frozenset()), target)


async def test_clients_that_act_on_each_other_lock_both_in_one_order(make_client: MakeClient) -> None:
    low, high = sorted([(await make_client()).client_id, (await make_client()).client_id])
    context = copy_context()
    await asyncio.get_running_loop().create_task(_client_acts_on(high, low), context=context)
    change = set_not_before(low, clock.now())
    async with waiting(partial(lock_client, low), change, context) as changing:
        await take("SELECT FROM client WHERE client_id = $1", high)
    await changing


async def _client_acts_on(client_id: str, target: str) -> None:
    """As :func:`_act_as`, for a client that acts in its own name."""

    async def check() -> None:
        assert await lock_client(client_id)

    authority.set(check)
    await check_client(Caller(None, client_id, frozenset({Role.OWNER}), frozenset()), target)
