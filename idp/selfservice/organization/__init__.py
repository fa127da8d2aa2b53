"""The pages for administrators of an organization, `/organization/{slug}`: one file for each kind of record.

They show and change one organization only (docs/decisions/0081-administrators-of-an-organization.md). A page is
declared with :func:`idp.selfservice.organization.page.page`.
"""

from idp.selfservice.organization import (
    details,
    domains,
    events,
    invitations,
    invite,
    member_roles,
    members,
    policy,
    role_parts,
    roles,
    scim_tokens,
)
from idp.selfservice.organization.page import ROUTES as PAGES

__all__ = [
    "ROUTES",
    "details",
    "domains",
    "events",
    "invitations",
    "invite",
    "member_roles",
    "members",
    "policy",
    "role_parts",
    "roles",
    "scim_tokens",
]

ROUTES = [*PAGES]
