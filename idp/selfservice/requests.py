"""`/account/requests`: the requests of applications that wait for the user (CIBA)."""

from typing import Any

from litestar import Request, Response, get

from idp.http.access import Access
from idp.infra.geoip import place
from idp.oauth.ciba import repository, service
from idp.oauth.clients.documents.identifiers import shown_name
from idp.oauth.clients.registry import registry
from idp.selfservice.account_page import account_page, require_session


@get(service.PATH, opt={"access": Access.PAGE})
async def show_requests(request: Request[Any, Any, Any]) -> Response[Any]:
    """Show the requests that wait. Each has a page of its own, on which the user decides."""
    account = await require_session(request, service.PATH)
    if isinstance(account, Response):
        return account
    found = []
    for waiting in await repository.all_waiting(account.user.id):
        client = registry.client(waiting.client_id)
        if client is None:
            continue
        found.append(
            {
                "path": f"{service.PATH}/{waiting.id}",
                "client_name": shown_name(client.client_id, client.client_name),
                "client_uri": None if client.origin == "document" else client.client_uri,
                "logo_uri": client.logo_uri,
                "binding_message": waiting.binding_message,
                "place": place(waiting.ip_address),
                "created_at": waiting.created_at,
            }
        )
    return account_page(request, "requests", account, requests=found)


ROUTES = [show_requests]
