"""The statements on the branding of organizations."""

from uuid import UUID

from idp.directory.branding_models import Branding, Logo
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.named_queries import NamedQuery
from idp.infra.db.rows import one

_COLUMNS = """
b.organization_id, b.display_name, b.logo_uri, b.logo_version, b.color, b.help_uri, b.terms_uri, b.privacy_uri,
b.updated_at
"""
_OF = f"SELECT {_COLUMNS} FROM organization_branding AS b WHERE b.organization_id = $1"  # noqa: S608
# Of an organization that is disabled, nothing is shown.
_SHOWN_BY_ID, _SHOWN_BY_SLUG = (
    f"""
SELECT {_COLUMNS}, o.name FROM organization AS o JOIN organization_branding AS b ON b.organization_id = o.id
WHERE o.disabled_at IS NULL AND {condition}
"""  # noqa: S608
    for condition in ("o.id = $1", "o.slug = $1")
)
_SAVE = NamedQuery("""
INSERT INTO organization_branding (organization_id, display_name, logo_uri, color, help_uri, terms_uri, privacy_uri,
                                   updated_at)
VALUES (:organization_id, :display_name, :logo_uri, :color, :help_uri, :terms_uri, :privacy_uri, clock_timestamp())
ON CONFLICT (organization_id) DO UPDATE SET
    display_name = :display_name, logo_uri = :logo_uri, color = :color, help_uri = :help_uri, terms_uri = :terms_uri,
    privacy_uri = :privacy_uri, updated_at = clock_timestamp()
RETURNING organization_id
""")
_SAVE_LOGO = """
INSERT INTO organization_branding (organization_id, logo, logo_type, logo_version, updated_at)
VALUES ($1, $2, $3, $4, clock_timestamp())
ON CONFLICT (organization_id) DO UPDATE SET
    logo = $2, logo_type = $3, logo_version = $4, updated_at = clock_timestamp()
"""
_LOGO = """
SELECT b.logo, b.logo_type FROM organization_branding AS b JOIN organization AS o ON o.id = b.organization_id
WHERE b.organization_id = $1 AND b.logo IS NOT NULL AND o.disabled_at IS NULL
"""
_DELETE_LOGO = """
UPDATE organization_branding SET logo = NULL, logo_type = NULL, logo_version = NULL, updated_at = clock_timestamp()
WHERE organization_id = $1 AND logo IS NOT NULL
"""
_DELETE = "DELETE FROM organization_branding WHERE organization_id = $1"


class ShownBranding(Branding, frozen=True, kw_only=True):
    """A branding with the name of its organization."""

    name: str


async def branding_of(organization_id: UUID) -> Branding | None:
    return one(Branding, await fetchrow(_OF, organization_id))


async def shown_by_id(organization_id: UUID) -> ShownBranding | None:
    """Return the branding of an organization that is enabled."""
    return one(ShownBranding, await fetchrow(_SHOWN_BY_ID, organization_id))


async def shown_by_slug(slug: str) -> ShownBranding | None:
    """Return the branding of an organization that is enabled."""
    return one(ShownBranding, await fetchrow(_SHOWN_BY_SLUG, slug))


async def save_branding(organization_id: UUID, **values: str | None) -> None:
    """Insert or replace the branding of an organization, except its uploaded logo."""
    await _SAVE.fetchrow(organization_id=organization_id, **values)


async def save_logo(organization_id: UUID, content: bytes, media_type: str, version: str) -> None:
    await execute(_SAVE_LOGO, organization_id, content, media_type, version)


async def logo_of(organization_id: UUID) -> Logo | None:
    """Return the uploaded logo of an organization that is enabled."""
    return one(Logo, await fetchrow(_LOGO, organization_id))


async def delete_logo(organization_id: UUID) -> bool:
    """Delete the uploaded logo. Returns False if there is none."""
    return bool(await execute(_DELETE_LOGO, organization_id))


async def delete_branding(organization_id: UUID) -> bool:
    """Delete the branding. Returns False if there is none."""
    return bool(await execute(_DELETE, organization_id))
