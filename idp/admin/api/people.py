"""Operations on users, sessions, consents, mail and admins."""

from collections.abc import Mapping
from http import HTTPStatus

import asyncpg
import msgspec

from idp.accounts import invitations, profile, recovery, users
from idp.accounts.attributes import search
from idp.accounts.repository.admin_roles import ADMINS
from idp.accounts.repository.invitations import INVITATIONS
from idp.accounts.repository.users import USERS, user_by_id
from idp.accounts.tables import User
from idp.admin import roles, user_accounts
from idp.admin.access import check_user
from idp.admin.api.ids import uuid_of
from idp.admin.api.models import people as models
from idp.admin.api.models.base import reader
from idp.admin.api.models.incidents import Containment
from idp.admin.api.operation import Call, Result, listed, not_found, one, operation
from idp.admin.api.problems import OutdatedError, ProblemError
from idp.admin.incidents import Report, contain_user
from idp.admin.roles import Permission
from idp.admin.subjects import who_is
from idp.infra.db.engine import transaction
from idp.infra.db.listing import Filter
from idp.mail import repository as mails
from idp.mail.repository import MAILS
from idp.oauth import consent, sign_out
from idp.oauth.consent_grant import ConsentedScope
from idp.oauth.credentials import credentials_changed
from idp.oauth.details.granted import from_json
from idp.oauth.logout import reach
from idp.oauth.logout.reach import SessionReach
from idp.oauth.repository.consents import CONSENTS
from idp.oauth.sign_out import sign_out_everywhere, sign_out_for_deletion
from idp.signin.factors import service as factors
from idp.signin.repository.sessions import SESSIONS

_read_user = reader(models.User)
_read_session = reader(models.Session)
_read_mail = reader(models.Mail)
_read_admin = reader(models.Admin)


def _read_consent(row: asyncpg.Record) -> models.Consent:
    values = dict(row)
    values["grants"] = [ConsentedScope.read(stored) for stored in values.pop("pairs")]
    values["authorization_details"] = from_json(values["authorization_details"])
    return msgspec.convert(values, models.Consent)


async def _filters_by_attributes(call: Call) -> Mapping[str, Filter]:
    asked = any(name.startswith(search.PREFIX) for name in call.query)
    return await search.filters(call.caller.audience) if asked else {}


listed(
    "/users",
    Permission.USERS_READ,
    "List and search users",
    listing=USERS,
    read=_read_user,
    item=models.User,
    more_filters=_filters_by_attributes,
)
listed(
    "/sessions",
    Permission.SESSIONS_READ,
    "List sessions",
    listing=SESSIONS,
    read=_read_session,
    item=models.Session,
)
listed(
    "/consents",
    Permission.CONSENTS_READ,
    "List consents",
    listing=CONSENTS,
    read=_read_consent,
    item=models.Consent,
)
listed("/outbox", Permission.OUTBOX_READ, "List mails", listing=MAILS, read=_read_mail, item=models.Mail)
listed("/admins", Permission.ADMINS_READ, "List admins", listing=ADMINS, read=_read_admin, item=models.Admin)


async def named_user(call: Call) -> User:
    """Return the user named in the path, after checking that the caller may act on them.

    Raises:
        ProblemError: 404, there is no such user.
        PermissionDeniedError: only an owner may act on this user.
    """
    user = await user_by_id(uuid_of(call.params["user_id"]))
    if user is None:
        raise not_found()
    await check_user(call.caller, user.id)
    return user


@operation("GET", "/users/{user_id}", Permission.USERS_READ, "Show a user", content=models.User)
async def show_user(call: Call) -> models.User:
    found: models.User = await one(USERS, _read_user, id=str(uuid_of(call.params["user_id"])))
    return found


@operation(
    "POST",
    "/users",
    Permission.USERS_WRITE,
    "Create a user",
    body=models.NewUser,
    content=models.User,
    status=HTTPStatus.CREATED,
)
async def create_user(call: Call) -> Result:
    asked: models.NewUser = call.body
    names = {name: getattr(asked, name) for name in ("name", "given_name", "family_name")}
    user = await user_accounts.create(
        asked.email, names, asked.attributes, call.caller.audience, send_mail=asked.send_mail
    )
    content = await one(USERS, _read_user, id=str(user.id))
    return Result(content, HTTPStatus.CREATED, f"/users/{user.id}")


@operation(
    "PATCH", "/users/{user_id}", Permission.USERS_WRITE, "Change a profile",
    body=models.ProfileChange, content=models.User, current=show_user,
)  # fmt: skip
async def update_user(call: Call) -> models.User:
    user = await named_user(call)
    user.updated_at = call.current.updated_at
    changes = msgspec.to_builtins(call.body)
    email = changes.pop("email", user.email)
    kept = {name: getattr(user, name) or "" for name in profile.FIELDS}
    address = msgspec.json.decode(user.address) if user.address else {}
    entered = kept | {f"address.{name}": text for name, text in address.items()}
    entered |= {name: value or "" for name, value in changes.items()}
    async with transaction():
        if not await profile.update_profile(user, entered):
            raise OutdatedError
        if email != user.email:
            await user_accounts.change_email(user.id, email, by_owner=call.caller.owner)
    return await show_user(call)


@operation("DELETE", "/users/{user_id}", Permission.USERS_WRITE, "Delete a user", current=show_user)
async def delete_user(call: Call) -> None:
    user = await named_user(call)
    await profile.delete_user(user.id, sign_out_for_deletion, expected_at=call.current.updated_at)


@operation(
    "POST", "/users/identify", Permission.USERS_READ, "Find the user behind the subject that a client knows",
    body=models.Subject, content=models.User,
)  # fmt: skip
async def identify_subject(call: Call) -> models.User:
    user = await who_is(call.body.subject, call.body.sector)
    found: models.User = await one(USERS, _read_user, id=str(user.id))
    return found


@operation("POST", "/users/{user_id}/disable", Permission.USERS_WRITE, "Disable a user", content=models.User)
async def disable_user(call: Call) -> models.User:
    user = await named_user(call)
    await users.disable_user(user.id, credentials_changed)
    return await show_user(call)


@operation("POST", "/users/{user_id}/enable", Permission.USERS_WRITE, "Enable a user", content=models.User)
async def enable_user(call: Call) -> models.User:
    user = await named_user(call)
    await users.enable_user(user.id)
    return await show_user(call)


@operation("POST", "/users/{user_id}/sign_out", Permission.SESSIONS_WRITE, "Sign a user out everywhere")
async def sign_out_of_user(call: Call) -> None:
    user = await named_user(call)
    await sign_out_everywhere(user.id, "signed_out_by_admin")


@operation("POST", "/users/{user_id}/reset_factors", Permission.USERS_WRITE, "Remove all second factors of a user")
async def reset_factors(call: Call) -> None:
    user = await named_user(call)
    await factors.remove_all(user.id, credentials_changed)


@operation(
    "POST",
    "/users/{user_id}/send_password_reset",
    Permission.USERS_WRITE,
    "Mail a user a link to choose a new password",
)
async def send_password_reset(call: Call) -> None:
    user = await named_user(call)
    await recovery.send_reset_to_user(user)


@operation(
    "POST", "/users/{user_id}/contain", Permission.USERS_WRITE, "Contain a user",
    body=Containment, content=Report,
)  # fmt: skip
async def end_all_of_user(call: Call) -> Report:
    user = await named_user(call)
    return await contain_user(user.id, disable=call.body.disable)


listed(
    "/invitations",
    Permission.USERS_READ,
    "List pending invitations",
    listing=INVITATIONS,
    read=reader(models.Invitation),
    item=models.Invitation,
)


@operation("DELETE", "/invitations/{invitation_id}", Permission.USERS_WRITE, "Revoke an invitation")
async def revoke_invitation(call: Call) -> None:
    await invitations.revoke(uuid_of(call.params["invitation_id"]))


@operation("POST", "/invitations/{invitation_id}/resend", Permission.USERS_WRITE, "Mail an invitation again")
async def resend_invitation(call: Call) -> None:
    await invitations.resend(uuid_of(call.params["invitation_id"]))


@operation("POST", "/invitations", Permission.USERS_WRITE, "Invite a user by mail", body=models.NewInvitation)
async def invite(call: Call) -> None:
    user_accounts.check_names(name=call.body.name)
    await invitations.invite(call.body.email, call.body.name)


@operation("GET", "/sessions/{sid}", Permission.SESSIONS_READ, "Show a session", content=models.Session)
async def show_session(call: Call) -> models.Session:
    found: models.Session = await one(SESSIONS, _read_session, sid=str(uuid_of(call.params["sid"])))
    return found


@operation("DELETE", "/sessions/{sid}", Permission.SESSIONS_WRITE, "End a session and revoke its tokens")
async def end_session(call: Call) -> None:
    session = await show_session(call)
    await check_user(call.caller, session.user_id)
    await sign_out.end_session(session.user_id, session.sid, "signed_out_by_admin")


@operation(
    "GET", "/sessions/{sid}/reach", Permission.SESSIONS_READ, "Show how far the end of a session has reached",
    content=SessionReach,
)  # fmt: skip
async def show_reach(call: Call) -> SessionReach:
    session = await show_session(call)
    found = await reach.of_session(session.user_id, session.sid)
    if found is None:
        raise not_found()
    return found


@operation(
    "GET", "/users/{user_id}/reach", Permission.SESSIONS_READ, "Show how far the end of each session has reached",
    content=list[SessionReach],
)  # fmt: skip
async def show_reach_of_user(call: Call) -> list[SessionReach]:
    user = await named_user(call)
    return await reach.of_user(user.id)


@operation("GET", "/consents/{consent_id}", Permission.CONSENTS_READ, "Show a consent", content=models.Consent)
async def show_consent(call: Call) -> models.Consent:
    found: models.Consent = await one(CONSENTS, _read_consent, id=str(uuid_of(call.params["consent_id"])))
    return found


@operation("DELETE", "/consents/{consent_id}", Permission.CONSENTS_WRITE, "Withdraw a consent and revoke its tokens")
async def withdraw_consent(call: Call) -> None:
    found = await show_consent(call)
    await check_user(call.caller, found.user_id)
    await consent.withdraw(found.user_id, found.client_id)


@operation("GET", "/outbox/{mail_id}", Permission.OUTBOX_READ, "Show a mail, without its content", content=models.Mail)
async def show_mail(call: Call) -> models.Mail:
    found: models.Mail = await one(MAILS, _read_mail, id=str(uuid_of(call.params["mail_id"])))
    return found


@operation(
    "POST", "/outbox/{mail_id}/retry", Permission.OUTBOX_WRITE, "Try a deferred mail again now", content=models.Mail
)
async def retry_mail(call: Call) -> models.Mail:
    if not await mails.retry(uuid_of(call.params["mail_id"])):
        await show_mail(call)
        raise ProblemError(HTTPStatus.CONFLICT, "wrong-state", "The mail is not deferred.")
    return await show_mail(call)


@operation(
    "POST", "/admins", Permission.ADMINS_WRITE, "Give a user a role",
    body=models.NewAdmin, content=models.Admin, status=HTTPStatus.CREATED,
)  # fmt: skip
async def grant_role(call: Call) -> Result:
    if await user_by_id(call.body.user_id) is None:
        raise not_found()
    await check_user(call.caller, call.body.user_id)
    await roles.grant(call.body.user_id, call.body.role, granted_by=call.caller.actor)
    found = await one(ADMINS, _read_admin, user_id=str(call.body.user_id), role=call.body.role)
    return Result(found, HTTPStatus.CREATED, f"/admins/{found.id}")


@operation("GET", "/admins/{admin_id}", Permission.ADMINS_READ, "Show the users with a role", content=models.Admin)
async def show_admin(call: Call) -> models.Admin:
    found: models.Admin = await one(ADMINS, _read_admin, id=str(uuid_of(call.params["admin_id"])))
    return found


@operation("DELETE", "/admins/{admin_id}", Permission.ADMINS_WRITE, "Revoke a role of a user")
async def revoke_role(call: Call) -> None:
    found = await show_admin(call)
    await check_user(call.caller, found.user_id)
    await roles.revoke(found.user_id, found.role)
