"""Starting a device authorization, finding it by its user code, and the decision of the user."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from idp.audit.events import record
from idp.errors import FlowExpiredError, OverloadedError
from idp.infra.request_context import client_address
from idp.oauth.authorize.code import check_acr
from idp.oauth.authorize.request import AuthorizationRequest, PolledRequest
from idp.oauth.clients.models import Client
from idp.oauth.device import codes, repository
from idp.oauth.device.repository import Approval
from idp.settings import settings
from idp.signin.sessions import SignedIn

#: Seconds between two polls (RFC 8628 section 3.2).
INTERVAL = 5
#: User codes that are tried. Among a million live ones, one in 17,000 is taken.
_ATTEMPTS = 5


class StartedDevice(NamedTuple):
    """The codes of a device. They are not stored."""

    device_code: str
    user_code: str


class WaitingDevice(NamedTuple):
    """A device that waits for its user.

    Attributes:
        user_code: as it is shown.
        ip_address: of the device.
        started_at: when it asked for the code.
    """

    user_code: str
    asked: AuthorizationRequest
    ip_address: str
    started_at: datetime


async def start(asked: AuthorizationRequest) -> StartedDevice:
    """Store the request of a device. Returns its codes.

    Raises:
        OverloadedError: no user code is free.
    """
    device_code = codes.new_device_code()
    device_code_hash = codes.device_code_hash(device_code)
    assert device_code_hash is not None  # noqa: S101 -- it is a code of ours
    for _ in range(_ATTEMPTS):
        user_code = codes.new_user_code()
        if await repository.insert(
            device_code_hash,
            codes.user_code_hash(user_code),
            asked.client_id,
            asked.to_json(),
            interval=INTERVAL,
            ip_address=client_address.get(),
            lifetime=settings().device_code_lifetime,
        ):
            return StartedDevice(device_code, user_code)
    raise OverloadedError


async def find_waiting(typed: str) -> WaitingDevice | None:
    """Return the device that shows the code which a person typed, and waits; None if there is none."""
    user_code = codes.read_user_code(typed)
    found = await repository.find_pending(codes.user_code_hash(user_code)) if user_code is not None else None
    if user_code is None or found is None:
        return None
    polled = PolledRequest(codes.GRANT_TYPE, found.device_code_hash)
    asked = msgspec.structs.replace(AuthorizationRequest.from_json(found.request), polled=polled)
    return WaitingDevice(user_code, asked, found.ip_address, found.created_at)


async def approve(asked: AuthorizationRequest, client: Client, session: SignedIn) -> None:
    """Approve the request of a device in the name of a user, in the transaction that finishes the sign-in.

    Args:
        asked: what the user has consented to.

    Raises:
        OAuthError: the session does not reach the required ``acr``.
        FlowExpiredError: the request has ended, or the session has.
    """
    check_acr(asked, client, session)
    approval = Approval(
        device_code_hash=_hash(asked),
        client_id=client.client_id,
        request=asked.to_json(),
        user_id=session.user_id,
        session_id=session.id,
        auth_time=session.auth_time,
        auth_age=session.auth_age,
        amr=session.amr,
        acr=session.acr,
    )
    if not await repository.approve(approval):
        raise FlowExpiredError
    await record(
        "device_authorization",
        user_id=session.user_id,
        client_id=client.client_id,
        session_id=session.id,
        detail={"scope": " ".join(asked.scope), "resource": " ".join(asked.resource)},
    )


async def deny(asked: AuthorizationRequest, session: SignedIn | None) -> None:
    """Deny the request of a device, unless it has ended. In the caller's transaction."""
    if await repository.deny(_hash(asked)):
        await record(
            "device_authorization",
            outcome="denied",
            user_id=session.user_id if session else None,
            client_id=asked.client_id,
            session_id=session.id if session else None,
        )


def _hash(asked: AuthorizationRequest) -> bytes:
    assert asked.polled is not None  # noqa: S101 -- set by find_waiting
    return asked.polled.hash
