"""The screen that shows what tokens of a client would say about a user, and why."""

import msgspec
from litestar import Response

from idp.accounts.addresses import InvalidEmailError
from idp.accounts.users import named_user
from idp.admin.access import Caller
from idp.admin.console.components import Cell, Field, one
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.oauth.claims.evaluation import Why
from idp.oauth.claims.preview import WORDS, ExplainedClaim, HookAnswer, Preview, preview
from idp.oauth.clients.path_ids import path_id
from idp.oauth.clients.repository import CLIENTS, flat

#: What the screen shows: users, their groups, and clients.
_NEEDED = frozenset({Permission.USERS_READ, Permission.GROUPS_READ, Permission.CLIENTS_READ})
_INTRO = "What tokens and responses of the client {} would say about a user, and why. Nothing is issued."


def may_preview(caller: Caller) -> bool:
    """Return whether a caller may see what tokens would say."""
    return caller.allowed >= _NEEDED


@screen("GET", "/clients/{client_id}/claims", Permission.USERS_READ)
async def preview_claims(request: AdminRequest) -> Response[str]:
    for permission in sorted(_NEEDED):
        request.caller.require(permission)
    client = flat(await one(CLIENTS, client_id=request.params["client_id"]))
    name = request.query.get("user", "").strip()
    found, problem = await _preview(request, client["client_id"], name) if name else (None, None)
    fields = [
        Field("user", "User", name, "search", "Email address or id."),
        Field("scope", "Scopes", request.query.get("scope", ""), help="Leave empty for a request without a scope."),
        Field("resource", "Resource servers", request.query.get("resource", ""), help="Separated by spaces."),
        Field("claim", "More claims", request.query.get("claim", ""), help="Explained even if no mapping has them."),
    ]
    if Permission.EVENTS_WRITE in request.caller.allowed:
        fields.append(Field("hook", "Ask the token hook", request.query.get("hook", ""), "check"))
    empty = problem or "Enter a user."
    return render(
        request, "list", section="clients", heading=f"Claims for {client['client_name']}", acts=[],
        path=f"{HOME}/clients/{path_id(client['client_id'])}/claims",
        intro=" ".join([_INTRO.format(client["client_id"]), *_summary(found)]),
        filters=fields, columns=("Claim", "In", "Value", "Why", "Source"),
        rows=[_row(each) for each in found.explained] if found else [], empty=empty,
    )  # fmt: skip


async def _preview(request: AdminRequest, client_id: str, name: str) -> tuple[Preview | None, str | None]:
    """Return the preview, or why there is none."""
    try:
        user = await named_user(name)
    except InvalidEmailError as error:
        return None, error.description
    if user is None:
        return None, "There is no user with this email address or id."
    words = {field: request.query.get(field, "").split() for field in ("scope", "resource", "claim")}
    found = await preview(
        client_id,
        user.id,
        scope=words["scope"],
        resource=words["resource"],
        names=words["claim"],
        audience=request.caller.audience,
        ask_hook="hook" in request.query and Permission.EVENTS_WRITE in request.caller.allowed,
    )
    return found, None


def _summary(found: Preview | None) -> list[str]:
    if found is None:
        return []
    servers = " ".join(found.resource) or "this server"
    hook = [_about_hook(found.hook)] if found.hook is not None else []
    return [f"The scopes are {found.scope or 'none'}, and the access token is for {servers}.", *hook, *found.notes]


def _about_hook(hook: HookAnswer) -> str:
    said = f": {hook.said}" if hook.said else ""
    follows = "Tokens would be issued" if hook.issued else "No tokens would be issued"
    return f"The token hook: {hook.result.replace('_', ' ')}{said}. {follows}."


def _row(claim: ExplainedClaim) -> list[Cell]:
    value = "hidden" if claim.hidden else "" if claim.value is None else msgspec.json.encode(claim.value).decode()
    why = Cell(WORDS[claim.why], mood="good" if claim.why is Why.INCLUDED else "plain")
    source = Cell(claim.source or "")
    if claim.mapping_id is not None:
        source = Cell(claim.source or "", f"{HOME}/claim_mappings/{claim.mapping_id}")
    return [Cell(claim.claim), Cell(claim.place), Cell(value), why, source]
