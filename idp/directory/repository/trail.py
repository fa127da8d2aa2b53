"""The audit events of one organization, as its administrators see them.

Only kinds that are listed here are shown, without network addresses, requests and sessions. Nobody is named who is not
a member: neither administrators of the server nor users of other organizations.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from idp.infra.db.listing import Filter, Listing, Sort, utc

#: The kinds that are shown, and which values of their detail.
KINDS: Mapping[str, tuple[str, ...]] = {
    "organization_created": (),
    "organization_updated": (),
    "organization_policy_set": (),
    "organization_branding_set": (),
    "organization_disabled": (),
    "organization_enabled": (),
    "organization_member_added": (),
    "organization_member_removed": (),
    "organization_member_disabled": (),
    "organization_member_enabled": (),
    "organization_admin_granted": (),
    "organization_admin_revoked": (),
    "organization_invitation_created": (),
    "organization_invitation_resent": (),
    "organization_invitation_accepted": (),
    "organization_invitation_declined": (),
    "organization_invitation_revoked": (),
    "organization_domain_claimed": ("domain",),
    "organization_domain_verified": ("domain",),
    "organization_domain_missing": ("domain",),
    "organization_domain_lost": ("domain",),
    "organization_domain_removed": ("domain",),
    "role_created": ("name",),
    "role_updated": ("name",),
    "role_deleted": ("name",),
    "role_contained_added": ("role", "contained"),
    "role_contained_removed": ("role", "contained"),
    "user_role_granted": ("name",),
    "user_role_revoked": ("name",),
    "scim_token_created": ("name",),
    "scim_token_rotated": ("name",),
    "scim_token_deleted": ("name",),
}


class OrganizationEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event.

    Attributes:
        of_user: whether it concerns a user.
        user_id, email: that user, if a member; otherwise None.
        by_id, by: who caused it, if a member; otherwise None, as for administrators of the server.
        detail: the values of :data:`KINDS`.
    """

    id: UUID
    at: datetime
    event: str
    of_user: bool
    user_id: UUID | None
    email: str | None
    by_id: UUID | None
    by: str | None
    detail: Mapping[str, str]


def read(row: asyncpg.Record) -> OrganizationEvent:
    """Return the event of a row."""
    detail: Mapping[str, Any] = msgspec.json.decode(row["detail"])
    shown = {name: str(detail[name]) for name in KINDS[row["event"]] if name in detail}
    values = {name: row[name] for name in OrganizationEvent.__struct_fields__ if name != "detail"}
    return OrganizationEvent(detail=shown, **values)


# An event has no actor if its user acts for themselves: only a person accepts or declines.
_ACTOR = """CASE WHEN a.actor LIKE 'user:%' THEN substring(a.actor FROM 6)::uuid
                         WHEN a.event IN ('organization_invitation_accepted', 'organization_invitation_declined')
                         THEN a.user_id END"""
_IN_IT = "{0}.organization_id::text = a.detail ->> 'organization_id'"
EVENTS = Listing(
    source=f"""audit_event AS a
    LEFT JOIN organization_member AS m ON m.user_id = a.user_id AND {_IN_IT.format("m")}
    LEFT JOIN users AS u ON u.id = m.user_id
    LEFT JOIN organization_member AS c ON {_IN_IT.format("c")}
        AND c.user_id = {_ACTOR}
    LEFT JOIN users AS b ON b.id = c.user_id""",
    columns="a.id, a.at, a.event, a.user_id IS NOT NULL AS of_user, u.id AS user_id, u.email, b.id AS by_id,"
    " b.email AS by, a.detail",
    key=Sort("a.id", "uuid"),
    sorts={"at": Sort("a.at")},
    default_sort="-at",
    filters={
        "organization_id": Filter("a.detail ->> 'organization_id' = {}", help="Of one organization."),
        "since": Filter("a.at >= {}", "timestamptz", "At this time or later.", prepare=utc),
        "until": Filter("a.at < {}", "timestamptz", "Before this time.", prepare=utc),
        "event": Filter("a.event = {}", help="Of this kind."),
        "user_id": Filter("m.user_id = {}", "uuid", "About this member."),
    },
    where="a.event IN ('" + "', '".join(KINDS) + "')",
)
