"""The form of a branding: its fields in sections, and reading it."""

from collections.abc import Mapping
from typing import Any

from idp.admin.console.branding_owners import entered
from idp.admin.console.components import Field
from idp.branding.models import CORNERS, FONTS, PICTURES, WAYS, Branding

_NEXT = "Nothing chosen"
_WAY_LABELS = dict(zip(WAYS, ("Password", "Code by email", "Passkey", "Account at another provider"), strict=True))
_SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Name": {
        "display_name": ("Name", "On pages and in mails."),
        "title": ("Heading of the sign-in page", "Such as “Welcome to Acme”. Empty: “Sign in”, translated."),
    },
    "Colours": {
        "color": ("Buttons and links", "Such as #0f5568. It must be dark enough to read links in it."),
        "dark_color": ("Buttons and links in the dark", "Empty: a lighter shade of the first colour."),
        "background_color": ("Page", "The colour around the card, such as #f4f6f7."),
        "dark_background_color": ("Page in the dark", "Such as #0b1114."),
    },
    "Shape and font": {
        "corners": ("Corners", ""),
        "font": ("Font", "Fonts of the device of the user. No page loads one from elsewhere."),
    },
    "Logo": {
        "logo_uri": ("URL of the logo", "By https. An uploaded logo is shown instead."),
    },
    "Links": {
        "help_uri": ("Help", "By https."),
        "support_uri": ("Contact", "By https."),
        "privacy_uri": ("Privacy policy", "By https."),
        "terms_uri": ("Terms", "By https."),
        "imprint_uri": ("Imprint", "By https."),
    },
    "Ways to sign in": {
        "way_1": ("First", "Only the order. What a client and an organisation allow stays as it is."),
        "way_2": ("Second", ""),
        "way_3": ("Third", ""),
        "way_4": ("Fourth", ""),
    },
}  # fmt: skip
_CHOICES: Mapping[str, Mapping[str, str]] = {
    "corners": {name: name.capitalize() for name in CORNERS},
    "font": {name: name.capitalize() for name in FONTS},
    **{f"way_{number}": _WAY_LABELS for number in range(1, 1 + len(WAYS))},
}


def values(branding: Branding) -> dict[str, str]:
    """Return the fields of the form for a branding."""
    ways = {f"way_{number}": way for number, way in enumerate(branding.ways, start=1)}
    return {name: getattr(branding, name, None) or ways.get(name, "") for part in _SECTIONS.values() for name in part}


def fields(shown: Mapping[str, str]) -> list[Field]:
    """Return the fields with these values."""
    return [
        Field(
            name, label, shown.get(name, ""), "choice" if name in _CHOICES else "text", about, section=section,
            choices=(("", _NEXT), *_CHOICES.get(name, {}).items()),
        )
        for section, part in _SECTIONS.items()
        for name, (label, about) in part.items()
    ]  # fmt: skip


def read(form: Mapping[str, str], before: Branding) -> dict[str, Any]:
    """Return the values of a form, with the pictures of the branding, which it does not have."""
    found: dict[str, Any] = {
        name: entered(form, name) for part in _SECTIONS.values() for name in part if not name.startswith("way_")
    }
    ways = [way for number in range(1, len(WAYS) + 1) if (way := entered(form, f"way_{number}"))]
    return found | {name: getattr(before, name) for name in PICTURES} | {"ways": list(dict.fromkeys(ways))}
