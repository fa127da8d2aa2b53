"""The routes of development mode."""

from typing import Any

from litestar import Request, Router

from idp.dev import demo, mailbox, start
from idp.infra import i18n


async def _in_english(request: Request[Any, Any, Any]) -> None:
    """These pages are for developers, and are not translated."""
    i18n.locale.set(i18n.SOURCE)


ROUTES = [
    Router("/", route_handlers=[*start.ROUTES, *demo.ROUTES, *mailbox.ROUTES], before_request=_in_english),
]
