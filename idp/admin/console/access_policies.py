"""Screens of the access policy of a client: its conditions, what they say about a user, and the form."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from litestar import Response

from idp.accounts.addresses import normalise_email
from idp.accounts.repository.users import user_by_email, user_by_id
from idp.accounts.tables import User
from idp.admin.access import check_client
from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, one, shown_version, version
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.oauth.access_policies import registration, texts
from idp.oauth.access_policies.decision import CONDITIONS, reasons_against
from idp.oauth.access_policies.models import AccessPolicy
from idp.oauth.access_policies.repository import policy_of
from idp.oauth.clients.path_ids import path_id
from idp.oauth.clients.repository import CLIENTS, flat
from idp.reasons import Reason
from idp.signin.transitions import ACR_VALUES

SECTION = "clients"
_READ, _WRITE = Permission.CLIENTS_READ, Permission.CLIENTS_WRITE
_LEVELS = {"1": "1: one factor", "2": "2: two factors", "phr": "phr: a passkey"}
_LABELS = {
    "groups": "In one of the groups",
    "organizations": "Member of one of the organisations",
    "roles": "With one of the roles",
    "attributes": "With these attributes",
    "networks": "In one of the networks",
    "times": "At one of the times",
    "acr": "Signed in with level",
}


def path(client_id: str) -> str:
    """Return the path of the screen, below that of the console."""
    return f"/clients/{path_id(client_id)}/access"


async def _client(client_id: str) -> dict[str, Any]:
    return flat(await one(CLIENTS, client_id=client_id))


async def _texts(policy: AccessPolicy | None) -> dict[str, list[str]]:
    """Return the conditions of a policy as lines of text, in the order in which they are compared."""
    if policy is None:
        return {condition.name: [] for condition in CONDITIONS}
    found = await texts.named(policy) | {
        "attributes": texts.write_attributes(policy),
        "networks": list(policy.networks),
        "times": list(map(texts.write_window, policy.times)),
        "acr": [policy.acr] if policy.acr is not None else [],
    }
    return {condition.name: found[condition.name] for condition in CONDITIONS}


@screen("GET", "/clients/{client_id}/access", _READ)
async def show_policy(request: AdminRequest) -> Response[str]:
    client = await _client(request.params["client_id"])
    policy = await policy_of(client["client_id"])
    asks = Permission.USERS_READ in request.caller.allowed
    user = await _asked_user(request.query.get("user", "")) if asks else None
    against = await _against(policy, user, request.query) if user is not None else None
    shown = [(name, lines) for name, lines in (await _texts(policy)).items() if lines]
    rows = [
        [
            Cell(_LABELS[name]),
            Cell(", ".join(lines) + (f" ({policy.time_zone})" if name == "times" and policy is not None else "")),
            *([] if against is None else [_holds(name, against)]),
        ]
        for name, lines in shown
    ]
    if user is not None and against is not None:
        verdict = Cell("may not use it", mood="bad") if against else Cell("may use it", mood="good")
        rows.insert(0, [Cell("Decision"), Cell(user.email, f"{HOME}/users/{user.id}"), verdict])
    unknown = " There is no such user." if request.query.get("user") and asks and user is None else ""
    return render(
        request, "list", section=SECTION, heading=f"Who may use {client['client_name']}",
        intro=f"All conditions must hold, at each sign-in and for each token of {client['client_id']}.{unknown}",
        path=f"{HOME}{path(client['client_id'])}", acts=_acts(request, client["client_id"], policy),
        filters=_question(request) if asks else [],
        columns=("Condition", "Needed", *([] if against is None else ["Holds"])), rows=rows,
        empty="Everyone may use it.",
    )  # fmt: skip


def _acts(request: AdminRequest, client_id: str, policy: AccessPolicy | None) -> list[Action]:
    found = [Action("Back to the client", f"{HOME}/clients/{path_id(client_id)}")]
    if _WRITE in request.caller.allowed:
        found.append(Action("Change", f"{HOME}{path(client_id)}/change"))
        if policy is not None:
            remove = f"{HOME}/clients/{path_id(client_id)}/remove_access_policy"
            found.append(Action("Let everyone use it", remove, danger=True))
    return found


def _question(request: AdminRequest) -> list[Field]:
    asked = request.query
    return [
        Field("user", "User", asked.get("user", ""), "search", "Email address or id."),
        Field("address", "Address", asked.get("address", ""), help="Leave empty not to compare networks."),
        Field("at", "Time", asked.get("at", ""), help=(
            "For example, 2026-12-24T18:00, in the time zone of the policy. Leave empty for now."
        )),
        Field(
            "acr", "Level of the sign-in", asked.get("acr", ""), "choice", "Leave empty not to compare it.",
            choices=(("", ""), *_LEVELS.items()),
        ),
    ]  # fmt: skip


async def _asked_user(text: str) -> User | None:
    try:
        return await (user_by_email(normalise_email(text)) if "@" in text else user_by_id(UUID(text)))
    except ValueError:
        return None


async def _against(policy: AccessPolicy | None, user: User, asked: Mapping[str, str]) -> list[Reason]:
    """Return the reasons against a user. What cannot be read of the question is not compared."""
    try:
        zone = ZoneInfo(policy.time_zone) if policy is not None else UTC
        moment = datetime.fromisoformat(asked["at"]).replace(tzinfo=zone) if asked.get("at") else None
    except ValueError:
        moment = None
    acr = asked.get("acr")
    return await reasons_against(
        policy,
        user.id,
        address=asked.get("address") or None,
        acr=acr if acr in ACR_VALUES else None,
        moment=moment,
    )


def _holds(name: str, against: list[Reason]) -> Cell:
    reason = next(condition.reason for condition in CONDITIONS if condition.name == name)
    return Cell(f"no: {reason.replace('_', ' ')}", mood="bad") if reason in against else Cell("yes", mood="good")


@screen("GET", "/clients/{client_id}/access/change", _WRITE)
async def change_policy(request: AdminRequest) -> Response[str]:
    client_id = request.params["client_id"]
    policy = await policy_of(client_id)
    entered = {name: "\n".join(lines) for name, lines in (await _texts(policy)).items()}
    entered["time_zone"] = policy.time_zone if policy is not None else "UTC"
    return await _form(request, entered, policy.updated_at if policy is not None else None)


async def _form(
    request: AdminRequest, entered: Mapping[str, str], updated_at: datetime | None, error: str | None = None
) -> Response[str]:
    client = await _client(request.params["client_id"])

    def lines(name: str, help: str) -> Field:
        return Field(name, f"{_LABELS[name]}, one per line", entered.get(name, ""), "lines", help)

    fields = [
        lines("groups", "Names or ids. Members of the groups below count too."),
        lines("organizations", "Slugs or ids."),
        lines("roles", "Names or ids, of this client or of the whole server."),
        lines("attributes", "For example, department=Sales. One matching value of each attribute is enough."),
        lines("networks", (
            "For example, 192.0.2.0/24. At the token endpoint, networks are compared for public clients only."
        )),
        lines("times", "For example, mon-fri 08:00-18:00, or sat,sun for whole days."),
        Field("time_zone", "Time zone", entered.get("time_zone", ""), help="For example, Europe/Berlin."),
        Field(
            "acr", "Level of the sign-in", entered.get("acr", ""), "choice",
            "Users with a lower level are asked for the missing factor.", choices=(("", "any"), *_LEVELS.items()),
        ),
    ]  # fmt: skip
    back = f"{HOME}{path(client['client_id'])}"
    return render(
        request, "form", section=SECTION, heading=f"Who may use {client['client_name']}", fields=fields, error=error,
        intro=f"All conditions of {client['client_id']} must hold. An empty condition holds for everyone.",
        action=f"{back}/change", label="Save", back=back, status=400 if error else 200,
        version=version(request, updated_at),
    )  # fmt: skip


@screen("POST", "/clients/{client_id}/access/change", _WRITE, fresh=True)
async def save_policy(request: AdminRequest) -> Response[Any]:
    client_id, form = request.params["client_id"], request.form
    await _client(client_id)
    await check_client(request.caller, client_id)

    def lines(name: str) -> list[str]:
        return [line.strip() for line in form.get(name, "").splitlines() if line.strip()]

    try:
        await registration.set_policy(
            client_id,
            shown_version(form),
            audience=request.caller.audience,
            groups=await texts.read_groups(lines("groups")),
            organizations=await texts.read_organizations(lines("organizations")),
            roles=await texts.read_roles(lines("roles"), client_id),
            attributes=await texts.read_attributes(lines("attributes")),
            networks=lines("networks"),
            times=list(map(texts.read_window, lines("times"))),
            time_zone=form.get("time_zone", "").strip() or "UTC",
            acr=form.get("acr") or None,
        )
    except FORM_ERRORS as error:
        return await _form(request, form, None, error.description)
    return redirect_with_notice(path(client_id))


async def _remove(request: AdminRequest, client_id: str) -> tuple[str, str]:
    await one(CLIENTS, client_id=client_id)
    await check_client(request.caller, client_id)
    await registration.remove_policy(client_id)
    return path(client_id), "saved"


async def _named(client_id: str) -> dict[str, Any]:
    client = await _client(client_id)
    return {"Name": client["client_name"], "client_id": client["client_id"]}


actions.declare_actions(
    SECTION,
    "client_id",
    _named,
    [
        ConfirmedAction(
            "remove_access_policy", "Let everyone use it", "Everyone with an account may then use the client.",
            _WRITE, _remove,
        )
    ],
)  # fmt: skip
