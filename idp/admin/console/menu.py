"""The navigation of the console: sections in groups, and the screens of a section that has several."""

from collections.abc import Collection
from typing import NamedTuple

from idp.admin.roles import Permission


class Section(NamedTuple):
    """A section of the console.

    Attributes:
        name: the first segment of its path after ``/admin``.
        permission: what all its screens need; None: any admin sees them.
        screens: names and labels of its lists, the first of them its own, if there are several.
    """

    name: str
    label: str
    permission: Permission | None
    screens: tuple[tuple[str, str], ...] = ()


MENU: tuple[tuple[str, tuple[Section, ...]], ...] = (
    (
        "People",
        (
            Section(
                "users",
                "Users",
                Permission.USERS_READ,
                (("users", "Users"), ("invitations", "Invitations"), ("jobs", "Jobs")),
            ),
            Section("groups", "Groups", Permission.GROUPS_READ, (("groups", "Groups"), ("roles", "Roles"))),
            Section("organizations", "Organisations", Permission.ORGANIZATIONS_READ),
            Section("attributes", "Attributes", Permission.ATTRIBUTES_READ),
        ),
    ),
    (
        "Applications",
        (
            Section(
                "clients",
                "Clients",
                Permission.CLIENTS_READ,
                (
                    ("clients", "Clients"),
                    ("initial_access_tokens", "Initial access tokens"),
                    ("claim_mappings", "Claims"),
                    ("workload_identities", "Workload identities"),
                    ("token_exchange", "Token exchange"),
                    ("id_jag_policies", "Identity assertions"),
                ),
            ),
            Section(
                "resource_servers",
                "Resource servers",
                Permission.RESOURCE_SERVERS_READ,
                (("resource_servers", "Resource servers"), ("authorization_details", "Authorization details")),
            ),
        ),
    ),
    (
        "Integrations",
        (
            Section(
                "upstreams",
                "Upstreams",
                Permission.UPSTREAMS_READ,
                (("upstreams", "Upstreams"), ("trusted_issuers", "Trusted issuers")),
            ),
            Section("scim_tokens", "SCIM tokens", Permission.SCIM_TOKENS_READ),
            Section("provisioning", "Provisioning", Permission.PROVISIONING_READ),
            Section(
                "webhooks",
                "Events",
                Permission.EVENTS_READ,
                (("webhooks", "Webhooks"), ("token_hooks", "Token hooks"), ("shared_signals", "Shared signals")),
            ),
        ),
    ),
    (
        "Monitoring",
        (
            Section("audit", "Audit", Permission.AUDIT_READ, (("audit", "Audit trail"), ("traces", "Traces"))),
            Section("outbox", "Outbox", Permission.OUTBOX_READ, (("outbox", "Mail"), ("deliveries", "Deliveries"))),
        ),
    ),
    (
        "Server",
        (
            Section("keys", "Keys", Permission.KEYS_READ),
            Section("admins", "Admins", Permission.ADMINS_READ),
            Section("branding", "Branding", Permission.BRANDING_READ),
            Section("mail_templates", "Mail templates", Permission.MAIL_TEMPLATES_READ),
            Section("api_reference", "API", None),
            Section("settings", "Settings", Permission.SETTINGS_READ, (("settings", "Settings"), ("health", "Health"))),
        ),
    ),
)
_BY_SCREEN = {
    screen: section
    for _, sections in MENU
    for section in sections
    for screen, _ in section.screens or ((section.name, section.label),)
}


def allowed_menu(permissions: Collection[Permission]) -> list[tuple[str, list[Section]]]:
    """Return the groups with the sections that these permissions allow, without empty groups."""
    shown = (
        (group, [each for each in sections if each.permission is None or each.permission in permissions])
        for group, sections in MENU
    )
    return [(group, sections) for group, sections in shown if sections]


def section_of(screen: str) -> Section | None:
    """Return the section that a screen belongs to; None for the overview."""
    return _BY_SCREEN.get(screen)
