"""The statements on organizations and their members."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from idp.directory.models import Organization
from idp.directory.repository.filters import NAME
from idp.directory.repository.member_states import is_disabled_by
from idp.directory.repository.sign_in_policies import SignInColumns, conditions
from idp.directory.tables import OrganizationRow
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

_INSERT = f"""
INSERT INTO organization (id, slug, name, created_at, updated_at) VALUES ($1, $2, $3, now(), now())
ON CONFLICT (slug) DO NOTHING RETURNING {all_columns(OrganizationRow)}
"""  # noqa: S608
_BY_ID = f"SELECT {all_columns(OrganizationRow)} FROM organization WHERE id = $1"  # noqa: S608
_KEEP = f"SELECT {all_columns(OrganizationRow)} FROM organization WHERE id = $1 FOR KEY SHARE"  # noqa: S608
_SHARE = f"SELECT {all_columns(OrganizationRow)} FROM organization WHERE id = $1 FOR SHARE"  # noqa: S608
_HAS_ANY = """
SELECT 1 FROM organization_member AS m JOIN organization AS o ON o.id = m.organization_id
WHERE m.user_id = $1 AND m.disabled_at IS NULL
UNION ALL SELECT 1 FROM organization_invitation WHERE email = $2 AND ended_at IS NULL AND expires_at > now() LIMIT 1
"""
_BY_SLUG = f"SELECT {all_columns(OrganizationRow)} FROM organization WHERE slug = $1"  # noqa: S608
_SLUGS = "SELECT id, slug FROM organization WHERE id = ANY ($1::uuid[])"
_ANY_ENABLED = "SELECT FROM organization WHERE id = ANY ($1::uuid[]) AND disabled_at IS NULL LIMIT 1"
_SLUGS_OF_ENABLED = f"{_SLUGS} AND disabled_at IS NULL"
# $3 is "updated_at" as the caller has read it; NULL: any.
_RENAME = f"""
UPDATE organization SET name = $2, updated_at = CASE WHEN name = $2 THEN updated_at ELSE now() END
WHERE id = $1 AND ($3::timestamptz IS NULL OR updated_at = $3) RETURNING {all_columns(OrganizationRow)}
"""  # noqa: S608
_DISABLE = "UPDATE organization SET disabled_at = now(), updated_at = now() WHERE id = $1 AND disabled_at IS NULL"
_ENABLE = "UPDATE organization SET disabled_at = NULL, updated_at = now() WHERE id = $1 AND disabled_at IS NOT NULL"
# Whoever saves an access policy holds its organizations: it is there already, or comes after the deletion.
_HOLD = "SELECT id FROM organization WHERE id = ANY ($1::uuid[]) ORDER BY id FOR KEY SHARE"
_LOCK = "SELECT FROM organization WHERE id = $1 FOR UPDATE"
_LOCK_WITHOUT_KEY = f"SELECT {all_columns(OrganizationRow)} FROM organization WHERE id = $1 FOR NO KEY UPDATE"  # noqa: S608
_USED_BY = """
SELECT DISTINCT c.metadata ->> 'client_name' AS name
FROM access_policy_organization AS p JOIN client AS c ON c.client_id = p.client_id WHERE p.organization_id = $1
ORDER BY 1 LIMIT 10
"""
_DELETE = "DELETE FROM organization WHERE id = $1 AND ($2::timestamptz IS NULL OR updated_at = $2)"
_ADD_MEMBERS = """
INSERT INTO organization_member (user_id, organization_id, origin, created_at)
SELECT u.id, o.id, $3, now() FROM unnest($1::uuid[]) AS u (id), organization AS o WHERE o.id = $2
ON CONFLICT DO NOTHING RETURNING user_id
"""
# The roles of the organization go with the membership, by the foreign key.
_REMOVE_MEMBERS = """
DELETE FROM organization_member WHERE user_id = ANY ($1::uuid[]) AND organization_id = $2 RETURNING user_id
"""
_LEAVE = """
DELETE FROM organization_member
WHERE user_id = $1 AND organization_id = $2 AND disabled_at IS NULL AND NOT managed
"""
_IS_MANAGED = """
SELECT FROM organization_member WHERE user_id = $1 AND organization_id = $2 AND disabled_at IS NULL AND managed
"""
_IS_DISABLED = """
SELECT FROM organization_member AS m WHERE m.user_id = $1 AND m.organization_id = $2 AND m.disabled_at IS NOT NULL
"""
_OF_ORIGIN = """
SELECT m.organization_id FROM organization_member AS m JOIN organization AS o ON o.id = m.organization_id
WHERE m.user_id = $1 AND m.origin = $2 AND m.disabled_at IS NULL ORDER BY m.organization_id
"""
# $4 is "created_at" as the caller has read it, so that it is still the same membership; NULL: any.
_SET_ADMIN = """
UPDATE organization_member AS m SET admin = $3 FROM organization_member AS old
WHERE m.user_id = $1 AND m.organization_id = $2 AND ($4::timestamptz IS NULL OR m.created_at = $4)
  AND old.user_id = m.user_id AND old.organization_id = m.organization_id
RETURNING old.admin <> m.admin AS changed
"""
_MEMBERS_AMONG = "SELECT user_id FROM organization_member WHERE user_id = ANY ($1::uuid[]) AND organization_id = $2"
# The organizations that a user manages, for as long as they are enabled.
_MANAGED = f"""
SELECT {all_columns(OrganizationRow, "o")} FROM organization_member AS m, organization AS o
WHERE m.user_id = $1 AND m.admin AND m.disabled_at IS NULL
  AND o.id = m.organization_id AND o.disabled_at IS NULL ORDER BY o.slug
"""  # noqa: S608
_MANAGES = """
SELECT FROM organization_member AS m, organization AS o
WHERE m.user_id = $1 AND m.organization_id = $2 AND m.admin AND m.disabled_at IS NULL
  AND o.id = m.organization_id AND o.disabled_at IS NULL
"""
_IS_ADMIN_ANYWHERE = "SELECT FROM organization_member WHERE user_id = $1 AND admin LIMIT 1"
_HOLD_ADMIN = """
SELECT FROM organization_member
WHERE user_id = $1 AND organization_id = $2 AND admin AND disabled_at IS NULL FOR SHARE
"""
_HAS_OTHER_ADMIN = """
SELECT FROM organization_member AS m, users AS u
WHERE m.organization_id = $1 AND m.admin AND m.disabled_at IS NULL AND m.user_id <> ALL ($2::uuid[])
  AND u.id = m.user_id AND u.disabled_at IS NULL LIMIT 1
"""
_ADMINS_AMONG = """
SELECT FROM organization_member
WHERE user_id = ANY ($1::uuid[]) AND organization_id = $2 AND admin AND disabled_at IS NULL LIMIT 1
"""
# The users are locked, so that their addresses stay; the domains are held, so that they stay verified.
_AT_DOMAINS = """
SELECT u.id FROM users AS u JOIN organization_domain AS d ON d.domain = split_part(u.email, '@', -1)
WHERE u.id = ANY ($1::uuid[]) AND u.email_verified AND u.disabled_at IS NULL
  AND d.organization_id = $2 AND d.verified_at IS NOT NULL
FOR SHARE OF d
"""


def is_member(user_id: str, organization_id: str, sign_in: SignInColumns | None = None) -> str:
    """Return the SQL condition that a user is a member of an organization, and both are enabled there.

    Args:
        user_id, organization_id: as SQL.
        sign_in: a sign-in that must meet the policy of the organization.
    """
    policy = "".join(f"\n          AND {each}" for each in conditions(sign_in).values()) if sign_in else ""
    # OFFSET 0: otherwise PostgreSQL may read all memberships into a hash table.
    return f"""EXISTS (
        SELECT FROM organization_member AS m, organization AS o
        WHERE m.user_id = {user_id} AND m.organization_id = {organization_id} AND m.disabled_at IS NULL
          AND o.id = m.organization_id AND o.disabled_at IS NULL{policy} OFFSET 0)"""


async def insert_organization(id: UUID, slug: str, name: str) -> Organization | None:
    """Insert an organization. Returns None if the slug is taken."""
    return one(Organization, await fetchrow(_INSERT, id, slug, name))


async def organization_by_id(id: UUID) -> Organization | None:
    return one(Organization, await fetchrow(_BY_ID, id))


async def any_enabled(ids: Collection[UUID]) -> bool:
    """Return whether one of these organizations is enabled."""
    return bool(ids) and await fetchrow(_ANY_ENABLED, list(ids)) is not None


async def keep_organization(id: UUID) -> Organization | None:
    """Return an organization, which is not deleted until the end of the transaction."""
    return one(Organization, await fetchrow(_KEEP, id))


async def share_organization(id: UUID) -> Organization | None:
    """Return an organization, which is neither disabled nor deleted until the end of the transaction."""
    return one(Organization, await fetchrow(_SHARE, id))


async def has_organizations(user_id: UUID, email: str) -> bool:
    """Return whether a user is a member of any organization, or an address has an open invitation."""
    return await fetchrow(_HAS_ANY, user_id, email) is not None


async def lock_organization(id: UUID) -> None:
    """Lock an organization until the end of the transaction."""
    await fetchrow(_LOCK, id)


async def lock_organization_without_key(id: UUID) -> Organization | None:
    """Lock an organization until the end of the transaction, for changes that keep its id, and return it."""
    return one(Organization, await fetchrow(_LOCK_WITHOUT_KEY, id))


async def hold_organizations(ids: Collection[UUID]) -> set[UUID]:
    """Return those of the organizations that exist. They are not deleted before the end of the transaction."""
    return {row["id"] for row in await fetch(_HOLD, list(ids))}


async def clients_using_organization(id: UUID) -> list[str]:
    """Return the names of up to ten clients whose access policies name an organization."""
    return [row["name"] for row in await fetch(_USED_BY, id)]


async def organization_by_slug(slug: str) -> Organization | None:
    return one(Organization, await fetchrow(_BY_SLUG, slug))


async def slugs_of_organizations(ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the slugs of the organizations that exist."""
    return {row["id"]: row["slug"] for row in await fetch(_SLUGS, list(ids))}


async def slugs_of_enabled_organizations(ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the slugs of the organizations that are enabled."""
    return {row["id"]: row["slug"] for row in await fetch(_SLUGS_OF_ENABLED, list(ids))}


async def rename_organization(id: UUID, name: str, expected_at: datetime | None) -> Organization | None:
    """Set the name. Returns None if there is no such organization, or it has changed since ``expected_at``."""
    return one(Organization, await fetchrow(_RENAME, id, name, expected_at))


async def disable_organization(id: UUID) -> bool:
    """Disable an organization. Returns whether this call changed it."""
    return bool(await execute(_DISABLE, id))


async def enable_organization(id: UUID) -> bool:
    """Enable an organization. Returns whether this call changed it."""
    return bool(await execute(_ENABLE, id))


async def delete_organization(id: UUID, expected_at: datetime | None) -> bool:
    """Delete an organization with its members and roles. Returns False if there is no such organization, or it has
    changed since ``expected_at``.
    """
    return bool(await execute(_DELETE, id, expected_at))


async def insert_members(organization_id: UUID, user_ids: Collection[UUID], origin: str) -> list[UUID]:
    """Add users that exist to an organization. Returns those that were not in it."""
    return [row["user_id"] for row in await fetch(_ADD_MEMBERS, list(user_ids), organization_id, origin)]


async def delete_members(organization_id: UUID, user_ids: Collection[UUID]) -> list[UUID]:
    """Remove users from an organization, with its roles. Returns those that were in it."""
    return [row["user_id"] for row in await fetch(_REMOVE_MEMBERS, list(user_ids), organization_id)]


async def delete_own_membership(organization_id: UUID, user_id: UUID) -> bool:
    """Delete a membership that is enabled, with the roles there, unless the organization manages the account. Returns
    False if there is none.
    """
    return bool(await execute(_LEAVE, user_id, organization_id))


async def has_managed_account(organization_id: UUID, user_id: UUID) -> bool:
    """Return whether the SCIM client of an organization made the account of a member, whose membership is enabled."""
    return await fetchrow(_IS_MANAGED, user_id, organization_id) is not None


async def has_disabled_membership(organization_id: UUID, user_id: UUID) -> bool:
    """Return whether a user has a membership that is disabled."""
    return await fetchrow(_IS_DISABLED, user_id, organization_id) is not None


async def organizations_of_origin(user_id: UUID, origin: str) -> list[UUID]:
    """Return the organizations that an origin added a user to. Memberships that are disabled are left out."""
    return [row["organization_id"] for row in await fetch(_OF_ORIGIN, user_id, origin)]


async def set_admin(organization_id: UUID, user_id: UUID, admin: bool, expected_at: datetime | None) -> bool | None:
    """Make a member an administrator of the organization, or no longer.

    Returns:
        whether this changed something; None if the membership is not that of ``expected_at``.
    """
    row = await fetchrow(_SET_ADMIN, user_id, organization_id, admin, expected_at)
    return bool(row["changed"]) if row is not None else None


async def organizations_managed_by(user_id: UUID) -> list[Organization]:
    """Return the enabled organizations that a user manages."""
    return many(Organization, await fetch(_MANAGED, user_id))


async def manages(user_id: UUID, organization_id: UUID) -> bool:
    """Return whether a user manages an organization that is enabled."""
    return await fetchrow(_MANAGES, user_id, organization_id) is not None


async def is_admin_anywhere(user_id: UUID) -> bool:
    """Return whether a user manages an organization, also if the organization or the membership is disabled."""
    return await fetchrow(_IS_ADMIN_ANYWHERE, user_id) is not None


async def hold_admin(user_id: UUID, organization_id: UUID) -> bool:
    """Return whether a user manages an organization. If so, they do until the end of the transaction."""
    return await fetchrow(_HOLD_ADMIN, user_id, organization_id) is not None


async def has_admin_among(organization_id: UUID, user_ids: Collection[UUID]) -> bool:
    """Return whether one of some users manages an organization."""
    return await fetchrow(_ADMINS_AMONG, list(user_ids), organization_id) is not None


async def has_other_admin(organization_id: UUID, user_ids: Collection[UUID]) -> bool:
    """Return whether an enabled user who is none of these manages an organization."""
    return await fetchrow(_HAS_OTHER_ADMIN, organization_id, list(user_ids)) is not None


async def users_at_domains(organization_id: UUID, user_ids: Collection[UUID]) -> set[UUID]:
    """Return those of some locked users who are enabled, with a verified address at a verified domain of an
    organization. The domains stay verified until the end of the transaction.
    """
    return {row["id"] for row in await fetch(_AT_DOMAINS, list(user_ids), organization_id)}


async def members_among(organization_id: UUID, user_ids: Collection[UUID]) -> set[UUID]:
    """Return those of some users who are members of an organization."""
    return {row["user_id"] for row in await fetch(_MEMBERS_AMONG, list(user_ids), organization_id)}


ORGANIZATIONS = Listing(
    source="organization AS o",
    columns="o.id, o.slug, o.name, o.created_at, o.updated_at, o.disabled_at",
    key=Sort("o.id", "uuid"),
    sorts={"slug": Sort("o.slug", "text"), "created_at": Sort("o.created_at")},
    default_sort="slug",
    filters={
        "id": Filter("o.id = {}", "uuid", "One organization."),
        "slug": Filter("o.slug = {}", help="One organization, by its slug."),
        "q": Filter(NAME.format("o.slug"), help="Beginning of the slug.", prepare=str.lower),
        "disabled": Filter("(o.disabled_at IS NOT NULL) = {}", "boolean", "Whether it is disabled."),
        "user_id": Filter(
            "o.id IN (SELECT organization_id FROM organization_member WHERE user_id = {})", "uuid", "Those of a user."
        ),
    },
)

MEMBERS = Listing(
    source="organization_member AS m JOIN users AS u ON u.id = m.user_id"
    " JOIN organization AS o ON o.id = m.organization_id",
    columns="m.user_id, m.organization_id, u.email, u.name, u.disabled_at, m.admin, m.origin, m.created_at,"
    f" CASE WHEN {is_disabled_by('u', 'm.organization_id')} THEN coalesce(m.disabled_at, u.disabled_at)"
    " ELSE m.disabled_at END AS membership_disabled_at",
    key=Sort("m.user_id", "uuid"),
    sorts={"user_id": Sort("m.user_id", "uuid")},
    default_sort="user_id",
    filters={
        "organization_id": Filter("m.organization_id = {}", "uuid", "Of one organization."),
        "user_id": Filter("m.user_id = {}", "uuid", "One user."),
        "admin": Filter("m.admin = {}", "boolean", "Whether they manage the organization."),
        "q": Filter(
            "starts_with(u.email, lower({})) OR starts_with(lower(u.name), lower({}))"
            " OR strpos(lower(u.name), ' ' || lower({})) > 0",
            help="Beginning of the address, or of a part of the name.",
        ),
    },
)
