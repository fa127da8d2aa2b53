"""Colours, and whether text in them can be read (WCAG 2.2)."""

import re
from typing import Final

#: The lowest contrast of text (success criterion 1.4.3, level AA).
READABLE: Final = 4.5
#: The backgrounds of pages in light and in dark mode: cards, the page, and parts that are set off (idp.css).
LIGHT: Final = ("#ffffff", "#f4f6f7", "#eef2f4")
DARK: Final = ("#131b1f", "#0b1114", "#1a2429")
#: Text on a colour, where white is not readable.
INK: Final = "#101c22"
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def is_color(text: str) -> bool:
    """Return whether a text is a colour such as ``#0f5568``."""
    return _COLOR.fullmatch(text) is not None


def luminance(color: str) -> float:
    """Return the relative luminance of a colour, from 0 (black) to 1 (white)."""
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(color: str, other: str) -> float:
    """Return the contrast ratio of two colours, from 1 (the same) to 21 (black and white)."""
    darker, lighter = sorted((luminance(color), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def mixed(color: str, share: float, other: str) -> str:
    """Return a share of a colour with the rest of another one, as ``color-mix(in srgb, …)``."""
    parts = (round(int(color[at : at + 2], 16) * share + int(other[at : at + 2], 16) * (1 - share)) for at in (1, 3, 5))
    return "#" + "".join(f"{part:02x}" for part in parts)


def in_the_dark(color: str) -> str:
    """Return the colour of links and buttons on a dark page, if there is no other for it."""
    return mixed(color, 0.45, "#ffffff")


def shown_in_the_dark(color: str | None, dark: str | None) -> str | None:
    """Return the colour on a dark page: its own one, or a lighter first one; None: there is neither."""
    return dark or (in_the_dark(color) if color is not None else None)


def on(color: str) -> str:
    """Return the colour of text on a colour: white or black, whichever has more contrast."""
    # Both have the same contrast at a luminance of 0.179.
    return "#ffffff" if luminance(color) < 0.179 else INK


def properties(color: str) -> dict[str, str]:
    """Return the custom properties of idp.css for a colour of buttons and links."""
    return {
        "accent": color,
        "accent-strong": f"color-mix(in srgb, {color} 80%, #000)",
        "accent-soft": f"color-mix(in srgb, {color} 12%, #fff)",
        "on-accent": on(color),
    }


def dark_properties(color: str | None, dark: str | None) -> dict[str, str]:
    """Return the custom properties in dark mode: of a colour of its own, or of the first colour made lighter."""
    shown = shown_in_the_dark(color, dark)
    if shown is None:
        return {}
    strong = f"color-mix(in srgb, {dark} 70%, #fff)" if dark else f"color-mix(in srgb, {color} 30%, #fff)"
    soft = f"color-mix(in srgb, {dark} 20%, #000)" if dark else f"color-mix(in srgb, {color} 30%, #000)"
    return {"accent": shown, "accent-strong": strong, "accent-soft": soft, "on-accent": on(shown)}
