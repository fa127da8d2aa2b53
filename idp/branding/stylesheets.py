"""The style sheet of a branding, at an address that follows from its values and names no owner.

Only colours, the SHA-256 of a picture and names of closed sets get into it, so no text of an owner is CSS.
"""

import re
from typing import Final

import msgspec

from idp.branding.models import CORNERS, FONTS, Branding
from idp.infra import colors

PATH: Final = "/branding/styles"
#: Where pictures are served, by their SHA-256.
PICTURES_PATH: Final = "/branding/pictures"

_COLOR, _WORD, _SHA256 = "[0-9a-f]{6}", "[a-z]{1,20}", "[0-9a-f]{64}"
#: The values of a style sheet, and their letters in its address.
_PARTS: Final = {
    "color": ("c", _COLOR), "dark_color": ("d", _COLOR), "background_color": ("p", _COLOR),
    "dark_background_color": ("n", _COLOR), "corners": ("r", _WORD), "font": ("f", _WORD), "background": ("b", _SHA256),
}  # fmt: skip
_NAME: Final = re.compile("".join(rf"(?:{letter}-(?P<{name}>{form})_)?" for name, (letter, form) in _PARTS.items()))


#: What a preview puts in place of a query for the preference of the browser.
SCHEMES: Final = {"light": "(max-width: 0)", "dark": "(min-width: 0)"}
_DARK: Final = re.compile(r"\(prefers-color-scheme: ?dark\)")


class Style(msgspec.Struct, frozen=True):
    """The values of a style sheet, as in :class:`Branding`."""

    color: str | None = None
    dark_color: str | None = None
    background_color: str | None = None
    dark_background_color: str | None = None
    corners: str | None = None
    font: str | None = None
    background: str | None = None


def path(branding: Branding) -> str | None:
    """Return the path of the style sheet of a branding; None: it needs none."""
    parts = [
        f"{letter}-{value.removeprefix('#')}_"
        for name, (letter, _) in _PARTS.items()
        if (value := getattr(branding, name)) is not None
    ]
    return f"{PATH}/{''.join(parts)}.css" if parts else None


def parse(name: str) -> Style | None:
    """Return the values in the name of a style sheet; None: there is no such one."""
    stem, dot, kind = name.partition(".")
    found = _NAME.fullmatch(stem)
    if not stem or dot + kind != ".css" or found is None:
        return None
    values = {part: value for part, value in found.groupdict().items() if value is not None}
    if values.get("corners", "medium") not in CORNERS or values.get("font", "system") not in FONTS:
        return None
    return Style(**{part: f"#{value}" if _PARTS[part][1] == _COLOR else value for part, value in values.items()})


def content(style: Style) -> str:
    """Return the style sheet."""
    light, dark = _light(style), _dark(style)
    text = ":root:not([data-theme]) {\n" + "".join(f"  --{name}: {value};\n" for name, value in light.items()) + "}\n"
    if dark:
        inner = "".join(f"    --{name}: {value};\n" for name, value in dark.items())
        text += f"@media (prefers-color-scheme: dark) {{\n  :root:not([data-theme]) {{\n{inner}  }}\n}}\n"
    return text + (_picture(style.background) if style.background is not None else "")


def in_scheme(text: str, scheme: str | None) -> str:
    """Return a style sheet or a page that is light or dark whatever the browser prefers, for a preview.

    Args:
        scheme: ``light`` or ``dark``. Another value changes nothing.
    """
    condition = SCHEMES.get(scheme or "")
    return _DARK.sub(condition, text) if condition is not None else text


def _light(style: Style) -> dict[str, str]:
    found = colors.properties(style.color) if style.color is not None else {}
    if style.background_color is not None:
        found["paper"] = style.background_color
    if style.corners is not None:
        found["radius"], found["card-radius"] = CORNERS[style.corners]
    if style.font is not None:
        found["pico-font-family-sans-serif"] = FONTS[style.font]
        found["pico-font-family"] = FONTS[style.font]
    return found


def _dark(style: Style) -> dict[str, str]:
    found = colors.dark_properties(style.color, style.dark_color)
    if style.dark_background_color is not None:
        found["paper"] = style.dark_background_color
    elif style.background_color is not None:
        found["paper"] = colors.DARK[1]
    return found


def _picture(sha256: str) -> str:
    """Return the rules of a picture behind the card. Texts around the card keep a plain background."""
    return f"""
body.narrow {{
  background: var(--paper) url("../pictures/{sha256}") center / cover no-repeat fixed;
}}
body.narrow::before {{
  display: none;
}}
body.narrow > :is(header, footer) {{
  background: var(--paper);
}}
"""
