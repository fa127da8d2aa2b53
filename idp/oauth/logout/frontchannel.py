"""OpenID Connect Front-Channel Logout 1.0: the page after a sign-out loads a URL of each client of the session."""

import re
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from idp.oauth import subjects
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.uris import origin_of
from idp.oauth.logout.repository import clients_of_session
from idp.settings import settings
from idp.signin.sessions import SignedIn

#: The reason of a session that ended on this server's page for it, which alone has the frames.
LOGOUT_PAGE = "logout_page"
#: What may stand in the content policy. A registered URI has no other origin; this does not depend on it.
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-_~\[\]:]+")


class Frame(NamedTuple):
    """A frame that tells a client of the sign-out, and its origin for the content policy."""

    url: str
    origin: str


async def frames(session: SignedIn) -> list[Frame]:
    """Return the frames for the clients that took part in a session (section 3)."""
    clients = map(registry.client, await clients_of_session(session.user_id, session.id))
    found = [frame(client, session.id) for client in clients if client is not None]
    return [each for each in found if each is not None]


def frame(client: Client, session_id: UUID) -> Frame | None:
    """Return the frame for a client of a session. None if it has no URI that can be framed."""
    uri = client.frontchannel_logout_uri
    origin = origin_of(uri) if uri is not None else None
    if uri is None or origin is None or not _ORIGIN.fullmatch(origin):
        return None
    if client.frontchannel_logout_session_required:
        named = urlencode({"iss": settings().issuer, "sid": subjects.sid(client, session_id)})
        uri = f"{uri}{'&' if '?' in uri else '?'}{named}"
    return Frame(uri, origin)
