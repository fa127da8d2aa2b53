"""Asking the hook of a client: what goes out, what comes back, and what follows if nothing does.

No database connection may be held meanwhile: the hook may take a second, and there are few connections.
"""

from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import structlog

from idp.audit import unauthenticated_limit
from idp.audit.events import note
from idp.errors import OAuthError, Refused
from idp.infra.db.engine import in_own_transaction
from idp.infra.metrics.declared import Counter
from idp.oauth.access_policies.decision import AccessDeniedError
from idp.oauth.claims.evaluation import Asked, claims
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.subjects import subject
from idp.oauth.token_hook import answers, calls
from idp.oauth.token_hook.answers import DeniedError, InvalidAnswerError
from idp.oauth.token_hook.calls import HookFailedError
from idp.oauth.token_hook.models import NOTHING, Added, Failure, LoadedHook
from idp.reasons import Reason

log = structlog.get_logger()

#: ``answered``, ``denied`` or a failure.
CALLS = Counter(
    "idp_token_hook_calls", "Questions to token hooks, by outcome: answered, denied or a failure.", "outcome"
)
_AUTHENTICATION = ("acr", "amr", "auth_time")


class TokenHookFailedError(OAuthError):
    """The hook gave no answer, and the client gets no tokens without one. The same request may succeed later."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(
            "temporarily_unavailable",
            "Tokens cannot be issued at the moment. Try again later.",
            HTTPStatus.SERVICE_UNAVAILABLE,
            hint="The token hook of the client gave no answer.",
            refused=refused,
        )


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question to a hook.

    Attributes:
        at: the grant, or ``userinfo``, ``introspection`` or ``preview``.
        places: the tokens and responses.
        resource: the resource servers of the access token.
        authentication: ``acr``, ``amr`` and ``auth_time`` of the sign-in, as far as they are known.
        refused: the code of the error if the hook denies.
    """

    client: Client
    user: ClaimUser
    at: str
    places: tuple[Place, ...]
    scopes: Sequence[str]
    resource: Sequence[str] = ()
    authentication: Mapping[str, Any] = {}
    refused: str = "invalid_grant"


def hook_for(client: Client, places: Collection[Place]) -> LoadedHook | None:
    """Return the hook of a client if it is asked about one of these places; None: nothing is asked."""
    hook = registry.token_hook(client)
    return hook if hook is not None and not set(places).isdisjoint(hook.places) else None


async def added(question: Question) -> Added:
    """Return the claims that the hook of a client adds; none without a hook.

    Raises:
        AccessDeniedError: the hook denies the tokens.
        TokenHookFailedError: it gave no answer, and must.
    """
    hook = hook_for(question.client, question.places)
    if hook is None:
        return NOTHING
    client_id, user_id = question.client.client_id, question.user.id
    try:
        return await asked(hook, question)
    except DeniedError as denied:
        detail = {"reason": Reason.DENIED_BY_TOKEN_HOOK, "at": question.at, "said": str(denied)}
        _note("access_denied", "denied", question, detail)
        raise AccessDeniedError(Reason.DENIED_BY_TOKEN_HOOK, user_id, code=question.refused) from denied
    except HookFailedError as failed:
        outcome = {"failure": failed.failure, "at": question.at, "issued": hook.fail_open}
        log.warning("token_hook_failed", client_id=client_id, reason=failed.failure, hint=failed.hint)
        _note("token_hook_failed", "failure", question, {"reason": Reason.TOKEN_HOOK_FAILED} | outcome)
        if hook.fail_open:
            return NOTHING
        raise TokenHookFailedError(Refused(Reason.TOKEN_HOOK_FAILED, user_id)) from failed


async def asked(hook: LoadedHook, question: Question) -> Added:
    """Call a hook and return the claims of its answer.

    Raises:
        DeniedError: it denies the tokens.
        HookFailedError: it gave no valid answer.
    """
    if in_own_transaction():
        raise RuntimeError("A token hook is called while a database transaction is open.")
    places = tuple(place for place in question.places if place in hook.places)
    body = msgspec.json.encode(await _content(hook, question, places))
    line = await calls.line_of(hook, registry.token_hook_ids)
    try:
        answer = answers.read(await line.call(hook, body), places)
    except InvalidAnswerError as error:
        log.warning("token_hook_answer", client_id=question.client.client_id, hint=str(error))
        _failed(line, hook, Failure.INVALID_ANSWER)
        raise HookFailedError(Failure.INVALID_ANSWER) from error
    except HookFailedError as error:
        _failed(line, hook, error.failure)
        raise
    except DeniedError:
        _succeeded(line, hook, "denied")
        raise
    _succeeded(line, hook, "answered")
    return answer


async def _content(hook: LoadedHook, question: Question, places: Sequence[Place]) -> dict[str, Any]:
    """Return the body of a request: ids, and of the user what the client may know."""
    client, user = question.client, question.user
    about = Asked(place=Place.USERINFO, client=client, scopes=question.scopes, profile=True)
    organization = await user.organization()
    return {
        "type": "token_hook",
        "hook_id": str(hook.id),
        "at": question.at,
        "places": places,
        "client_id": client.client_id,
        "sub": subject(client, user.id),
        "scope": " ".join(question.scopes),
        "resource": list(question.resource),
        "organization": organization and {"id": str(organization.id), "slug": organization.slug},
        "authentication": {name: question.authentication[name] for name in _AUTHENTICATION
                           if name in question.authentication},
        "claims": await claims(about, user),
    }  # fmt: skip


def _failed(line: calls.Line, hook: LoadedHook, failure: Failure) -> None:
    CALLS.add(failure)
    if line.failed(failure):
        log.error("token_hook_paused", stream=f"token_hook:{hook.id}", reason=failure)
        note("token_hook_paused", client_id=hook.client_id, detail={"id": str(hook.id), "failure": failure})


def _succeeded(line: calls.Line, hook: LoadedHook, outcome: str) -> None:
    CALLS.add(outcome)
    if line.succeeded():
        note("token_hook_resumed", client_id=hook.client_id, detail={"id": str(hook.id)})


def _note(event: str, outcome: str, question: Question, detail: dict[str, Any]) -> None:
    note(
        event,
        outcome=outcome,
        user_id=question.user.id,
        client_id=question.client.client_id,
        detail=detail,
        limit_key=unauthenticated_limit.limit_key(question.client.client_id),
    )
