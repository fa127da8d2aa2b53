"""Invitations into organizations: sending them, and what accepting gives."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from idp import housekeeping, ids
from idp.accounts import profile, users
from idp.accounts.addresses import InvalidEmailError
from idp.accounts.repository.users import delete_user, lock_user
from idp.accounts.tables import User
from idp.admin import roles as admin_roles
from idp.admin.roles import Role
from idp.directory import effective, invitations, invited, member_states, organizations, roles
from idp.directory.errors import (
    AlreadyInvitedError,
    AlreadyMemberError,
    InvitationEndedError,
    NotInvitedError,
    OrganizationDisabledError,
    UnknownInvitationError,
    UnknownOrganizationError,
    UnknownRoleError,
)
from idp.directory.invitations import Sent
from idp.directory.models import InvitationState, Organization
from idp.errors import TooManyRequestsError
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.mail import outbox
from idp.oauth.credentials import credentials_changed
from idp.oauth.sign_out import sign_out_for_deletion
from idp.signin import invitation, sessions
from idp.signin.browser import Browser
from idp.signin.flow import Registration
from idp.signin.transitions import CompletedStep, Step
from tests.conftest import MakeUser
from tests.signin.test_lock_order import take, waiting
from tests.support.directory import a_role_in, an_organization

NOBODY = UUID(int=1)


def token_of(sent: Sent) -> str:
    return parse_qs(urlsplit(sent.link).query)["token"][0]


def an_address() -> str:
    return f"{secrets.token_hex(6)}@example.com"


@pytest.fixture
async def acme(db: str) -> Organization:
    return await an_organization()


@pytest.fixture
async def ada(make_user: MakeUser) -> User:
    """A user with a verified address."""
    return await make_user(name="Ada", email_verified=True, locale="de")


async def events_of(sent: Sent) -> list[str]:
    rows = await fetch(
        "SELECT event FROM audit_event WHERE detail ->> 'invitation_id' = $1 ORDER BY at, id",
        str(sent.invitation.id),
    )
    return [row["event"] for row in rows]


async def roles_in(user: User, organization: Organization) -> tuple[str, ...] | None:
    found = (await effective.memberships(user.id)).organizations.get(organization.id)
    return found.roles if found is not None else None


async def test_accepting_gives_membership_and_roles(acme: Organization, ada: User) -> None:
    editor, gone = await a_role_in(acme), await a_role_in(acme)
    sent = await invitations.invite(acme.id, ada.email.upper(), role_ids=[editor.id, gone.id, editor.id], admin=True)
    assert (sent.invitation.email, sent.invitation.state) == (ada.email, InvitationState.OPEN)
    await roles.delete(gone.id)
    assert await roles_in(ada, acme) is None
    (offer,) = await invited.of_user(ada)
    assert (offer.slug, offer.organization_name, offer.inviter, offer.admin) == (acme.slug, "Acme", None, True)
    await invited.accept(offer.id, ada.id)
    assert await roles_in(ada, acme) == (editor.name,)
    (member,) = await fetch("SELECT admin, origin FROM organization_member WHERE user_id = $1", ada.id)
    assert dict(member) == {"admin": True, "origin": "invitation"}
    assert (await invitations.found(acme.id, offer.id)).state is InvitationState.ACCEPTED
    assert await invited.of_user(ada) == []
    assert await events_of(sent) == ["organization_invitation_created", "organization_invitation_accepted"]
    for again in (None, token_of(sent)):
        with pytest.raises(InvitationEndedError):
            await invited.accept(offer.id, ada.id, again)
    with pytest.raises(AlreadyMemberError):
        await invitations.invite(acme.id, ada.email)


async def test_what_is_refused(acme: Organization, ada: User) -> None:
    other = await an_organization()
    theirs = await a_role_in(other)
    for email in (
        "",
        "ada",
        "a\0da@example.com",
        "a\u200bda@example.com",
        "x" * 400 + "@example.com",
        "\udc80@example.com",
    ):
        with pytest.raises(InvalidEmailError):
            await invitations.invite(acme.id, email)
    with pytest.raises(UnknownOrganizationError):
        await invitations.invite(NOBODY, ada.email)
    many = [UUID(int=number) for number in range(invitations.MAX_ROLES + 1)]
    for role_ids in ([theirs.id], [NOBODY], many):
        with pytest.raises(UnknownRoleError):
            await invitations.invite(acme.id, an_address(), role_ids=role_ids)
    sent = await invitations.invite(acme.id, ada.email)
    with pytest.raises(AlreadyInvitedError):
        await invitations.invite(acme.id, ada.email.upper())
    for act in (invitations.found, invitations.resend, invitations.revoke):
        for organization_id, invitation_id in ((other.id, sent.invitation.id), (acme.id, NOBODY)):
            with pytest.raises(UnknownInvitationError):
                await act(organization_id, invitation_id)  # type: ignore[operator]
    await organizations.disable(acme.id)
    with pytest.raises(OrganizationDisabledError):
        await invitations.invite(acme.id, an_address())
    with pytest.raises(OrganizationDisabledError):
        await invitations.resend(acme.id, sent.invitation.id)
    assert await invited.of_user(ada) == []
    with pytest.raises(InvitationEndedError):
        await invited.accept(sent.invitation.id, ada.id)
    await organizations.enable(acme.id)
    await invited.accept(sent.invitation.id, ada.id)


async def test_look_alikes_are_one_address(acme: Organization, ada: User) -> None:
    """Full-width letters are those that are looked up; a Cyrillic one is another address."""
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in ada.email.partition("@")[0]) + "@example.com"
    assert (await invitations.invite(acme.id, wide)).invitation.email == ada.email
    other = await invitations.invite(acme.id, "\u0430" + ada.email)
    with pytest.raises(NotInvitedError):
        await invited.accept(other.invitation.id, ada.id, token_of(other))


async def test_only_an_address_that_is_proved_accepts(acme: Organization, make_user: MakeUser) -> None:
    ada = await make_user()
    sent = await invitations.invite(acme.id, ada.email)
    assert await invited.of_user(ada) == []
    other = await make_user(email_verified=True)
    for user, token in ((ada, None), (other, None), (other, token_of(sent))):
        with pytest.raises(NotInvitedError):
            await invited.accept(sent.invitation.id, user.id, token)
        with pytest.raises(NotInvitedError):
            await invited.decline(sent.invitation.id, user.id)
    for wrong in ("", "x", "\0", token_of(sent)[:-1]):
        with pytest.raises(InvitationEndedError):
            await invited.accept(sent.invitation.id, ada.id, wrong)
    # Strangers could have created this one.
    await execute("UPDATE users SET origin = 'registration' WHERE id = $1", ada.id)
    with pytest.raises(NotInvitedError):
        await invited.accept(sent.invitation.id, ada.id, token_of(sent))
    await execute("UPDATE users SET origin = 'operator' WHERE id = $1", ada.id)
    await invited.accept(sent.invitation.id, ada.id, token_of(sent))
    row = await fetchrow("SELECT email_verified FROM users WHERE id = $1", ada.id)
    assert row is not None
    assert row["email_verified"]
    assert await roles_in(ada, acme) == ()


async def test_sending_again_ends_the_earlier_link(acme: Organization, ada: User) -> None:
    first = await invitations.invite(acme.id, ada.email)
    await execute(
        "UPDATE organization_invitation SET expires_at = now() - interval '1 hour' WHERE id = $1", first.invitation.id
    )
    assert (await invitations.found(acme.id, first.invitation.id)).state is InvitationState.EXPIRED
    with pytest.raises(InvitationEndedError):
        await invited.accept(first.invitation.id, ada.id)
    second = await invitations.resend(acme.id, first.invitation.id)
    assert second.invitation.id == first.invitation.id
    assert await invited.by_token(token_of(first)) is None
    with pytest.raises(InvitationEndedError):
        await invited.accept(first.invitation.id, ada.id, token_of(first))
    await invited.accept(first.invitation.id, ada.id, token_of(second))


async def test_an_expired_one_is_replaced(acme: Organization, ada: User) -> None:
    first = await invitations.invite(acme.id, ada.email)
    await execute("UPDATE organization_invitation SET expires_at = now() WHERE id = $1", first.invitation.id)
    second = await invitations.invite(acme.id, ada.email)
    assert second.invitation.id != first.invitation.id
    assert (await invitations.found(acme.id, first.invitation.id)).state is InvitationState.EXPIRED
    assert (await invitations.of_address(acme.id, ada.email)).id == second.invitation.id
    with pytest.raises(UnknownInvitationError):
        await invitations.of_address(acme.id, "not an address")


async def test_declining_and_revoking(acme: Organization, ada: User) -> None:
    sent = await invitations.invite(acme.id, ada.email)
    await invited.decline(sent.invitation.id, ada.id)
    assert (await invitations.found(acme.id, sent.invitation.id)).user_id == ada.id
    again = await invitations.invite(acme.id, ada.email)
    with pytest.raises(InvitationEndedError):
        await invited.decline_by_link("x")
    await invited.decline_by_link(token_of(again))
    with pytest.raises(InvitationEndedError):
        await invited.decline_by_link(token_of(again))
    assert await events_of(again) == ["organization_invitation_created", "organization_invitation_declined"]
    last = await invitations.invite(acme.id, f"x{ada.email}")
    await invitations.revoke(acme.id, last.invitation.id)
    with pytest.raises(UnknownInvitationError):
        await invitations.revoke(acme.id, last.invitation.id)
    with pytest.raises(UnknownInvitationError):
        await invitations.resend(acme.id, last.invitation.id)
    found = await invited.by_token(token_of(last))
    assert found is not None
    assert found.state is InvitationState.REVOKED
    assert await roles_in(ada, acme) is None


async def test_several_at_once(acme: Organization, ada: User) -> None:
    """One of several that accept, decline and revoke is the one that counts."""
    for _ in range(10):
        sent = await invitations.invite(acme.id, f"{secrets.token_hex(6)}@example.com")
        await execute("UPDATE organization_invitation SET email = $2 WHERE id = $1", sent.invitation.id, ada.email)
        found = await asyncio.gather(
            *(invited.accept(sent.invitation.id, ada.id) for _ in range(3)),
            invited.decline_by_link(token_of(sent)),
            invitations.revoke(acme.id, sent.invitation.id),
            return_exceptions=True,
        )
        assert sum(not isinstance(each, BaseException) for each in found) == 1
        expected = InvitationEndedError | UnknownInvitationError
        assert not [each for each in found if isinstance(each, BaseException) and not isinstance(each, expected)]
        state = (await invitations.found(acme.id, sent.invitation.id)).state
        assert (await roles_in(ada, acme) is not None) is (state is InvitationState.ACCEPTED)
        await organizations.remove_members(acme.id, [ada.id])


async def test_while_the_organization_is_disabled_or_deleted(ada: User) -> None:
    """Whoever joins has joined before."""
    for act in (organizations.disable, organizations.delete):
        acme = await an_organization()
        sent = await invitations.invite(acme.id, ada.email)
        accepted, _ = await asyncio.gather(
            invited.accept(sent.invitation.id, ada.id), act(acme.id), return_exceptions=True
        )
        assert not isinstance(accepted, BaseException) or isinstance(accepted, InvitationEndedError)


async def test_limits(acme: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    email = an_address()
    sent = await invitations.invite(acme.id, email)
    for _ in range(invitations.TO_ADDRESS_OF_ORGANIZATION.burst - 1):
        await invitations.resend(acme.id, sent.invitation.id)
    with pytest.raises(TooManyRequestsError):
        await invitations.resend(acme.id, sent.invitation.id)
    others = [await an_organization() for _ in range(invitations.TO_ADDRESS.burst)]
    for each in others:
        await invitations.invite(each.id, email)
    # What others sent is not told: the invitation is open, only its mail is not sent.
    last = await an_organization()
    sent = await invitations.invite(last.id, email)
    assert (await invitations.resend(last.id, sent.invitation.id)).invitation.state is InvitationState.OPEN
    sending = await fetch("SELECT FROM mail WHERE recipient = $1 AND state <> 'dead'", email)
    assert len(sending) == invitations.TO_ADDRESS.burst
    await invitations.resend(last.id, sent.invitation.id)
    with pytest.raises(TooManyRequestsError):
        await invitations.resend(last.id, sent.invitation.id)
    monkeypatch.setattr(invitations, "MAX_OPEN", 2)
    await invitations.invite(acme.id, an_address())
    with pytest.raises(AlreadyInvitedError):
        await invitations.invite(acme.id, an_address())


async def test_invitations_of_the_same_moment_count_each_other(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "MAX_OPEN", 2)
    runs = [invitations.invite(acme.id, an_address()) for _ in range(6)]
    found = await asyncio.gather(*runs, return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["AlreadyInvitedError"] * 4 + ["Sent"] * 2


async def test_the_link_stays_when_others_used_up_the_mails(acme: Organization) -> None:
    """Otherwise they could end an invitation that its organization sends again."""
    email = an_address()
    sent = await invitations.invite(acme.id, email)
    for _ in range(invitations.TO_ADDRESS.burst):
        await invitations.invite((await an_organization()).id, email)
    again = await invitations.resend(acme.id, sent.invitation.id)
    assert (again.link, again.invitation.state) == ("", InvitationState.OPEN)
    (row,) = await fetch("SELECT token_hash FROM organization_invitation WHERE id = $1", sent.invitation.id)
    assert row["token_hash"] == ids.digest(token_of(sent))


async def test_the_mail(db: str, ada: User, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the language of its reader; names that could be messages are left out."""
    found: list[tuple[str, dict[str, Any]]] = []

    async def note(to: str, template: str, *, language: str, **context: Any) -> None:
        found.append((language, context | {"to": to, "template": template}))

    monkeypatch.setattr(outbox, "queue", note)
    acme, evil = await an_organization(name="Acme"), await an_organization(name="evil")
    await organizations.rename(evil.id, "Call +1 800 555 0199")
    bob, mallory = await make_user(name="Bob Builder"), await make_user(name="Go to evil.example")
    await invitations.invite(acme.id, ada.email, invited_by=bob.id)
    await invitations.invite(evil.id, an_address(), invited_by=mallory.id)
    (language, first), (other, second) = found
    assert (language, first["to"], first["organization"], first["inviter"]) == ("de", ada.email, "Acme", "Bob Builder")
    assert (other, second["organization"], second["inviter"], second["name"]) == ("en", evil.slug, None, None)


async def test_who_is_deleted(acme: Organization, ada: User, make_user: MakeUser) -> None:
    inviter = await make_user(name="Bob")
    sent = await invitations.invite(acme.id, ada.email, invited_by=inviter.id)
    (offer,) = await invited.of_user(ada)
    assert offer.inviter == "Bob"
    await delete_user(inviter.id)
    (offer,) = await invited.of_user(ada)
    assert (offer.inviter, offer.invited_by) == (None, None)
    await invited.accept(sent.invitation.id, ada.id)
    await delete_user(ada.id)
    assert await fetch("SELECT FROM organization_invitation WHERE organization_id = $1", acme.id) == []
    other = await invitations.invite(acme.id, an_address())
    await organizations.delete(acme.id)
    assert await invited.by_token(token_of(other)) is None


async def test_old_ones_are_deleted(acme: Organization) -> None:
    old, young = await invitations.invite(acme.id, an_address()), await invitations.invite(acme.id, an_address())
    for sent, age in ((old, "31 days"), (young, "29 days")):
        await execute(
            f"UPDATE organization_invitation SET expires_at = now() - interval '{age}' WHERE id = $1",
            sent.invitation.id,
        )
    while await housekeeping.round_of_deletions():
        pass
    rows = await fetch("SELECT id FROM organization_invitation WHERE organization_id = $1", acme.id)
    assert [row["id"] for row in rows] == [young.invitation.id]


@pytest.mark.parametrize("leaves", [True, False])
async def test_the_ways_back_end_with_the_membership(
    acme: Organization, ada: User, make_user: MakeUser, *, leaves: bool
) -> None:
    """Invitations to the address, and those that the user sent and that make an administrator."""
    bob = await make_user(email_verified=True)
    back = await invitations.invite(acme.id, ada.email, admin=True, invited_by=bob.id)
    elsewhere = await invitations.invite((await an_organization()).id, ada.email)
    helper = await invitations.invite(acme.id, an_address(), admin=True, invited_by=ada.id)
    others = [
        await invitations.invite(acme.id, an_address(), invited_by=ada.id),
        await invitations.invite(acme.id, an_address(), admin=True, invited_by=bob.id),
    ]
    await organizations.add_members(acme.id, [ada.id])
    if leaves:
        assert await organizations.leave(acme.id, ada.id, last_admin=False)
    else:
        assert await organizations.remove_members(acme.id, [ada.id]) == 1
    with pytest.raises(InvitationEndedError):
        await invited.accept(back.invitation.id, ada.id)
    for sent in (back, helper):
        assert (await invitations.found(acme.id, sent.invitation.id)).state is InvitationState.REVOKED
        assert (await events_of(sent))[-1] == "organization_invitation_revoked"
    for sent in others:
        assert (await invitations.found(acme.id, sent.invitation.id)).state is InvitationState.OPEN
    await invited.accept(elsewhere.invitation.id, ada.id)


#: What ends the authority of an inviter in an organization, and whether it ends it in all others too.
ENDS: dict[str, tuple[Callable[[UUID, UUID], Awaitable[object]], bool]] = {
    "demoted": (partial(organizations.set_admin, admin=False), False),
    "membership disabled": (partial(member_states.set_enabled, enabled=False), False),
    "account disabled": (lambda _, user_id: users.disable_user(user_id, credentials_changed), True),
    "account deleted": (lambda _, user_id: profile.delete_user(user_id, sign_out_for_deletion), True),
    "no longer an owner": (lambda _, user_id: admin_roles.revoke(user_id, Role.OWNER), True),
}


@pytest.mark.parametrize("how", ENDS)
async def test_invitations_that_make_an_administrator_end_with_the_authority_of_their_sender(
    acme: Organization, ada: User, make_user: MakeUser, how: str
) -> None:
    bob, eve, other = await make_user(), await make_user(email_verified=True), await an_organization()
    for user in (ada, bob):
        await admin_roles.grant(user.id, Role.OWNER)
    for organization in (acme, other):
        await organizations.add_members(organization.id, [ada.id, bob.id])
        for user in (ada, bob):
            await organizations.set_admin(organization.id, user.id, admin=True)
    here = await invitations.invite(acme.id, eve.email, admin=True, invited_by=ada.id)
    there = await invitations.invite(other.id, eve.email, admin=True, invited_by=ada.id)
    others = [
        await invitations.invite(acme.id, an_address(), invited_by=ada.id),
        await invitations.invite(acme.id, an_address(), admin=True, invited_by=bob.id),
    ]
    end, everywhere = ENDS[how]
    assert await end(acme.id, ada.id)
    for sent in [here, there] if everywhere else [here]:
        with pytest.raises(InvitationEndedError):
            await invited.accept(sent.invitation.id, eve.id)
        found = await invitations.found(sent.invitation.organization_id, sent.invitation.id)
        assert found.state is InvitationState.REVOKED
        assert (await events_of(sent))[-1] == "organization_invitation_revoked"
    for sent in others if everywhere else [there, *others]:
        found = await invitations.found(sent.invitation.organization_id, sent.invitation.id)
        assert found.state is InvitationState.OPEN


async def test_who_no_longer_manages_does_not_come_back(acme: Organization, ada: User, make_user: MakeUser) -> None:
    """By an invitation to the own address that makes an administrator, from before."""
    back = await invitations.invite(acme.id, ada.email, admin=True)
    await organizations.add_members(acme.id, [ada.id])
    await organizations.set_admin(acme.id, ada.id, admin=True)
    assert await organizations.set_admin(acme.id, ada.id, admin=False)
    with pytest.raises(InvitationEndedError):
        await invited.accept(back.invitation.id, ada.id)


async def test_an_invitation_ends_that_its_sender_sends_while_disabled(acme: Organization, ada: User) -> None:
    """The invitation holds the session of its sender, for which the disabling waits."""
    session = (await sessions.start(Browser(), ada.id, (CompletedStep(Step.PASSWORD, ("pwd",)),))).session
    email, hold = an_address(), partial(sessions.lock, session)
    async with waiting(hold, users.disable_user(ada.id, credentials_changed), copy_context()) as disabling:
        sent = await invitations.invite(acme.id, email, admin=True, invited_by=ada.id)
    assert await disabling
    assert (await invitations.found(acme.id, sent.invitation.id)).state is InvitationState.REVOKED


async def test_a_disabled_membership_accepts_nothing(acme: Organization, ada: User) -> None:
    sent = await invitations.invite(acme.id, ada.email, admin=True)
    await organizations.add_members(acme.id, [ada.id])
    await execute("UPDATE organization_member SET disabled_at = now() WHERE user_id = $1", ada.id)
    with pytest.raises(InvitationEndedError):
        await invited.accept(sent.invitation.id, ada.id)
    (member,) = await fetch("SELECT admin FROM organization_member WHERE user_id = $1", ada.id)
    assert not member["admin"]


async def test_the_user_of_the_address_is_locked_before_the_organization(acme: Organization, ada: User) -> None:
    """An account that is released for a registration. Otherwise the two could deadlock."""
    sent = await invitations.invite(acme.id, ada.email)
    kept = Registration(
        email=ada.email,
        organization_invitation_id=sent.invitation.id,
        invited_email=ada.email,
        token_hash=ids.digest(token_of(sent)),
    )

    async def register() -> None:
        async with transaction():
            assert await invitation.hold(kept, ada.email) is not None
            await lock_user(ada.id)

    async with waiting(partial(lock_user, ada.id), register(), copy_context()) as registering:
        await take("SELECT FROM organization WHERE id = $1", acme.id)
    await registering
