"""What a branding may have."""

import base64
import itertools
from typing import Any

import msgspec
import pytest

from idp.branding import contrast, stylesheets, validation
from idp.branding.models import CORNERS, FONTS, PICTURES, Branding
from idp.branding.validation import InvalidBrandingError, checked, without_content
from idp.infra import colors
from idp.infra.pictures import InvalidPictureError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize(
    "values",
    [
        {"color": "#ffcc00"},
        {"color": "red"},
        {"color": "#12345"},
        {"color": '#000000"}'},
        {"color": "#000000;}"},
        {"dark_color": "#101c22"},
        {"dark_color": "url(x)"},
        {"background_color": "#808080"},
        {"dark_background_color": "#ffffff"},
        # Each can be read, and not one on the other.
        {"color": "#737373", "background_color": "#dcdcdc"},
        {"corners": "huge"},
        {"corners": "small; } body { display: none"},
        {"font": "Comic Sans"},
        {"font": "url(https://evil.example)"},
        {"logo_uri": "http://acme.example/logo.png"},
        {"logo_uri": "https://"},
        {"logo_uri": "https://user@acme.example/"},
        {"help_uri": "javascript:alert(1)"},
        {"support_uri": "data:text/html,x"},
        {"imprint_uri": "//acme.example"},
        {"help_uri": "https://acme.example/\x00"},
        {"terms_uri": "https://acme.example/ x"},
        {"terms_uri": "https://\u0430cme.example/"},
        {"privacy_uri": f"https://acme.example/{'x' * 2048}"},
        {"privacy_uri": "https://acme.example:99999/"},
        {"other": "x"},
        {"display_name": "x" * 101},
        {"display_name": "\u202e"},
        {"display_name": "A\x00"},
        {"display_name": "G\u043eogle"},
        {"title": "Two\nlines"},
        {"title": "x" * 81},
        {"logo": "a" * 63},
        {"logo": "../" + "a" * 61},
        {"ways": ["password", "password"]},
        {"ways": ["registration"]},
        {"ways": "password"},
        {"color": 1},
    ],
)
def test_what_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidBrandingError):
        checked(values)


def test_the_refusal_of_a_color_says_what_is_wrong() -> None:
    with pytest.raises(InvalidBrandingError, match=r"#ffcc00 are hard to read: their contrast is 1\.\d to 1.*darker"):
        checked({"color": "#ffcc00"})


def test_what_is_stored() -> None:
    given = {"color": "#8A1C4A", "title": "", "ways": ["passkey"], "corners": "large", "font": "serif"}
    assert checked(given) == Branding(color="#8a1c4a", ways=("passkey",), corners="large", font="serif")


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture(name: str) -> None:
    values, found = without_content({name: url(PNG), "title": "Hello"})
    assert found[values[name]].content == PNG
    assert checked(values).pictures == [values[name]]
    for content in (
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html>",
        PNG + bytes(validation.MAX_BYTES[name]),
    ):
        with pytest.raises((InvalidPictureError, InvalidBrandingError)):
            without_content({name: url(content, "svg+xml")})
    for text in ("data:text/html;base64,PGI+", "data:image/png,x", f"{url(PNG)}=", "data:image/png;base64,A"):
        with pytest.raises(InvalidBrandingError):
            without_content({name: text})


def test_every_style_sheet_is_at_its_address() -> None:
    """And it has nothing of an owner but colours, names of ours and a SHA-256."""
    whole = Branding(
        color="#8a1c4a", dark_color="#e08aae", background_color="#fafafa", dark_background_color="#000000",
        corners="square", font="mono", background="c" * 64,
    )  # fmt: skip
    brandings = [whole, *(Branding(corners=name) for name in CORNERS), *(Branding(font=name) for name in FONTS)]
    for branding in brandings:
        path = stylesheets.path(branding)
        assert path is not None
        style = stylesheets.parse(path.rpartition("/")[2])
        assert style is not None
        found = {name: value for name, value in msgspec.structs.asdict(style).items() if value is not None}
        assert found.items() <= msgspec.structs.asdict(branding).items()
        assert stylesheets.path(Branding(**found)) == path
    style = stylesheets.Style(**{name: getattr(whole, name) for name in stylesheets.Style.__struct_fields__})
    text = stylesheets.content(style)
    assert all(part in text for part in ("#8a1c4a", "#e08aae", "#fafafa", "#000000", f"../pictures/{'c' * 64}"))
    assert stylesheets.path(Branding(title="Hello")) is None


@pytest.mark.parametrize(
    "name",
    [
        "", ".css", "c-8a1c4a_", "c-8a1c4a_.js", "c-8a1c4.css", "c-8A1C4A_.css", "r-large_c-8a1c4a_.css", "r-huge_.css",
        "c-8a1c4a__.css", "f-x;y_.css", "b-..%2f_.css", "c-8a1c4a_.css.css", "\uff10.css",
    ],
)  # fmt: skip
def test_no_other_style_sheets(name: str) -> None:
    assert stylesheets.parse(name) is None


def test_whatever_can_be_read_in_light_mode_can_be_read_in_the_dark() -> None:
    for parts in itertools.product(range(0, 256, 51), repeat=3):
        color = "#" + "".join(f"{part:02x}" for part in parts)
        light = min(colors.contrast(color, each) for each in (*colors.LIGHT, colors.mixed(color, 0.12, "#ffffff")))
        assert (contrast.problem(Branding(color=color)) is None) == (light >= colors.READABLE)
