"""The sign-in flow: one attempt to sign in, stored on the server and named in the URL.

A caller that needs a signed-in user starts a flow with the path to return to. The flow finishes once, with a session or
cancelled. :mod:`idp.signin.transitions` decides its steps.
"""

import hmac
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from idp import clock
from idp.branding import registry
from idp.branding.models import Brand
from idp.errors import FlowError, FlowExpiredError, FlowFinishedError, FlowNotBoundError
from idp.federation.linking import ExternalIdentity
from idp.federation.models import UpstreamSession
from idp.infra import i18n
from idp.keys import vault
from idp.settings import settings
from idp.signin import transitions
from idp.signin.browser import Browser, BrowserBinding, BrowserKey
from idp.signin.factors.service import factors_of
from idp.signin.repository import signin_flows
from idp.signin.repository.signin_flows import FlowVersion, NewFlow
from idp.signin.sessions import SignedIn
from idp.signin.transitions import SINGLE_FACTOR, CompletedStep, State
from idp.trace import recorder


class Display(msgspec.Struct, frozen=True):
    """The part of an application that the pages show.

    ``ui_locales`` are the languages that the application asks for; ``upstreams`` are the providers that its users may
    sign in with, None for all. ``organization`` is the name of the one whose policy asks for the sign-in, if one does;
    ``organization_named`` is the slug or the id of the one that they sign in for, if it is known;
    ``brand`` is what the pages show: of the organization, the application and the server.
    """

    client_name: str
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    ui_locales: tuple[str, ...] = ()
    upstreams: tuple[str, ...] | None = None
    organization: str | None = None
    organization_named: str | None = None
    brand: Brand | None = None


class Registration(msgspec.Struct, frozen=True, omit_defaults=True):
    """An account to create once its address is verified.

    ``invitation_id`` names the invitation that allows it, if one is needed or was used; ``organization_invitation_id``
    one into an organization, with the hash of its mail's token. ``attributes`` are values by attribute.
    """

    email: str = ""
    password_hash: str = ""
    name: str | None = None
    locale: str | None = None
    invitation_id: UUID | None = None
    organization_invitation_id: UUID | None = None
    token_hash: bytes = b""
    invited_email: str | None = None
    attributes: dict[str, Any] = {}

    @property
    def invited(self) -> bool:
        return self.invitation_id is not None or self.organization_invitation_id is not None


class Occasion(StrEnum):
    """Why a flow starts, where its first page says so."""

    #: A user who is signed in wants to use another account.
    SWITCH = "switch"
    #: The account was just created, by the link for the first owner.
    CREATED = "created"


class Flow(msgspec.Struct, frozen=True):
    """An unfinished flow of this browser.

    Attributes:
        return_to, cancel_to: paths of our own.
        acr, required: the requested level, and the one without which the flow does not finish.
        max_age: the maximum age of a proof in seconds. None: any.
        session_id: the session whose steps a step-up continues.
        turn: raised by every change, each of which is conditional on it.
        registration: waits for its address to be verified.
        identity: an identity at an upstream provider whose account here is not known yet.
        upstream: the session at an upstream provider that a step was proved with.
        attributes: those that the application requires of its users.
        ways: the first steps that may be taken; empty: all.
        occasion: why it starts, if the first page says so.
        key: the key to which the flow moves with its next change, if any.
    """

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
    upstream: UpstreamSession | None = None
    attributes: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    occasion: Occasion | None = None
    created_at: datetime | None = None
    key: BrowserKey | None = None

    @property
    def challenge(self) -> bytes:
        """The challenge for a passkey. It differs per flow and turn, so that no response is accepted twice."""
        return hmac.digest(vault.derive("passkey"), f"{self.binding.id} {self.turn}".encode(), "sha256")


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
    attributes: Collection[str] = (),
    ways: Collection[str] = (),
    occasion: Occasion | None = None,
    binding: BrowserBinding | None = None,
) -> BrowserBinding:
    """Start a flow. Send the browser to :func:`path` with the cookies of the key.

    Args:
        key: of the browser. Count the flow first (:func:`idp.signin.limits.count_flow`).
        acr, required: the requested level, and the one without which the flow does not finish.
        max_age: the maximum age of a proof in seconds, also of an upstream sign-in. 0: it must be new. None: any.
        step_up: a session whose steps count already, with their age, so that only the missing ones are asked for. If a
            new factor is missing, an old session does not count: the user signs in once more.
        registration: the known data of an account that an invitation allows.
        attributes: those of which the user must have a value. The flow asks for them after the identity is proved.
        ways: the first steps that may be taken; empty: all.
        occasion: why it starts, if the first page says so.
        binding: a binding that the caller shares with its own request.
    """
    binding = binding or key.bind()
    done: tuple[CompletedStep, ...] = ()
    if step_up is not None:
        done = transitions.inherited(step_up.done, step_up.auth_time)
        if not may_enrol(done) and await _needs_new_factor(step_up.user_id, done, acr, required):
            step_up, done = None, ()
    await signin_flows.insert_flow(
        NewFlow(
            binding=binding,
            return_to=return_to,
            cancel_to=cancel_to,
            login_hint=login_hint,
            display=_to_json(display) if display else None,
            acr=acr,
            required=required,
            max_age=max_age,
            user_id=step_up.user_id if step_up else None,
            session_id=step_up.id if step_up else None,
            done=[str(step) for step in done],
            registration=_to_json(registration) if registration else None,
            attributes=list(attributes) or None,
            ways=list(ways) or None,
            occasion=occasion,
            lifetime=settings().flow_lifetime,
            trace_id=recorder.trace_id(),
        )
    )
    recorder.step("flow_started", ways=sorted(ways))
    return binding


async def _needs_new_factor(user_id: UUID, done: tuple[CompletedStep, ...], acr: str, required: str) -> bool:
    factors = await factors_of(user_id)
    return factors is None or transitions.needs_new_factor(State(done, has=factors.has, acr=acr, required=required))


def may_enrol(done: tuple[CompletedStep, ...]) -> bool:
    """Return whether these steps are recent enough to add a factor to the account, as its pages require."""
    age = transitions.auth_age(done, clock.now())
    return age is not None and age <= settings().reauthentication_lifetime


def _to_json(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


_PATH = "/login/"


def path(binding: BrowserBinding) -> str:
    """Return the path of the page of a flow."""
    return f"{_PATH}{binding.id}"


def moved(error: FlowError) -> bool:
    """Return whether the flow goes on at another address, under the key that it got when its user became known."""
    return error.return_to is not None and error.return_to.startswith(_PATH)


async def load(browser: Browser, id: str) -> Flow:
    """Return the flow of this browser that the URL names.

    Raises:
        FlowError: it is another browser's, unknown, expired or finished.
    """
    binding = browser.binding(id)
    if binding is None and (trace_id := await signin_flows.trace_of_live_flow(id)) is not None:
        recorder.follow(trace_id)
        raise FlowNotBoundError(sends_keys=bool(browser.keys))
    return await load_bound(binding)


async def load_bound(binding: BrowserBinding | None) -> Flow:
    """Return the flow of a binding.

    Raises:
        FlowError: it is unknown, expired or finished.
    """
    row = await signin_flows.find_flow(binding) if binding else None
    if row is not None:
        recorder.follow(row.trace_id)
        recorder.about(user_id=row.user_id, session_id=row.session_id)
    if binding is None or row is None:
        raise FlowExpiredError
    if row.finished:
        raise FlowFinishedError(row.return_to, on_behalf=row.display is not None)
    if not row.live:
        raise FlowExpiredError(row.return_to, on_behalf=row.display is not None)
    display = msgspec.json.decode(row.display, type=Display) if row.display else None
    if display is not None:
        i18n.prefer(display.ui_locales)
        registry.current.set(display.brand)
    return Flow(
        binding=binding,
        return_to=row.return_to,
        cancel_to=row.cancel_to,
        login_hint=row.login_hint,
        display=display,
        acr=row.acr,
        required=row.required_acr,
        max_age=row.max_age,
        user_id=row.user_id,
        session_id=row.session_id,
        done=tuple(map(CompletedStep.parse, row.done)),
        turn=row.turn,
        registration=msgspec.json.decode(row.registration, type=Registration) if row.registration else None,
        identity=_identity(row.identity),
        attributes=tuple(row.attributes or ()),
        ways=tuple(row.ways or ()),
        occasion=Occasion(row.occasion) if row.occasion else None,
        created_at=row.created_at,
    )


def _identity(text: str | None) -> ExternalIdentity | None:
    return msgspec.json.decode(text, type=ExternalIdentity) if text else None


async def reload(flow: Flow) -> Flow:
    """Return the flow as it is now, also if it moved.

    Raises:
        FlowError: it ended.
    """
    try:
        return await load_bound(flow.binding)
    except FlowFinishedError as error:
        if error.return_to is None or not moved(error) or flow.key is None:
            raise
        return await load_bound(BrowserBinding.derive(error.return_to.removeprefix(_PATH), flow.key.secret))


def _version(flow: Flow) -> FlowVersion:
    return FlowVersion(flow.binding, flow.turn, flow.key.bind() if flow.key is not None else flow.binding)


async def _forward(version: FlowVersion) -> None:
    if version.moves_to != version.binding:
        await signin_flows.forward_flow(version.binding, version.moves_to, path(version.moves_to))


async def store_address(flow: Flow, email: str) -> Flow:
    """Store the address that the user entered. It proves nothing, so the flow stays as it is otherwise."""
    await signin_flows.store_login_hint(flow.binding, email)
    return msgspec.structs.replace(flow, login_hint=email)


async def store_registration(flow: Flow, registration: Registration) -> Flow:
    """Store the data of a registration, in the transaction of its mail.

    Raises:
        FlowFinishedError: the flow changed or ended since it was read.
    """
    version = _version(flow)
    if not await signin_flows.store_registration(version, _to_json(registration)):
        raise FlowFinishedError
    await _forward(version)
    return _changed(flow, version, registration=registration)


async def store_identity(flow: Flow, identity: ExternalIdentity) -> Flow:
    """Store an identity at an upstream provider until its user has proved which account here is theirs.

    In the caller's transaction.

    Raises:
        FlowFinishedError: the flow changed or ended since it was read.
    """
    version = _version(flow)
    if not await signin_flows.store_identity(version, _to_json(identity)):
        raise FlowFinishedError
    await _forward(version)
    return _changed(flow, version, identity=identity)


async def note_step(
    flow: Flow, user_id: UUID, step: CompletedStep, *, finish: bool, upstream: UpstreamSession | None = None
) -> Flow:
    """Add a completed step to a flow, and finish the flow if requested, in the transaction of its effects.

    Args:
        upstream: the session at an upstream provider that the step was proved with.

    Raises:
        FlowFinishedError: the flow changed or ended since it was read.
    """
    # A flow that finishes stays at its address, which its page shows once more.
    version = FlowVersion(flow.binding, flow.turn, flow.binding) if finish else _version(flow)
    session = _to_json(upstream) if upstream else None
    noted = await signin_flows.note_step(version, user_id, str(step), finish=finish, upstream=session)
    if noted is None:
        raise FlowFinishedError
    await _forward(version)
    return _changed(
        flow,
        version,
        user_id=user_id,
        done=(*flow.done, step),
        registration=None,
        identity=_identity(noted.identity),
        upstream=msgspec.json.decode(noted.upstream, type=UpstreamSession) if noted.upstream else None,
    )


def _changed(flow: Flow, version: FlowVersion, **changes: object) -> Flow:
    return msgspec.structs.replace(flow, binding=version.moves_to, turn=flow.turn + 1, **changes)


async def finish(flow: Flow) -> None:
    """Finish the flow without a step, once.

    Raises:
        FlowFinishedError: it ended since it was read.
    """
    if not await signin_flows.finish_flow(flow.binding):
        raise FlowFinishedError


async def cancel_flows(user_id: UUID) -> None:
    """Finish the flows of a user whose steps no longer count, after a change of credentials."""
    await signin_flows.cancel_flows(user_id)


async def store_form(binding: BrowserBinding, form: Mapping[str, str]) -> None:
    """Store a form that needs the sign-in that now starts. It is encrypted, because it may hold secrets."""
    sealed = vault.encrypt(msgspec.json.encode(form), _form_context(binding.id))
    await signin_flows.store_form(binding, sealed)


async def stored_form(id: str, user_id: UUID) -> dict[str, str]:
    """Return the form that was stored with a flow which this user finished; empty if there is none."""
    sealed = await signin_flows.stored_form(id, user_id)
    return msgspec.json.decode(vault.decrypt(sealed, _form_context(id)), type=dict[str, str]) if sealed else {}


def _form_context(id: str) -> str:
    return f"signin_flow.kept_form:{id}"
