"""The brand that a mail shows: of an organization, an application or the server."""

from collections.abc import Mapping
from typing import Any

from idp.infra import colors
from idp.settings import settings

COLOR = "#0f5568"
#: The fields of ``brand`` in the templates. All but the name may be None.
FIELDS = (
    *("name", "logo_uri", "color", "dark_color", "on_color", "on_dark_color"),
    *("help_uri", "support_uri", "terms_uri", "privacy_uri", "imprint_uri"),
)


def complete(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a brand with all :data:`FIELDS`. What is not given is that of the server."""
    brand = _server() | {name: value for name, value in (given or {}).items() if value is not None}
    if brand["dark_color"] is None:
        brand["dark_color"] = colors.in_the_dark(brand["color"])
    brand["logo_uri"] = _shown_by_mail_programs(brand["logo_uri"])
    return brand | {"on_color": _text_on(brand["color"]), "on_dark_color": _text_on(brand["dark_color"])}


def _server() -> dict[str, Any]:
    own = {
        "name": settings().product_name,
        "logo_uri": settings().logo_url,
        "color": settings().theme_color or COLOR,
        "dark_color": None,
    }
    return dict.fromkeys(FIELDS) | own


def _shown_by_mail_programs(logo: str | None) -> str | None:
    """Return the absolute URL of a logo; None for SVG, which most mail programs do not show."""
    if logo is None or logo.partition("?")[0].lower().endswith(".svg"):
        return None
    return f"{settings().issuer}{logo}" if logo.startswith("/") else logo


def _text_on(color: str) -> str:
    return max(("#ffffff", colors.INK), key=lambda text: colors.contrast(color, text))
