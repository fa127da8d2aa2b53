"""Models: the values that an owner sets, the owners, and the result for a page or a mail."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

Kind = Literal["server", "client", "organization"]

#: Radii of fields and buttons, and of cards.
CORNERS: Final = {
    "square": ("0", "0"),
    "small": ("0.25rem", "0.375rem"),
    "medium": ("0.5rem", "0.875rem"),
    "large": ("1rem", "1.5rem"),
}
#: Stacks of fonts that are installed. No page loads one from elsewhere.
FONTS: Final = {
    "system": 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial,'
    " sans-serif",
    "humanist": 'Seravek, "Gill Sans Nova", Ubuntu, Calibri, "DejaVu Sans", "Noto Sans", sans-serif',
    "geometric": 'Avenir, Montserrat, Corbel, "URW Gothic", "Noto Sans", sans-serif',
    "rounded": 'ui-rounded, "Hiragino Maru Gothic ProN", Quicksand, Comfortaa, Manjari, "Arial Rounded MT Bold",'
    ' "Noto Sans", sans-serif',
    "serif": 'Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, "Noto Serif", serif',
    "mono": 'ui-monospace, "Cascadia Code", "Source Code Pro", Menlo, Consolas, "DejaVu Sans Mono", monospace',
}
#: Ways to sign in that a branding orders. Which of them are allowed is decided elsewhere.
WAYS: Final = ("password", "email_code", "passkey", "upstream")
COLORS: Final = ("color", "dark_color", "background_color", "dark_background_color")
PICTURES: Final = ("logo", "dark_logo", "favicon", "background")
LINKS: Final = ("help_uri", "support_uri", "privacy_uri", "terms_uri", "imprint_uri")
URIS: Final = ("logo_uri", *LINKS)
TEXTS: Final = ("display_name", "title")


class Branding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The values that an owner has set. None: nothing, so that the next owner decides.

    Attributes:
        display_name: the name on pages and in mails.
        title: the heading of the sign-in page.
        color, dark_color: of buttons and links, such as ``#0f5568``. Without the second one, it is a lighter first one.
        background_color, dark_background_color: of the page, around its card.
        corners, font: a name of :data:`CORNERS`, of :data:`FONTS`.
        logo_uri: a picture elsewhere.
        logo: the SHA-256 of an uploaded one, in hexadecimal, which is shown instead.
        dark_logo, favicon, background: the SHA-256 of other uploaded pictures.
        ways: the ways to sign in that come first.
    """

    display_name: str | None = None
    title: str | None = None
    color: str | None = None
    dark_color: str | None = None
    background_color: str | None = None
    dark_background_color: str | None = None
    corners: str | None = None
    font: str | None = None
    logo_uri: str | None = None
    logo: str | None = None
    dark_logo: str | None = None
    favicon: str | None = None
    background: str | None = None
    help_uri: str | None = None
    support_uri: str | None = None
    privacy_uri: str | None = None
    terms_uri: str | None = None
    imprint_uri: str | None = None
    ways: tuple[str, ...] = ()

    @property
    def pictures(self) -> list[str]:
        """The SHA-256 of the pictures that it refers to."""
        return sorted({value for name in PICTURES if (value := getattr(self, name)) is not None})


FIELDS: Final = Branding.__struct_fields__


class Owner(msgspec.Struct, frozen=True):
    """Whose branding it is: a client's, an organization's, or the server's."""

    client_id: str | None = None
    organization_id: UUID | None = None

    @property
    def kind(self) -> Kind:
        if self.organization_id is not None:
            return "organization"
        return "client" if self.client_id is not None else "server"


SERVER: Final = Owner()


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a branding.

    Attributes:
        branding: None: it was removed.
        actor: who made it, as in audit events.
        replaced_at: None: it is the current one.
    """

    id: UUID
    branding: Branding | None
    actor: str
    created_at: datetime
    replaced_at: datetime | None


class Picture(msgspec.Struct, frozen=True):
    """An uploaded picture."""

    content: bytes
    media_type: str


class Link(msgspec.Struct, frozen=True):
    """A link of the footer: one of :data:`LINKS`, and whose it is."""

    kind: str
    uri: str
    owner: Kind
    name: str


class Brand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The resolved values for a page or a mail.

    Attributes:
        owner: whose name it is. With another owner than the server, pages show the name of the server too.
        stylesheet: the path of its style sheet; None: it has none.
        logo_uri, dark_logo_uri, favicon_uri: URLs, or paths of this server.
    """

    name: str
    owner: Kind = "server"
    title: str | None = None
    color: str | None = None
    dark_color: str | None = None
    stylesheet: str | None = None
    logo_uri: str | None = None
    dark_logo_uri: str | None = None
    favicon_uri: str | None = None
    links: tuple[Link, ...] = ()
    ways: tuple[str, ...] = ()
