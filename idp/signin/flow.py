"""The sign-in flow: one attempt to find out who is at the browser, held on the server and named in the URL.

Whoever needs to know starts a flow with the path to come back to. The flow ends once, with a session or cancelled.
"""

from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import Cookie

from idp.db.engine import execute, fetchrow
from idp.errors import PageError
from idp.settings import settings
from idp.web.binding import Binding


class Display(msgspec.Struct, frozen=True):
    """What the pages show of the application that the person comes from.

    ``origin`` is where the browser finally goes, which the pages' content policy must allow.
    """

    client_name: str
    origin: str
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None


class Flow(msgspec.Struct, frozen=True):
    """An unfinished flow of this browser. ``return_to`` and ``cancel_to`` are paths of our own."""

    binding: Binding
    return_to: str
    cancel_to: str | None
    login_hint: str
    display: Display | None


_INSERT = """
    INSERT INTO signin_flow (id, browser_hash, return_to, cancel_to, login_hint, display, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, now(), now() + make_interval(secs => $7))
"""
_FIND = """
    SELECT return_to, cancel_to, login_hint, display, finished_at IS NOT NULL AS finished, expires_at > now() AS live
    FROM signin_flow WHERE id = $1 AND browser_hash = $2
"""
_FINISH = """
    UPDATE signin_flow SET finished_at = now()
    WHERE id = $1 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > now()
"""


async def start(
    return_to: str, *, cancel_to: str | None = None, login_hint: str = "", display: Display | None = None
) -> Binding:
    """Start a flow. Send the browser to :func:`path` with the binding's cookie."""
    binding = Binding.new()
    shown = msgspec.json.encode(display).decode() if display else None
    await execute(_INSERT, binding.id, binding.hash, return_to, cancel_to, login_hint, shown, settings().flow_lifetime)
    return binding


def path(binding: Binding) -> str:
    return f"/login/{binding.id}"


def cookie(binding: Binding) -> Cookie:
    """The cookie that binds a new flow to the browser."""
    return binding.cookie(settings().flow_lifetime)


async def load(request: Request[Any, Any, Any], id: str) -> Flow:
    """The flow of this browser that the URL names.

    Raises:
        PageError: it is another browser's, unknown, expired or finished.
    """
    binding = Binding.read(request, id)
    row = await fetchrow(_FIND, binding.id, binding.hash) if binding else None
    if binding is None or row is None or not row["live"]:
        raise expired()
    if row["finished"]:
        raise finished()
    display = msgspec.json.decode(row["display"], type=Display) if row["display"] else None
    return Flow(binding, row["return_to"], row["cancel_to"], row["login_hint"], display)


async def finish(flow: Flow) -> None:
    """End the flow, once. Runs in the transaction of what it leads to.

    Raises:
        PageError: it ended meanwhile.
    """
    if not await execute(_FINISH, flow.binding.id, flow.binding.hash):
        raise finished()


def expired() -> PageError:
    return PageError(
        "This sign-in has expired",
        "It was open for too long, or was started in another browser. Go back to the application and sign in again.",
    )


def finished() -> PageError:
    return PageError(
        "This sign-in is already finished",
        "You can close this tab, or go back to the application that you came from.",
    )
