"""The audit events of an organization."""

from typing import Any

from litestar import Response

from idp.directory.repository import trail
from idp.infra.i18n import gettext as _
from idp.selfservice.organization.page import Visit, next_url, page, render, rows


def _words(event: trail.OrganizationEvent) -> str:
    """Return what happened, in one sentence."""
    role, domain = event.detail.get("name", ""), event.detail.get("domain", "")
    outer, inner = event.detail.get("role", ""), event.detail.get("contained", "")
    who = event.email or _("a user who is no longer a member")
    return {
        "organization_created": _("The organisation was created"),
        "organization_updated": _("The organisation was renamed"),
        "organization_branding_set": _("How a sign-in looks was changed"),
        "organization_policy_set": _("What a sign-in needs was changed"),
        "organization_member_disabled": _("Membership disabled: %(who)s", who=who),
        "organization_member_enabled": _("Membership enabled: %(who)s", who=who),
        "organization_disabled": _("The organisation was disabled"),
        "organization_enabled": _("The organisation was enabled"),
        "organization_member_added": _("Added: %(who)s", who=who),
        "organization_member_removed": _("Removed: %(who)s", who=who),
        "organization_admin_granted": _("Manages the organisation: %(who)s", who=who),
        "organization_admin_revoked": _("No longer manages the organisation: %(who)s", who=who),
        "organization_invitation_created": _("An invitation was sent"),
        "organization_invitation_resent": _("An invitation was sent again"),
        "organization_invitation_accepted": _("Accepted an invitation: %(who)s", who=who),
        "organization_invitation_declined": _("An invitation was declined"),
        "organization_invitation_revoked": _("An invitation was revoked"),
        "organization_domain_claimed": _("Domain %(domain)s was claimed", domain=domain),
        "organization_domain_verified": _("Domain %(domain)s was verified", domain=domain),
        "organization_domain_missing": _("The record of domain %(domain)s was not found", domain=domain),
        "organization_domain_lost": _("Domain %(domain)s is no longer verified", domain=domain),
        "organization_domain_removed": _("Domain %(domain)s was removed", domain=domain),
        "role_created": _("Role %(role)s was created", role=role),
        "role_updated": _("Role %(role)s was changed", role=role),
        "role_deleted": _("Role %(role)s was deleted", role=role),
        "role_contained_added": _("Role %(outer)s contains %(inner)s", outer=outer, inner=inner),
        "role_contained_removed": _("Role %(outer)s no longer contains %(inner)s", outer=outer, inner=inner),
        "user_role_granted": _("Role %(role)s was given to %(who)s", role=role, who=who),
        "user_role_revoked": _("Role %(role)s was taken from %(who)s", role=role, who=who),
        "scim_token_created": _("SCIM token %(name)s was created", name=role),
        "scim_token_rotated": _("SCIM token %(name)s got a new value", name=role),
        "scim_token_deleted": _("SCIM token %(name)s was deleted", name=role),
    }.get(event.event, event.event)


@page("GET", "/events")
async def list_events(visit: Visit) -> Response[Any]:
    found = await rows(visit, trail.EVENTS)
    events = [trail.read(row) for row in found.rows]
    shown = [{"at": event.at, "words": _words(event), "by": event.by} for event in events]
    return render(visit, "events", "events", events=shown, next=next_url(visit, found))
