"""Consent: what a user allows a client, asked once and remembered."""

from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp import ids
from idp.accounts.tables import user_by_id
from idp.audit.events import record
from idp.errors import PageError
from idp.http import forms
from idp.http.access import Access
from idp.http.pages import navigate, page, see_other
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.infra.i18n import gettext as _
from idp.oauth.allowance import Allowance, Pair, pairs_of
from idp.oauth.authorize import pending_request
from idp.oauth.authorize.pending_request import PendingRequest
from idp.oauth.authorize.request import AuthorizationRequest, ClaimsRequest, within_registration
from idp.oauth.clients import redirects
from idp.oauth.clients.registry import Client, registry
from idp.oauth.scopes import SCOPE_OF_CLAIM, describe, describe_claim, visible_claims
from idp.signin import flow as flows
from idp.signin import limits, sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.flow import Display
from idp.signin.sessions import SignedIn

AnyRequest = Request[Any, Any, Any]

# What was allowed under the documents that the client shows now.
_ALLOWED = "SELECT pairs, claims FROM consent WHERE user_id = $1 AND client_id = $2 AND documents_hash = $3"
# What was allowed before stays allowed, unless the documents changed: then only what was asked under the new ones.
_GRANT = """
    INSERT INTO consent AS c (id, user_id, client_id, pairs, claims, documents_hash, granted_at)
    VALUES ($1, $2, $3, $4, $5, $6, now())
    ON CONFLICT (user_id, client_id) DO UPDATE SET
        pairs = CASE WHEN c.documents_hash = $6 THEN ARRAY(SELECT DISTINCT unnest(c.pairs || $4)) ELSE $4 END,
        claims = CASE WHEN c.documents_hash = $6 THEN ARRAY(SELECT DISTINCT unnest(c.claims || $5)) ELSE $5 END,
        documents_hash = $6, granted_at = now()
"""

# What was allowed, and what first-party applications hold without being asked: a row for each kind of token of theirs.
_GRANTED = """
    SELECT c.client_id, c.client_name, c.client_uri, c.logo_uri,
           g.pairs, g.claims, g.scope, g.resource, g.requested, g.granted_at,
           (SELECT max(created_at) FROM token_family WHERE user_id = $1 AND client_id = c.client_id) AS last_used_at
    FROM client AS c JOIN (
        SELECT client_id, pairs, claims, NULL AS scope, NULL AS resource, NULL AS requested, granted_at
        FROM consent WHERE user_id = $1
        UNION ALL
        SELECT client_id, NULL, NULL, scope, resource, f.claims, min(created_at) FROM token_family AS f
        WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()
          AND NOT EXISTS (SELECT FROM consent WHERE user_id = $1 AND client_id = f.client_id)
        GROUP BY client_id, scope, resource, f.claims
    ) AS g ON g.client_id = c.client_id
    ORDER BY c.client_name, c.client_id, g.granted_at
"""
_WITHDRAW = "DELETE FROM consent WHERE user_id = $1 AND client_id = $2"
_END_CODES = """
    UPDATE authorization_code SET consumed_at = now() WHERE user_id = $1 AND client_id = $2 AND consumed_at IS NULL
"""
_REVOKE = """
    UPDATE token_family SET revoked_at = now(), revoked_reason = 'consent_withdrawn'
    WHERE user_id = $1 AND client_id = $2 AND revoked_at IS NULL
"""


def display(client: Client, ui_locales: tuple[str, ...] = ()) -> Display:
    """What pages show of a client, and in which languages."""
    return Display(
        client_name=client.client_name,
        client_uri=client.client_uri,
        logo_uri=client.logo_uri,
        policy_uri=client.policy_uri,
        tos_uri=client.tos_uri,
        ui_locales=ui_locales,
        upstreams=client.upstreams,
    )


def _documents_hash(client: Client) -> bytes:
    return sha256(f"{client.policy_uri or ''}\0{client.tos_uri or ''}".encode()).digest()


async def is_needed(
    asked: AuthorizationRequest, client: Client, session: SignedIn, pending: PendingRequest | None
) -> bool:
    """Whether the person must be asked (OpenID Connect Core section 3.1.2.4).

    A first-party client may skip consent, but ``prompt=consent`` always asks.
    """
    if "consent" in asked.prompt and not (pending and pending.consented_by == session.user_id):
        return True
    if client.skip_consent:
        return False
    row = await fetchrow(_ALLOWED, session.user_id, client.client_id, _documents_hash(client))
    return row is None or not Allowance.of_row(row).covers(Allowance.needed(asked))


class _Asking(NamedTuple):
    pending: PendingRequest
    client: Client
    session: SignedIn


async def _load(request: AnyRequest, request_id: str) -> _Asking | Response[Any]:
    """Returns the request, its client and the session; or the way back to the request, which asks for the sign-in."""
    pending = await pending_request.load(request, request_id)
    client = registry.client(pending.asked.client_id)
    session = await sessions.current(request)
    if client is None or session is None:
        return navigate(pending_request.path(pending))
    sessions.guard_changes(session)
    asked = within_registration(pending.asked, client)
    return _Asking(msgspec.structs.replace(pending, asked=asked), client, session)


def _form_purpose(client: Client, session: SignedIn) -> str:
    """The form counts for the person and the documents it was shown with: not for one who signs in meanwhile in another
    tab, nor for terms that were changed meanwhile.
    """
    return f"consent {session.user_id} {_documents_hash(client).hex()}"


@get("/consent/{request_id:str}", opt={"access": Access.PAGE})
async def show_consent(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Ask the person."""
    asking = await _load(request, request_id)
    if isinstance(asking, Response):
        return asking
    pending, client, session = asking
    user = await user_by_id(session.user_id)
    asked = pending.asked
    resources = [registry.resource_server(identifier) for identifier in asked.resource]
    return page(
        "consent.html",
        action=f"/consent/{request_id}",
        csrf_token=form_token(pending.binding.secret, _form_purpose(client, session)),
        client=display(client),
        user=user,
        scopes=[describe(scope) for scope in asked.scope if scope != "openid"],
        claims=[describe_claim(claim) for claim in asked.claims_by_name],
        destination=redirects.destination(asked.redirect_uri),
        resources=[resource.name for resource in resources if resource is not None],
    )


@post("/consent/{request_id:str}", opt={"access": Access.PAGE})
async def decide_consent(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Take the person's decision and go back to the request."""
    asking = await _load(request, request_id)
    if isinstance(asking, Response):
        return asking
    pending, client, session = asking
    form = await forms.form(request)
    check_form_token(form, pending.binding.secret, _form_purpose(client, session))
    match form.get("action"):
        case "allow":
            await _remember(pending, client, session)
            return navigate(pending_request.path(pending))
        case "deny":
            await record("consent", outcome="denied", user_id=session.user_id, client_id=client.client_id)
            return navigate(f"{pending_request.path(pending)}/cancel")
        case "switch":
            key = await limits.count_flow(request)
            binding = await flows.start(
                key,
                pending_request.path(pending),
                cancel_to=f"{pending_request.path(pending)}/cancel",
                display=display(client, pending.asked.ui_locales),
                max_age=pending.asked.max_proof_age,
            )
            return see_other(flows.path(binding), key.cookies())
    raise PageError(_("Please choose"), _("Allow or deny the request."), status=HTTPStatus.BAD_REQUEST)


async def _remember(pending: PendingRequest, client: Client, session: SignedIn) -> None:
    asked, allowance = pending.asked, Allowance.needed(pending.asked)
    async with transaction():
        await pending_request.mark_consented(pending, session.user_id)
        await execute(
            _GRANT,
            ids.uuid7(),
            session.user_id,
            client.client_id,
            *allowance.columns,
            _documents_hash(client),
        )
        await record(
            "consent",
            user_id=session.user_id,
            client_id=client.client_id,
            session_id=session.id,
            detail={
                "scope": " ".join(asked.scope),
                "resource": " ".join(asked.resource),
                "claims": " ".join(asked.claims_by_name),
            },
        )


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """An application that a user has let in, with what it was allowed."""

    client_id: str
    client_name: str
    client_uri: str | None
    logo_uri: str | None
    grants: list[Pair]
    claims: list[str]
    granted_at: datetime
    last_used_at: datetime | None


async def granted_by(user_id: UUID) -> list[Granted]:
    """The applications that a user has let in."""
    found: dict[str, Granted] = {}
    for row in await fetch(_GRANTED, user_id):
        grants, claims = _allowed_by(row)
        before = found.get(row["client_id"])
        if before is not None:
            grants, claims = {*before.grants, *grants}, {*before.claims, *claims}
        found[row["client_id"]] = Granted(
            client_id=row["client_id"],
            client_name=row["client_name"],
            client_uri=row["client_uri"],
            logo_uri=row["logo_uri"],
            grants=sorted(grants, key=str),
            claims=sorted(claims),
            granted_at=before.granted_at if before else row["granted_at"],
            last_used_at=row["last_used_at"],
        )
    return list(found.values())


def _allowed_by(row: Any) -> tuple[set[Pair], set[str]]:
    """What a consent allows, or else what tokens stand for."""
    if row["pairs"] is not None:
        allowed = Allowance.of_row(row)
        return set(allowed.pairs), set(allowed.claims)
    scopes = row["scope"].split()
    requested = ClaimsRequest.from_json(row["requested"])
    client = registry.client(row["client_id"])
    names = visible_claims((*requested.userinfo, *requested.id_token), client.scopes if client else ())
    return set(pairs_of(scopes, row["resource"])), {name for name in names if SCOPE_OF_CLAIM[name] not in scopes}


async def withdraw(user_id: UUID, client_id: str) -> None:
    """Take a consent back, and revoke what came of it."""
    async with transaction():
        await execute(_END_CODES, user_id, client_id)
        revoked = await execute(_REVOKE, user_id, client_id)
        if await execute(_WITHDRAW, user_id, client_id) or revoked:
            await record("consent_withdrawn", user_id=user_id, client_id=client_id)


ROUTES = [show_consent, decide_consent]
