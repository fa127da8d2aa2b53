"""The sign-in flow: one attempt to find out who is at the browser, held on the server and named in the URL.

Whoever needs to know starts a flow with the path to come back to. The flow ends once, with a session or cancelled.
How it goes on is decided in :mod:`idp.signin.transitions`.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request

from idp import clock
from idp.errors import PageError
from idp.federation.linking import ExternalIdentity
from idp.infra import i18n
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.named_queries import NamedQuery
from idp.infra.i18n import gettext as _
from idp.keys import vault
from idp.settings import settings
from idp.signin import transitions
from idp.signin.browser import BrowserBinding, BrowserKey, sends_keys
from idp.signin.factors import factors_of
from idp.signin.sessions import SignedIn
from idp.signin.transitions import SINGLE_FACTOR, CompletedStep, State


class Display(msgspec.Struct, frozen=True):
    """What the pages show of the application that the person comes from.

    ``ui_locales`` are the languages that the application asks for, ``upstreams`` the providers that it lets its people
    sign in with; None: all.
    """

    client_name: str
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    ui_locales: tuple[str, ...] = ()
    upstreams: tuple[str, ...] | None = None


class Registration(msgspec.Struct, frozen=True, omit_defaults=True):
    """An account that waits for its address to be proved.

    ``invitation_id`` names the invitation that allows it, where one is needed or was used.
    """

    email: str = ""
    password_hash: str = ""
    name: str | None = None
    locale: str | None = None
    invitation_id: UUID | None = None
    invited_email: str | None = None


class Flow(msgspec.Struct, frozen=True):
    """An unfinished flow of this browser. ``return_to`` and ``cancel_to`` are paths of our own."""

    binding: BrowserBinding
    return_to: str
    cancel_to: str | None
    login_hint: str
    display: Display | None
    acr: str = SINGLE_FACTOR
    required: str = SINGLE_FACTOR
    max_age: int | None = None
    user_id: UUID | None = None
    session_id: UUID | None = None
    done: tuple[CompletedStep, ...] = ()
    turn: int = 0
    registration: Registration | None = None
    identity: ExternalIdentity | None = None
    created_at: datetime | None = None
    #: The key that it moves to once it keeps something of a person.
    key: BrowserKey | None = None

    @property
    def challenge(self) -> bytes:
        """What a passkey must sign: new for each flow and each of its turns, so that no answer counts twice."""
        return hmac.digest(vault.derive("passkey"), f"{self.binding.id} {self.turn}".encode(), "sha256")


_INSERT = """
    INSERT INTO signin_flow (id, browser_hash, return_to, cancel_to, login_hint, display, acr, required_acr,
                             max_age, user_id, session_id, done, registration, turn, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, now(), now() + make_interval(secs => $14))
"""
_FIND = """
    SELECT return_to, cancel_to, login_hint, display, acr, required_acr, max_age, user_id, session_id, done, turn,
           registration, identity, created_at, finished_at IS NOT NULL AS finished, expires_at > now() AS live
    FROM signin_flow WHERE id = $1 AND browser_hash = $2
"""
_IS_LIVE = "SELECT 1 FROM signin_flow WHERE id = $1 AND finished_at IS NULL AND expires_at > now()"
_FINISH = """
    UPDATE signin_flow SET finished_at = now()
    WHERE id = $1 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > now()
"""
#: Changes of an UPDATE of a flow that move it to another key, if there is one, and so to another address. The flow that
#: it returns is followed by :data:`LEAVE`, which leaves a finished one at the former address that leads there.
MOVE = "id = coalesce(:new_id::text, id), browser_hash = coalesce(:new_hash::bytea, browser_hash)"
LEAVE = """
    INSERT INTO signin_flow (id, browser_hash, return_to, login_hint, acr, required_acr, done, user_id, kept_form,
                             created_at, expires_at, finished_at)
    SELECT :flow_id, :browser_hash, :new_path::text, '', acr, required_acr, ARRAY[]::text[],
           CASE WHEN kept_form IS NOT NULL THEN whose END, kept_form, created_at, expires_at, now()
    FROM flow WHERE :new_id::text IS NOT NULL
"""
_KEEP = f"""
    WITH flow AS (
        UPDATE signin_flow SET {{column}} = :kept, turn = turn + 1, {MOVE}
        WHERE id = :flow_id AND browser_hash = :browser_hash AND turn = :turn
        AND finished_at IS NULL AND expires_at > now()
        RETURNING acr, required_acr, user_id AS whose, kept_form, created_at, expires_at
    ), here AS ({LEAVE}) SELECT FROM flow
"""  # noqa: S608
_REGISTER, _IDENTIFY = (NamedQuery(_KEEP.format(column=column)) for column in ("registration", "identity"))
_ABANDON = """
    UPDATE signin_flow SET finished_at = now() WHERE user_id = $1 AND finished_at IS NULL AND expires_at > now()
"""


_KEEP_FORM = "UPDATE signin_flow SET kept_form = $3 WHERE id = $1 AND browser_hash = $2"
_KEPT_FORM = """
    SELECT kept_form FROM signin_flow WHERE id = $1 AND user_id = $2 AND finished_at IS NOT NULL AND expires_at > now()
"""


async def start(
    key: BrowserKey,
    return_to: str,
    *,
    cancel_to: str | None = None,
    login_hint: str = "",
    display: Display | None = None,
    acr: str = SINGLE_FACTOR,
    required: str = SINGLE_FACTOR,
    max_age: int | None = None,
    step_up: SignedIn | None = None,
    registration: Registration | None = None,
    binding: BrowserBinding | None = None,
) -> BrowserBinding:
    """Start a flow. Send the browser to :func:`path` with the cookies of its key.

    Args:
        key: of the browser, from :func:`idp.signin.limits.count_flow`.
        acr, required: the level that is asked for, and the one without which the flow does not end.
        max_age: how many seconds old a proof may be, that of an account elsewhere too. 0: it is given now. None: any.
        step_up: a session whose steps count already, so that only what is missing is asked for. They stay as old as
            they are. Where a new factor is missing, an old session does not count: the person signs in once more.
        registration: what is known of an account that an invitation allows.
        binding: one that the caller uses for its own ends too.
    """
    binding = binding or key.bind()
    done: tuple[CompletedStep, ...] = ()
    if step_up is not None:
        done = transitions.inherited(step_up.done, step_up.auth_time)
        if not may_enrol(done) and await _needs_new_factor(step_up.user_id, done, acr, required):
            step_up, done = None, ()
    await execute(
        _INSERT,
        binding.id,
        binding.hash,
        return_to,
        cancel_to,
        login_hint,
        _to_json(display),
        acr,
        required,
        max_age,
        step_up.user_id if step_up else None,
        step_up.id if step_up else None,
        [str(taken) for taken in done],
        _to_json(registration),
        settings().flow_lifetime,
    )
    return binding


async def _needs_new_factor(user_id: UUID, done: tuple[CompletedStep, ...], acr: str, required: str) -> bool:
    found = await factors_of(user_id)
    return found is None or transitions.needs_new_factor(State(done, has=found.has, acr=acr, required=required))


def may_enrol(done: tuple[CompletedStep, ...]) -> bool:
    """Whether these steps are recent enough to add a factor to the account, as its pages ask."""
    age = transitions.auth_age(done, clock.now())
    return age is not None and age <= settings().reauthentication_lifetime


def _to_json(value: msgspec.Struct | None) -> str | None:
    return msgspec.json.encode(value).decode() if value is not None else None


_PATH = "/login/"


def path(binding: BrowserBinding) -> str:
    return f"{_PATH}{binding.id}"


async def load(request: Request[Any, Any, Any], id: str) -> Flow:
    """The flow of this browser that the URL names.

    Raises:
        PageError: it is another browser's, unknown, expired or finished.
    """
    binding = BrowserBinding.read(request, id)
    if binding is None and await fetchrow(_IS_LIVE, id) is not None:
        raise unbound(request)
    return await load_bound(binding)


async def load_bound(binding: BrowserBinding | None) -> Flow:
    """The flow of whoever holds its secret.

    Raises:
        PageError: it is unknown, expired or finished.
    """
    row = await fetchrow(_FIND, binding.id, binding.hash) if binding else None
    if binding is None or row is None or not row["live"]:
        raise expired()
    if row["finished"]:
        raise FlowFinishedError(row["return_to"], ((_("Continue"), row["return_to"]),))
    display = msgspec.json.decode(row["display"], type=Display) if row["display"] else None
    if display is not None:
        i18n.prefer(display.ui_locales)
    return Flow(
        binding,
        row["return_to"],
        row["cancel_to"],
        row["login_hint"],
        display,
        row["acr"],
        row["required_acr"],
        row["max_age"],
        row["user_id"],
        row["session_id"],
        tuple(map(CompletedStep.parse, row["done"])),
        row["turn"],
        msgspec.json.decode(row["registration"], type=Registration) if row["registration"] else None,
        found(row["identity"]),
        row["created_at"],
    )


def found(text: str | None) -> ExternalIdentity | None:
    """Who somebody is elsewhere, as a row has it."""
    return msgspec.json.decode(text, type=ExternalIdentity) if text else None


def moving(flow: Flow) -> tuple[BrowserBinding, dict[str, object]]:
    """Where a flow moves with a change, which is where it is if it has no key to move to; the parameters of
    :data:`MOVE` and :data:`LEAVE`.
    """
    binding = flow.key.bind() if flow.key is not None else None
    values: dict[str, object] = {
        "flow_id": flow.binding.id,
        "browser_hash": flow.binding.hash,
        "new_id": binding and binding.id,
        "new_hash": binding and binding.hash,
        "new_path": binding and path(binding),
    }
    return binding or flow.binding, values


async def reload(flow: Flow) -> Flow:
    """A flow as it is by now, where it moved to too.

    Raises:
        PageError: it ended.
    """
    try:
        return await load_bound(flow.binding)
    except FlowFinishedError as error:
        if error.return_to is None or not error.moved or flow.key is None:
            raise
        return await load_bound(BrowserBinding.derive(error.return_to.removeprefix(_PATH), flow.key.secret))


async def _keep(statement: NamedQuery, flow: Flow, kept: msgspec.Struct | None) -> Flow:
    binding, values = moving(flow)
    if await statement.fetchrow(**values, turn=flow.turn, kept=_to_json(kept)) is None:
        raise finished()
    return msgspec.structs.replace(flow, binding=binding, turn=flow.turn + 1)


async def store_registration(flow: Flow, registration: Registration | None) -> Flow:
    """Keep what somebody entered to get an account, or forget it. In the transaction of the mail that is for it.

    Raises:
        PageError: the flow went on or ended meanwhile.
    """
    return msgspec.structs.replace(await _keep(_REGISTER, flow, registration), registration=registration)


async def store_identity(flow: Flow, somebody: ExternalIdentity) -> Flow:
    """Keep who somebody is elsewhere, until they have proved whose account here is theirs.

    Raises:
        PageError: the flow went on or ended meanwhile.
    """
    return msgspec.structs.replace(await _keep(_IDENTIFY, flow, somebody), identity=somebody)


async def finish(flow: Flow) -> None:
    """End the flow, once. Runs in the transaction of what it leads to.

    Raises:
        PageError: it ended meanwhile.
    """
    if not await execute(_FINISH, flow.binding.id, flow.binding.hash):
        raise finished()


async def cancel_flows(user_id: UUID) -> None:
    """End what was begun with steps that count no more: a changed password, a removed factor."""
    await execute(_ABANDON, user_id)


async def store_form(binding: BrowserBinding, form: Mapping[str, str]) -> None:
    """Keep a form that could not be taken without the sign-in that now begins. It may hold secrets, so it is sealed."""
    sealed = vault.seal(msgspec.json.encode(form), f"signin_flow.kept_form:{binding.id}")
    await execute(_KEEP_FORM, binding.id, binding.hash, sealed)


async def stored_form(id: str, user_id: UUID) -> dict[str, str]:
    """The form that a sign-in kept which this user finished; empty if there is none."""
    row = await fetchrow(_KEPT_FORM, id, user_id)
    if row is None or row["kept_form"] is None:
        return {}
    opened = vault.open(bytes(row["kept_form"]), f"signin_flow.kept_form:{id}")
    return msgspec.json.decode(opened, type=dict[str, str])


def expired() -> PageError:
    return PageError(
        _("This sign-in has expired"),
        _("It was open for too long, or was started in another browser. Go back to the application and sign in again."),
    )


def unbound(request: Request[Any, Any, Any]) -> PageError:
    """What is under way is not this browser's: it keeps no cookies, or it is another one."""
    if sends_keys(request):
        return PageError(
            _("This sign-in was started in another browser"),
            _("Go on there, or go back to the application and sign in here."),
        )
    return PageError(
        _("Your browser did not send our cookie"),
        _(
            "Signing in needs a cookie. Allow cookies for this site, or use the browser in which you started. Then go "
            "back to the application and sign in again."
        ),
    )


class FlowFinishedError(PageError):
    """What the page is about has ended.

    Attributes:
        return_to: the path where the flow led, where it is known.
    """

    template = "flow_gone.html"

    def __init__(self, return_to: str | None = None, way_out: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(
            _("This sign-in is already finished"),
            _("You can close this tab, or go back to the application that you came from."),
            way_out=way_out,
        )
        self.return_to = return_to

    @property
    def moved(self) -> bool:
        """Whether the flow goes on at another address, under a key that it got when the person became known."""
        return self.return_to is not None and self.return_to.startswith(_PATH)


def finished() -> FlowFinishedError:
    return FlowFinishedError()
