"""The authorization challenge endpoint: sign-in in a first-party app, without a browser.

OAuth 2.0 for First-Party Applications (draft-ietf-oauth-first-party-apps). The steps are those of the pages, by
:mod:`idp.signin.service`.
"""

from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from litestar import MediaType, Request, Response, post

from idp.accounts.addresses import InvalidEmailError
from idp.accounts.attributes.registry import attributes as declared
from idp.accounts.passwords import InvalidPasswordError
from idp.directory.models import OrganizationMembership
from idp.errors import (
    FlowExpiredError,
    InvalidDPoPProofError,
    InvalidRequestError,
    OAuthError,
    UnauthorizedClientError,
)
from idp.http import forms
from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.exception_handlers import NO_STORE
from idp.http.headers import request_header
from idp.infra.db.engine import transaction
from idp.oauth import consent, subjects
from idp.oauth.access_policies.decision import check_session
from idp.oauth.authorize import (
    acr,
    organization_decision,
    organization_policy,
    pending_request,
    pushed,
    request_object,
    upstreams,
)
from idp.oauth.authorize.checks import validate
from idp.oauth.authorize.code import issue_code, not_member
from idp.oauth.authorize.pending_request import PendingRequest
from idp.oauth.authorize.request import MAX_LENGTH, check_registration, within_registration
from idp.oauth.binding import dpop, proofs
from idp.oauth.binding.dpop import Proof
from idp.oauth.clients import redirects
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.models import Client
from idp.oauth.credentials import credentials_changed
from idp.reasons import Reason
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import limits, service, transitions
from idp.signin.browser import Browser, BrowserBinding
from idp.signin.enforcement import EnforcedDomainError
from idp.signin.flow import Flow
from idp.signin.http import app_of
from idp.signin.password_reset import request_reset, reset_by_code
from idp.signin.sessions import SignedIn
from idp.signin.steps import StepRefusedError, passkey
from idp.signin.transitions import Step

AnyRequest = Request[Any, Any, Any]
CLIENT = {"access": Access.CLIENT, "cors": Cors.CLIENT}


class _ChallengeRequest(NamedTuple):
    """A request of an app, with its pending authorization request and sign-in flow."""

    client: Client
    pending: PendingRequest
    flow: Flow
    form: dict[str, str]

    @property
    def auth_session(self) -> str:
        return f"{self.flow.binding.id}.{self.flow.binding.secret}"


@post("/challenge", opt=CLIENT, status_code=200)
async def challenge(request: AnyRequest) -> Response[Any]:
    """Take the step of the request, if it has one, and answer with a code or with the next possible steps."""
    sign_in = await _load(request)
    step = _step(sign_in)
    if step is None:
        return await _insufficient(request, sign_in, "Take one of the steps.")
    if step is Step.UPSTREAM:
        return await _to_upstream(sign_in)
    try:
        result = await service.take_step(
            app_of(request), sign_in.flow, step, sign_in.form | {"code": _code(sign_in.form)}
        )
    except service.StepNotAllowedError:
        return await _insufficient(request, sign_in, "This step cannot be taken now. Take one of those named.")
    except EnforcedDomainError as error:
        return await _elsewhere(sign_in, error)
    except StepRefusedError:
        return await _insufficient(request, sign_in, "What was entered is not right.")
    # The recovery codes of a new factor are shown once.
    more = {"recovery_codes": result.recovery_codes} if result.recovery_codes else {}
    if result.session is None:
        return await _insufficient(request, sign_in._replace(flow=result.flow), "A further step is needed.", more)
    return await _grant(request, sign_in, result.session, more)


@post("/challenge/forgot", opt=CLIENT, status_code=200)
async def forgot(request: AnyRequest) -> Response[Any]:
    """Mail a code for a password reset. The answer is the same for an unknown address."""
    sign_in = await _load(request)
    try:
        await request_reset(sign_in.flow, sign_in.form.get("username", ""), app_of(request))
    except EnforcedDomainError as error:
        return await _elsewhere(sign_in, error)
    except InvalidEmailError as error:
        raise InvalidRequestError("username must be an email address.") from error
    return _answer({"auth_session": sign_in.auth_session})


@post("/challenge/reset", opt=CLIENT, status_code=200)
async def reset(request: AnyRequest) -> Response[Any]:
    """Set a new password with the code from the mail. The user then signs in with it."""
    sign_in = await _load(request)
    try:
        changed = await reset_by_code(
            sign_in.flow, _code(sign_in.form), sign_in.form.get("password", ""), credentials_changed, app_of(request)
        )
    except InvalidPasswordError as error:
        raise OAuthError("invalid_password", "The password is too short, too long or too easy to guess.") from error
    if not changed:
        return await _insufficient(request, sign_in, "The code is not right, or it is too old.")
    return _answer({"auth_session": sign_in.auth_session})


async def _load(request: AnyRequest) -> _ChallengeRequest:
    """Return the sign-in that ``auth_session`` names, or a new one for an authorization request.

    Raises:
        OAuthError: the client may not use this endpoint, or the request is invalid.
    """
    form = await forms.form_or_json(request)
    client = await authenticate(request_header(request.scope, b"authorization"), form, "/challenge")
    if not client.authorization_challenge:
        raise UnauthorizedClientError("This client may not ask for credentials itself. Send the user to a browser.")
    if "auth_session" not in form:
        return await _begin(app_of(request), client, form, proofs.checked(request, client))
    flow_id, _, secret = form["auth_session"].partition(".")
    binding = BrowserBinding(flow_id, secret)
    pending, flow = await pending_request.load_bound(binding), await flows.load_bound(binding)
    if pending.asked.client_id != client.client_id:
        raise FlowExpiredError
    if pending.asked.dpop_jkt not in (None, await proofs.dpop_key(request, client)):
        raise InvalidDPoPProofError("The auth_session needs a proof of the key that it began with.", Reason.WRONG_KEY)
    pending = msgspec.structs.replace(pending, asked=within_registration(pending.asked, client))
    check_registration(pending.asked, client)
    return _ChallengeRequest(client, pending, flow, form)


async def _begin(browser: Browser, client: Client, form: dict[str, str], proof: Proof | None) -> _ChallengeRequest:
    if "request_uri" in form:
        raise InvalidRequestError("request_uri cannot be used here.")
    asked_for = proofs.with_dpop_jkt(await request_object.resolve(form, client), proof)
    parameters = {**asked_for, "response_type": "code"}
    # There is no redirect URI; the code is bound to the client and its code_challenge.
    asked = validate(parameters, client, "")
    wanted = acr.requested(asked, client)
    await limits.count_flow(browser)
    if proof is not None:
        await dpop.use_up(proof)
    key, display = browser.key(), await consent.display_of_request(asked, client)
    async with transaction():
        pending = await pending_request.store(key, asked)
        await flows.start(
            key,
            pending_request.path(pending),
            login_hint=asked.login_hint,
            display=display,
            acr=wanted.acr,
            required=wanted.essential,
            max_age=asked.max_proof_age,
            attributes=declared.required_for(client.client_id),
            binding=pending.binding,
        )
    return _ChallengeRequest(client, pending, await flows.load_bound(pending.binding), form)


def _step(sign_in: _ChallengeRequest) -> Step | None:
    """Return the step of a request: the one that it names, or the one that its fields imply."""
    form = sign_in.form
    if "step" in form:
        if form["step"] not in set(Step):
            raise InvalidRequestError("step must be one of those named in the answer.")
        return Step(form["step"])
    if "credential" in form:
        return Step.PASSKEY
    if "otp" in form:
        return Step.TOTP if sign_in.flow.done else Step.EMAIL_CODE
    return Step.PASSWORD if "password" in form else None


def _code(form: dict[str, str]) -> str:
    return form.get("otp") or form.get("code", "")


async def _insufficient(
    request: AnyRequest, sign_in: _ChallengeRequest, description: str, more: dict[str, Any] | None = None
) -> Response[Any]:
    """Return the error response with the possible steps (section 5.2.2 of the draft)."""
    flow = await flows.load_bound(sign_in.flow.binding)
    steps = transitions.allowed(await service.state_of(app_of(request), flow))
    answer: dict[str, Any] = {"auth_session": sign_in.auth_session, "steps": steps} | (more or {})
    if Step.UPSTREAM in steps:
        answer["upstreams"] = upstreams.offered(sign_in.pending.asked, sign_in.client, flow.login_hint)
    if steps == (Step.ENROL,):
        # Setting up a factor needs a page: a secret to scan, or a new passkey.
        return _refuse("redirect_to_web", "The user must set up a second factor in a browser.", answer)
    if steps == (Step.ATTRIBUTES,):
        return _refuse("redirect_to_web", "The user must complete their profile in a browser.", answer)
    if Step.PASSKEY in steps:
        answer["passkey_options"] = await passkey.options(flow)
    return _refuse("insufficient_authorization", description, answer)


async def _elsewhere(sign_in: _ChallengeRequest, refused: EnforcedDomainError) -> Response[Any]:
    """Return the upstreams of the organization to which the domain of an address belongs."""
    await flows.store_address(sign_in.flow, refused.email)
    ids = upstreams.offered(sign_in.pending.asked, sign_in.client, refused.email)
    answer = {"auth_session": sign_in.auth_session, "steps": [Step.UPSTREAM] if ids else [], "upstreams": ids}
    description = "Addresses at this domain sign in at an upstream of their organization only."
    return _refuse("redirect_to_web", description, answer)


async def _to_upstream(sign_in: _ChallengeRequest) -> Response[Any]:
    """Return the URL of a sign-in at an upstream. The browser returns to the app's ``redirect_uri`` with a code.

    The URL names the request as a pushed one, so that it says no more than it must.
    """
    asked, client, form = sign_in.pending.asked, sign_in.client, sign_in.form
    redirect_uri, state = form.get("redirect_uri", client.redirect_uris[0]), form.get("state")
    if not redirects.matches(client, redirect_uri):
        raise InvalidRequestError("redirect_uri is not registered for this client.")
    email = sign_in.flow.login_hint
    if form.get("upstream", "") not in upstreams.offered(asked, client, email):
        raise InvalidRequestError("upstream must be one of those that this client may use.")
    if len(state or "") > MAX_LENGTH:
        raise InvalidRequestError("state is too long.")
    asked = msgspec.structs.replace(
        asked, redirect_uri=redirect_uri, state=state, idp_hint=form["upstream"], login_hint=email
    )
    query = urlencode({"client_id": client.client_id, "request_uri": await pushed.store(asked)})
    answer = {"auth_session": sign_in.auth_session, "authorization_url": f"{settings().issuer}/authorize?{query}"}
    return _refuse("redirect_to_web", "The user signs in there in a browser, and comes back with a code.", answer)


async def _grant(
    request: AnyRequest, sign_in: _ChallengeRequest, session: SignedIn, more: dict[str, Any]
) -> Response[Any]:
    asked = sign_in.pending.asked
    await check_session(sign_in.client, session, "challenge")
    if await consent.is_needed(asked, sign_in.client, session, None):
        return _refuse("redirect_to_web", "The user must consent in a browser.", more)
    if asked.subject is not None and asked.subject != subjects.subject(sign_in.client, session.user_id):
        raise OAuthError("login_required", "Another user signed in than the one asked for.")
    decided = await organization_decision.decided(asked, sign_in.client, session.user_id, None)
    if decided is None and asked.organization is not None:
        raise not_member(session.user_id)
    if decided is None:
        held = await organization_decision.offered(sign_in.client, session.user_id)
        description = "The user must choose an organization: in a browser, or by the parameter organization."
        return _refuse("redirect_to_web", description, more | {"organizations": held})
    if decided.membership is not None and organization_policy.unmet(decided.membership, session) is not None:
        again = await _for_policy(app_of(request), sign_in, decided.membership, session)
        return await _insufficient(request, again, "The organization asks for another sign-in of the user.", more)
    async with transaction():
        await pending_request.finish(sign_in.pending)
        code = await issue_code(decided.asked, sign_in.client, session)
    return _answer({"authorization_code": code} | more)


async def _for_policy(
    browser: Browser, sign_in: _ChallengeRequest, membership: OrganizationMembership, session: SignedIn
) -> _ChallengeRequest:
    """Start the sign-in that the policy of an organization asks for, for the same authorization request."""
    client = sign_in.client
    # The sign-in is for the organization that was chosen: its upstreams are offered.
    asked = msgspec.structs.replace(sign_in.pending.asked, organization=str(membership.id))
    how = organization_policy.sign_in(
        membership,
        session,
        display=await consent.display_of_request(asked, client, membership),
        wanted=acr.requested(asked, client),
        max_age=asked.max_proof_age,
    )
    key = browser.key()
    async with transaction():
        await pending_request.finish(sign_in.pending)
        pending = await pending_request.store(key, asked)
        await flows.start(
            key,
            pending_request.path(pending),
            attributes=declared.required_for(client.client_id),
            binding=pending.binding,
            **how,
        )
    return _ChallengeRequest(client, pending, await flows.load_bound(pending.binding), sign_in.form)


def _answer(content: dict[str, Any], status: int = 200) -> Response[Any]:
    return Response(content, status_code=status, media_type=MediaType.JSON, headers=NO_STORE)


def _refuse(error: str, description: str, more: dict[str, Any]) -> Response[Any]:
    return _answer({"error": error, "error_description": description} | more, 400)


ROUTES = [challenge, forgot, reset]
