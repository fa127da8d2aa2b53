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
    """Return the colour of links and buttons on a dark page, as in :func:`stylesheet`."""
    return mixed(color, 0.45, "#ffffff")


def stylesheet(color: str) -> str:
    """Return a style sheet with one colour for buttons and links, lighter in dark mode, and readable text on it.

    Args:
        color: such as ``#0f5568``.
    """
    # White and black text have the same contrast at a luminance of 0.179.
    on_color = "#fff" if luminance(color) < 0.179 else INK
    return f"""
:root:not([data-theme]) {{
  --accent: {color};
  --accent-strong: color-mix(in srgb, {color} 80%, #000);
  --accent-soft: color-mix(in srgb, {color} 12%, #fff);
  --on-accent: {on_color};
}}
@media (prefers-color-scheme: dark) {{
  :root:not([data-theme]) {{
    --accent: color-mix(in srgb, {color} 45%, #fff);
    --accent-strong: color-mix(in srgb, {color} 30%, #fff);
    --accent-soft: color-mix(in srgb, {color} 30%, #000);
    --on-accent: {INK};
  }}
}}
"""


def lowest_contrast(color: str) -> float:
    """Return the lowest contrast of the texts that :func:`stylesheet` colours: links on each background of a page, and
    the text on a button, in light and in dark mode.
    """
    dark = in_the_dark(color)
    pairs = [(color, each) for each in (*LIGHT, mixed(color, 0.12, "#ffffff"))]
    pairs += [(dark, each) for each in (*DARK, mixed(color, 0.3, "#000000"))]
    return min(
        *(contrast(*pair) for pair in pairs),
        max(contrast(color, "#ffffff"), contrast(color, INK)),
        contrast(dark, INK),
    )
