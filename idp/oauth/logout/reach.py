"""How far the end of a session has reached: what each application knows of it, and until when its tokens still work.

Tokens that services validate offline cannot be revoked. Refresh tokens, codes and everything that asks this server
have ended with the session.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from uuid import UUID

import msgspec

from idp import clock
from idp.delivery import repository as deliveries
from idp.delivery.repository import DeliveryState
from idp.oauth.clients.documents.identifiers import shown_name
from idp.oauth.logout import backchannel, frontchannel, repository
from idp.oauth.logout.repository import Participant
from idp.settings import settings
from idp.signin.repository import sessions
from idp.signin.repository.sessions import EndedSession

#: Seconds after the end of a session in which a request that was under way can still have got a token: the time limit
#: of a statement.
UNDER_WAY = 30


class Reach(StrEnum):
    """What an application knows of the end of a session."""

    TOLD = "told"
    TRYING = "trying"
    REFUSED = "refused"
    GAVE_UP = "gave_up"
    #: By a frame of the page after the sign-out, which cannot acknowledge it (OpenID Connect Front-Channel Logout 1.0).
    TOLD_BY_BROWSER = "told_by_browser"
    CANNOT_BE_TOLD = "cannot_be_told"


class ApplicationReach(msgspec.Struct, frozen=True, kw_only=True):
    """The reach at one application.

    Attributes:
        client_name: None: the client was deleted.
        at: when it acknowledged or refused, or when trying ended.
        attempts: how often it was tried.
        next_attempt_at: when it is tried again.
        response: its last response, or our reason.
        tokens_until: the latest expiry of access tokens that it got in the session, by the lifetime that is set now;
            None: none is left.
        offline_access: whether it keeps getting tokens, because the user gave it access that outlives the session.
    """

    client_id: str
    client_name: str | None
    state: Reach
    at: datetime | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    response: str = ""
    tokens_until: datetime | None
    offline_access: bool


class SessionReach(msgspec.Struct, frozen=True):
    """The reach of an ended session, the application that took part first at the beginning.

    Attributes:
        reached: every application has acknowledged, and no token of the session works any more.
    """

    sid: UUID
    user_id: UUID
    ended_at: datetime
    user_agent: str
    reached: bool
    applications: list[ApplicationReach]


async def of_session(user_id: UUID, session_id: UUID) -> SessionReach | None:
    """Return the reach of a session; None if it has not ended, or ended too long ago."""
    return next(iter(await _of(user_id, session_id)), None)


async def of_user(user_id: UUID) -> list[SessionReach]:
    """Return the reach of a user's sessions that ended lately, the last one first, at most 20.

    They are known for as long as results of deliveries are kept (``delivery_kept``).
    """
    return await _of(user_id, None)


async def _of(user_id: UUID, session_id: UUID | None) -> list[SessionReach]:
    ended = await sessions.ended_sessions(user_id, session_id, settings().delivery_kept)
    took_part = await repository.participants(user_id, [each.id for each in ended]) if ended else []
    found = []
    for session in ended:
        states = _last_of_clients(await deliveries.states_of_session(user_id, session.id))
        applications = [
            _application(each, session, states.get(backchannel.stream(each.client_id)))
            for each in took_part
            if each.session_id == session.id
        ]
        found.append(
            SessionReach(
                session.id, user_id, session.ended_at, session.user_agent, _is_reached(applications), applications
            )
        )
    return found


def _is_reached(applications: Sequence[ApplicationReach]) -> bool:
    return all(
        each.state is Reach.TOLD and each.tokens_until is None and not each.offline_access for each in applications
    )


def _last_of_clients(states: Iterable[DeliveryState]) -> dict[str, DeliveryState]:
    return {each.stream: each for each in states if each.kind == backchannel.KIND}


def _application(client: Participant, session: EndedSession, delivery: DeliveryState | None) -> ApplicationReach:
    framed = client.has_frame and session.reason == frontchannel.LOGOUT_PAGE
    silent = Reach.TOLD_BY_BROWSER if framed else Reach.CANNOT_BE_TOLD
    found = ApplicationReach(
        client_id=client.client_id,
        client_name=shown_name(client.client_id, client.client_name) if client.client_name is not None else None,
        state=Reach.TRYING if client.has_uri and not session.announced else silent,
        tokens_until=_tokens_until(client, session),
        offline_access=client.offline_access,
    )
    if delivery is None:
        return found
    return msgspec.structs.replace(
        found,
        state=_state(delivery),
        at=delivery.finished_at,
        attempts=delivery.attempts,
        next_attempt_at=delivery.next_attempt_at,
        response=delivery.response,
    )


def _state(delivery: DeliveryState) -> Reach:
    if delivery.state == "delivered":
        return Reach.TOLD
    if delivery.state != "dead":
        return Reach.TRYING
    refused = delivery.response.startswith(str(HTTPStatus.BAD_REQUEST.value))
    return Reach.REFUSED if refused else Reach.GAVE_UP


def _tokens_until(client: Participant, session: EndedSession) -> datetime | None:
    if not client.has_tokens or client.offline_access:
        return None
    issued = max(session.ended_at, client.revoked_at or session.ended_at)
    until = issued + timedelta(seconds=UNDER_WAY + settings().access_token_lifetime)
    return until if until > clock.now() else None
