"""The brandings of the server and of clients, in memory, and what a page shows of them and of an organization's.

A page that names no organization reads nothing.
"""

from contextvars import ContextVar
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from idp.branding import contrast, repository, stylesheets
from idp.branding.models import LINKS, Brand, Branding, Kind, Link
from idp.infra.templates import templates
from idp.settings import settings

TOPIC = "branding"

#: The brand of the request: that of its sign-in, for the pages and mails that name no client. None: the server's.
current: ContextVar[Brand | None] = ContextVar("current_brand", default=None)


class Layer(NamedTuple):
    """The branding of one owner, and the name of that owner where it has set no other."""

    owner: Kind
    name: str | None
    branding: Branding


class Brands:
    """The brandings in memory."""

    def __init__(self) -> None:
        self._by_client: dict[str | None, Branding] = {}

    async def load(self) -> None:
        """Reload all of them. If that fails, the loaded ones stay."""
        self._by_client = await repository.in_memory()
        show_in_templates()

    def server(self) -> Branding:
        """Return the branding of the server, over its settings."""
        return over_settings(self._by_client.get(None, Branding()))

    def of_client(self, client_id: str | None) -> Branding | None:
        return self._by_client.get(client_id) if client_id is not None else None

    def brand(self, client_id: str | None = None, organization: Layer | None = None) -> Brand:
        """Return what a page shows.

        Args:
            client_id: the client that the page is of.
            organization: that of the organization.
        """
        client = self.of_client(client_id)
        layers = (organization, Layer("client", None, client) if client is not None else None)
        return resolve((*filter(None, layers), Layer("server", None, self.server())))


def over_settings(branding: Branding) -> Branding:
    """Return the branding of the server with the values of the settings that it does not set."""
    configured = settings()
    return msgspec.structs.replace(
        branding,
        display_name=branding.display_name or configured.product_name,
        color=branding.color or (configured.theme_color if branding.dark_color is None else None),
        logo_uri=branding.logo_uri or configured.logo_url,
    )


def product_name() -> str:
    """Return the name of the server."""
    return brands.server().display_name or settings().product_name


def show_in_templates() -> None:
    """Show the name and the logo of the server in templates that have no brand."""
    brand = brands.brand()
    templates().show(brand.name, brand.logo_uri)


@lru_cache(maxsize=1024)
def resolve(layers: tuple[Layer, ...]) -> Brand:
    """Return what a page shows: each value of the first layer that has it. The last layer is the server's."""
    named = next(each for each in layers if each.name or each.branding.display_name)
    name = named.branding.display_name or named.name or ""
    looks = _looks(layers)
    logo = next((each.branding for each in layers if each.branding.logo or each.branding.logo_uri), Branding())
    return Brand(
        name=name,
        owner=named.owner,
        title=_first(layers, "title"),
        color=looks.color,
        dark_color=looks.dark_color,
        stylesheet=stylesheets.path(looks),
        logo_uri=_picture(logo.logo) or logo.logo_uri,
        # That of the same owner: another one's would be another logo.
        dark_logo_uri=_picture(logo.dark_logo),
        favicon_uri=_picture(_first(layers, "favicon")),
        links=tuple(filter(None, (_link(layers, kind) for kind in LINKS))),
        ways=next((each.branding.ways for each in layers if each.branding.ways), ()),
    )


def _first(layers: tuple[Layer, ...], name: str) -> str | None:
    return next((value for each in layers if (value := getattr(each.branding, name)) is not None), None)


def _looks(layers: tuple[Layer, ...]) -> Branding:
    """Return the values of the style sheet. The two colours of buttons are of one owner.

    Colours that can be read with those of their own layer may not be with the page colours of another one, which are
    left out then.
    """
    colored = next((each.branding for each in layers if each.branding.color or each.branding.dark_color), Branding())
    names = ("background_color", "dark_background_color", "corners", "font", "background")
    values: dict[str, Any] = {name: _first(layers, name) for name in names}
    found = Branding(color=colored.color, dark_color=colored.dark_color, **values)
    if contrast.problem(found) is None:
        return found
    return msgspec.structs.replace(found, background_color=None, dark_background_color=None)


def _picture(sha256: str | None) -> str | None:
    return f"{stylesheets.PICTURES_PATH}/{sha256}" if sha256 is not None else None


def _link(layers: tuple[Layer, ...], kind: str) -> Link | None:
    found = next((each for each in layers if getattr(each.branding, kind) is not None), None)
    if found is None:
        return None
    own = found.branding.display_name or found.name
    named = own or next(each.branding.display_name or each.name for each in layers if each.owner == "server")
    return Link(kind, getattr(found.branding, kind), found.owner, named or "")


brands = Brands()
