"""Asking a user, and the decision of the user (CIBA Core sections 7 and 8)."""

from typing import Final, NamedTuple
from uuid import UUID

from idp import ids
from idp.audit.events import record
from idp.errors import OAuthError, PageError, TooManyRequestsError
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.infra.request_context import client_address
from idp.mail import outbox
from idp.oauth import codes
from idp.oauth.authorize.code import check_acr
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.ciba import limits, ping, repository
from idp.oauth.ciba.hints import Person
from idp.oauth.ciba.ping import Notification
from idp.oauth.ciba.repository import NewRequest
from idp.oauth.ciba.request import BackchannelAuthentication
from idp.oauth.clients.models import Client
from idp.oauth.clients.names_in_mails import name_in_mail
from idp.settings import settings
from idp.signin.sessions import SignedIn

#: What an ``auth_req_id`` is sealed for (:mod:`idp.oauth.codes`).
AUTH_REQ_ID: Final = "auth-req-id"
#: Seconds between two polls.
INTERVAL = 5
#: Path of the list of a user's requests. Each has a page below it, on which the user decides.
PATH: Final = "/account/requests"


class Acknowledgement(NamedTuple):
    """The answer to the client (CIBA Core section 7.3)."""

    auth_req_id: str
    expires_in: int
    interval: int


def _not_wanted() -> OAuthError:
    return OAuthError("access_denied", "The user does not want requests of this client.", 403)


async def ask(client: Client, wanted: BackchannelAuthentication, person: Person) -> Acknowledgement:
    """Store a request and mail its user. For an unknown user the same is done, but no mail leaves.

    Raises:
        OAuthError: ``access_denied``: the user has reported the client.
        TooManyRequestsError: the user was asked too often, or too many requests wait.
    """
    # Before it is counted: a client that the user does not want must not use up what others may ask.
    if await repository.is_reported(person.user_id, client.client_id):
        raise _not_wanted()
    await limits.count(client.client_id, person.email)
    auth_req_id, request_id = codes.new(person.user_id, AUTH_REQ_ID), ids.uuid7()
    digest = ids.digest(auth_req_id)
    token = wanted.notification_token
    new = NewRequest(
        user_id=person.user_id,
        auth_req_hash=digest,
        id=request_id,
        client_id=client.client_id,
        request=wanted.asked.to_json(),
        binding_message=wanted.binding_message,
        notification=ping.seal(Notification(auth_req_id, token), digest) if token is not None else None,
        ip_address=client_address.get(),
        poll_interval=INTERVAL,
        lifetime=wanted.lifetime,
    )
    async with transaction():
        refusal = await repository.insert(new, limits.MAX_WAITING)
        if refusal is not None and refusal.reported:
            raise _not_wanted()
        if refusal is not None:
            raise TooManyRequestsError(INTERVAL)
        await _mail(client, person, request_id, wanted.lifetime)
        await record(
            "backchannel_request",
            user_id=person.user.id if person.user is not None else None,
            client_id=client.client_id,
            detail=_facts(wanted.asked) | {"request_id": str(request_id)},
        )
    return Acknowledgement(auth_req_id, wanted.lifetime, INTERVAL)


async def _mail(client: Client, person: Person, id: UUID, lifetime: int) -> None:
    """Queue the mail, in the language of the user.

    It does not repeat the message of the client: a mail must not carry what another party wrote.
    """
    user = person.user
    await outbox.queue(
        person.email,
        "approval_request",
        language=(user.locale if user is not None else None) or settings().default_locale,
        lifetime=lifetime,
        void=user is None,
        name=user.name if user is not None else None,
        client_name=name_in_mail(client),
        link=f"{settings().issuer}{PATH}/{id}",
        minutes=max(1, lifetime // 60),
    )


def _facts(asked: AuthorizationRequest) -> dict[str, str]:
    return {
        "scope": " ".join(asked.scope),
        "resource": " ".join(asked.resource),
        "authorization_details": " ".join(detail["type"] for detail in asked.authorization_details),
    }


async def allow(id: UUID, asked: AuthorizationRequest, client: Client, session: SignedIn) -> None:
    """Approve a request with the sign-in of a session, in the caller's transaction.

    Raises:
        OAuthError: the session does not reach the required ``acr``.
        PageError: the request no longer waits for this user.
    """
    check_acr(asked, client, session)
    decided = await repository.approve(id, asked.to_json(), session)
    if decided is None:
        raise gone()
    await record(
        "backchannel_decision",
        user_id=session.user_id,
        client_id=client.client_id,
        session_id=session.id,
        detail=_facts(asked) | {"request_id": str(id)},
    )
    await ping.queue(decided)


async def deny(id: UUID, session: SignedIn, *, report: bool) -> None:
    """Deny a request; with ``report`` also the others of its client, which cannot ask this user again for a day.

    Raises:
        PageError: the request no longer waits for this user.
    """
    async with transaction():
        decided = await repository.deny(session.user_id, id, report=report)
        if not decided:
            raise gone()
        await record(
            "backchannel_decision",
            outcome="denied",
            user_id=session.user_id,
            client_id=decided[0].client_id,
            session_id=session.id,
            detail={"request_id": str(id), "reported": report},
        )
        for each in decided:
            await ping.queue(each)


def gone() -> PageError:
    """Return the page for a request that does not wait for this user. It does not tell which of the reasons holds."""
    return PageError(
        _("There is nothing to decide here"),
        _("The request was decided, has expired, or is for another account."),
        status=404,
        way_out=((_("Requests waiting for you"), PATH), (_("Sign out"), "/logout")),
    )
