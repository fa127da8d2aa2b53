"""The steps of an authorization request for the flow recorder (:mod:`idp.trace`)."""

from idp.oauth.authorize.acr import AcrRequest
from idp.oauth.authorize.organizations import without_name
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.models import Client
from idp.oauth.clients.nearest_redirect import nearest, shown
from idp.oauth.parameters import Parameters, words
from idp.signin import sessions
from idp.signin.sessions import SignedIn
from idp.trace import recorder
from idp.trace.buffer import Field

#: Parameters that are recorded as they are. Of others, such as state and nonce, nothing is.
_AS_SENT = ("response_type", "response_mode", "max_age", "dpop_jkt", "organization", "idp_hint")
_AS_WORDS = ("scope", "prompt", "acr_values", "resource", "ui_locales")
_IF_SENT = ("login_hint", "id_token_hint", "claims", "authorization_details")


@recorder.explanation
def requested(parameters: Parameters, sent_by: str) -> None:
    """Record what a client asks for: parameters of an allow-list."""
    recorder.step(
        "authorization_requested",
        sent_by=sent_by,
        redirect_uri=shown(parameters.get("redirect_uri", "")),
        pkce=parameters.get("code_challenge_method", "S256 missing") if "code_challenge" in parameters else "none",
        **_shown(parameters),
    )


def _shown(parameters: Parameters) -> dict[str, Field]:
    found: dict[str, Field] = {name: parameters.get(name) for name in _AS_SENT}
    found |= {name: words(parameters, name) for name in _AS_WORDS}
    return found | {name: "sent" for name in _IF_SENT if name in parameters}


@recorder.explanation
def of_pushed(asked: AuthorizationRequest) -> None:
    """Record what a pushed request asks for."""
    recorder.follow(asked.trace_id)
    recorder.step("authorization_requested", sent_by="pushed before", scope=asked.scope, prompt=sorted(asked.prompt))


@recorder.explanation
def left_out(parameters: Parameters, asked: AuthorizationRequest) -> None:
    """Record the scopes that the client asked for and may not have."""
    missing = {without_name(scope) for scope in words(parameters, "scope")} - set(asked.scope)
    if missing:
        recorder.step("scope_left_out", scope=sorted(missing))


@recorder.explanation
def redirect_uri_mismatch(client: Client, received: str) -> None:
    """Record a redirect URI that is not registered, with the one that is nearest."""
    found = nearest(received, client.redirect_uris)
    recorder.step(
        "redirect_uri_mismatch",
        received=shown(received),
        nearest_registered=found.uri,
        differs_in=found.differs_in,
        registered_uris=len(client.redirect_uris),
    )


async def session_of(token: str | None, session: SignedIn | None) -> None:
    """Record whether the browser has a session, and if not, why.

    Args:
        token: the value of its session cookie.
    """
    with recorder.explanation:
        if session is not None:
            recorder.about(user_id=session.user_id, session_id=session.id)
            age = session.age()
            recorder.step("session_found", acr=session.acr, amr=session.amr, age_seconds=_seconds(age))
        elif recorder.is_on():
            recorder.step("no_session", why=await sessions.why_none(token))


def _seconds(age: float) -> int | None:
    return round(age) if age != float("inf") else None


@recorder.explanation
def not_enough(why: str, asked: AuthorizationRequest, session: SignedIn) -> None:
    """Record why a session is not enough."""
    recorder.step(
        "session_not_enough",
        why=why,
        prompt=sorted(asked.prompt),
        max_age=asked.max_age,
        age_seconds=_seconds(session.age()),
    )


@recorder.explanation
def acr_not_reached(session: SignedIn, wanted: AcrRequest) -> None:
    """Record that a session does not reach the requested acr."""
    recorder.step("acr_not_reached", has=session.acr, requested=wanted.acr, essential=wanted.essential)
