"""The brand that a mail shows: of an organization, an application or the server."""

from collections.abc import Mapping
from typing import Any, Final

from idp.branding.models import LINKS, Brand
from idp.branding.registry import brands, product_name
from idp.infra import colors
from idp.mail.names import suitable_name
from idp.settings import settings

COLOR: Final = "#0f5568"
#: The fields of ``brand`` in the templates. The links and the logo may be None.
FIELDS: Final = ("name", "logo_uri", "color", "dark_color", "on_color", "on_dark_color", *LINKS)


def for_mail(brand: Brand) -> dict[str, Any]:
    """Return what is stored of a brand with a mail, for :func:`complete`."""
    name = brand.name if brand.owner == "server" else suitable_name(brand.name)
    found = {"name": name, "logo_uri": brand.logo_uri, "color": brand.color, "dark_color": brand.dark_color}
    return found | {link.kind: link.uri for link in brand.links}


def complete(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a brand with all :data:`FIELDS`.

    Args:
        given: what :func:`for_mail` returned. None: the brand of the server.
    """
    brand = dict.fromkeys(FIELDS) | dict(given if given is not None else for_mail(brands.brand()))
    color = brand["color"] or COLOR
    dark_color = colors.shown_in_the_dark(color, brand["dark_color"]) or color
    shown = {"color": color, "dark_color": dark_color}
    readable = {"on_color": _text_on(color), "on_dark_color": _text_on(dark_color)}
    logo = _shown_by_mail_programs(brand["logo_uri"])
    return brand | shown | readable | {"name": brand["name"] or product_name(), "logo_uri": logo}


def _shown_by_mail_programs(logo: str | None) -> str | None:
    """Return the absolute URL of a logo; None for SVG, which most mail programs do not show."""
    if logo is None or logo.partition("?")[0].lower().endswith(".svg"):
        return None
    return f"{settings().issuer}{logo}" if logo.startswith("/") else logo


def _text_on(color: str) -> str:
    return max(("#ffffff", colors.INK), key=lambda text: colors.contrast(color, text))
