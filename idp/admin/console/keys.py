"""Screens of signing keys: states, propagation and actions."""

from typing import Any

from litestar import Response

from idp.admin.console import actions, reports
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, Table, facts, text, when
from idp.admin.console.key_timeline import signs_from, timeline, verifies_until
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, not_found, redirect_with_notice, render, screen
from idp.admin.incidents import contain_key
from idp.admin.roles import Permission
from idp.errors import NoSigningKeyError
from idp.keys import lifecycle, propagation
from idp.keys.algorithms import DEFAULT_ALGORITHM, SIGNING_ALGORITHMS
from idp.keys.lifecycle import KeyInfo, State
from idp.settings import DAY, HOUR

_WRITE = Permission.KEYS_WRITE
_MOODS = {State.ACTIVE: "good", State.DESTROYED: "plain", State.RETIRED: "plain"}
#: Seconds after which the page of a pending key is loaded again.
REFRESH_SECONDS = 10
DEADLINES = (
    ("day", "at most a day", DAY),
    ("hour", "at most an hour", HOUR),
    ("week", "at most a week", 7 * DAY),
    ("hold", "without a deadline", None),
)


@screen("GET", "/keys", Permission.KEYS_READ)
async def list_keys(request: AdminRequest) -> Response[str]:
    rows = [
        [
            Cell(key.kid, f"{HOME}/keys/{key.kid}"),
            Cell(key.alg),
            Cell(key.state, mood=_MOODS.get(key.state, "plain")),
            signs_from(key, await propagation.view(key.kid) if key.state == State.PENDING else ()),
            verifies_until(key),
            Cell(f"{key.signed:,}"),
        ]
        for key in reversed(await lifecycle.list_keys())
    ]
    buttons = [Action("Rotate", f"{HOME}/keys/rotate")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section="keys", heading="Keys", path=f"{HOME}/keys", acts=buttons,
        intro="A new key is published first, and signs when every resource server has fetched it.",
        columns=("Key id", "Algorithm", "State", "Signs from", "Verifies until", "Tokens signed"), rows=rows,
    )  # fmt: skip


@screen("GET", "/keys/rotate", _WRITE, fresh=True)
async def ask_to_rotate(request: AdminRequest) -> Response[str]:
    return _rotation(request)


def _rotation(request: AdminRequest, error: str | None = None) -> Response[str]:
    fields = [
        Field("alg", "Algorithm", DEFAULT_ALGORITHM, "choice", choices=[(alg, alg) for alg in SIGNING_ALGORITHMS]),
        Field(
            "deadline", "The new key waits for all resource servers", "day", "choice",
            choices=[(name, label) for name, label, _ in DEADLINES],
        ),
    ]  # fmt: skip
    return render(
        request, "form", section="keys", heading="Rotate a key", fields=fields, action=f"{HOME}/keys/rotate",
        intro="The new key is published now. Tokens that the old key signed stay valid until they expire.",
        label="Publish a new key", back=f"{HOME}/keys", error=error, status=400 if error else 200,
    )  # fmt: skip


@screen("POST", "/keys/rotate", _WRITE, fresh=True)
async def rotate(request: AdminRequest) -> Response[Any]:
    alg, wanted = request.form.get("alg", ""), request.form.get("deadline", "")
    deadlines = {name: seconds for name, _, seconds in DEADLINES}
    if alg not in SIGNING_ALGORITHMS or wanted not in deadlines:
        raise not_found()
    try:
        kid = await lifecycle.rotate(alg, deadline=deadlines[wanted])
    except (*FORM_ERRORS, NoSigningKeyError) as error:
        return _rotation(request, error.description)
    return redirect_with_notice(f"/keys/{kid}", "published")


async def _key(kid: str) -> KeyInfo:
    found = await lifecycle.find_key(kid)
    if found is None:
        raise not_found()
    return found


@screen("GET", "/keys/{kid}", Permission.KEYS_READ)
async def show_key(request: AdminRequest) -> Response[str]:
    key, servers = await _key(request.params["kid"]), await propagation.view(request.params["kid"])
    shown = {
        "Key id (kid)": key.kid,
        "State": Cell(key.state, mood=_MOODS.get(key.state, "plain")),
        "Algorithm": key.alg,
        "Tokens signed": f"{key.signed:,}",
        "The last one expires": key.last_token_expires_at,
    }
    kept = {name: value for name, value in shown.items() if value is not None}
    seen = [_witness(server) for server in servers]
    columns = ("Resource server", "Has seen it", "Fetched last", "Fetches every", "Instances")
    table = Table(
        "Resource servers that have fetched it", columns, seen, "No resource server is registered for this algorithm."
    )
    return render(
        request, "record", section="keys", heading=f"Key {key.kid[:8]}…", facts=facts(kept),
        tables=[timeline(key, await lifecycle.list_keys(), servers), table],
        refresh=REFRESH_SECONDS if key.state == State.PENDING else None,
        acts=_acts(key) if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


def _witness(server: propagation.Witness) -> list[Cell]:
    if not server.witnessed:
        state = Cell("not waited for", mood="plain")
    else:
        state = Cell("yes", mood="good") if server.seen else Cell("no", mood="bad")
    period = f"{server.period:.0f} s" if server.period is not None else "not known"
    instances = [
        f"{each.user_agent or 'a program without a name'} at {each.address}{'' if each.live else ' (gone)'}"
        for each in server.instances[:5]
    ]
    return [text(server.name), state, when(server.last_at), Cell(period), Cell(lines=instances or ["never fetched"])]


def _acts(key: KeyInfo) -> list[Action]:
    path = f"{HOME}/keys/{key.kid}"
    if key.state == State.PENDING:
        return [Action("Activate it now", f"{path}/activate"), Action("Revoke", f"{path}/contain", danger=True)]
    if key.state in (State.ACTIVE, State.RETIRING):
        return [Action("Revoke", f"{path}/contain", danger=True)]
    actions = [] if key.revoked_at else [Action("Revoke", f"{path}/contain", danger=True)]
    return (
        [*actions, Action("Erase the private part", f"{path}/destroy", danger=True)]
        if key.state in lifecycle.ERASABLE
        else actions
    )


async def _activate(_visit: AdminRequest, kid: str) -> tuple[str, str]:
    key = await _key(kid)
    try:
        await lifecycle.activate(kid, unseen=tuple(await propagation.unseen(kid)))
    except lifecycle.UnknownKeyError:
        return f"/keys/{key.kid}", ""
    return f"/keys/{kid}", "activated"


async def _contain(_visit: AdminRequest, kid: str) -> tuple[str, str] | Response[Any]:
    key = await _key(kid)
    if key.revoked_at is not None:
        return f"/keys/{kid}", ""
    return reports.to_report(await contain_key(kid))


async def _destroy(_visit: AdminRequest, kid: str) -> tuple[str, str]:
    key = await _key(kid)
    try:
        await lifecycle.destroy(key.kid)
    except lifecycle.UnknownKeyError:
        return f"/keys/{kid}", ""
    return f"/keys/{kid}", "destroyed"


async def _named(kid: str) -> dict[str, Any]:
    key = await _key(kid)
    return {"Key id (kid)": key.kid, "Algorithm": key.alg, "State": key.state}


actions.declare_actions(
    "keys",
    "kid",
    _named,
    [
        ConfirmedAction(
            "activate", "Activate it now",
            "Resource servers that have not fetched it reject its tokens until they do.", _WRITE, _activate,
        ),
        ConfirmedAction(
            "contain", "Revoke",
            "For emergencies. The key is removed from the JWKS, and another key signs. This server rejects"
            " tokens of the key now, and each service does when it next fetches the keys.", _WRITE, _contain,
        ),
        ConfirmedAction(
            "destroy", "Erase the private part", "The key can never sign again. This cannot be undone.",
            _WRITE, _destroy, typed="Key id (kid)",
        ),
    ],
)  # fmt: skip
