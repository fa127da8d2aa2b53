"""The admin console. Each file declares the screens of one section."""

from idp.admin.console import (
    access_policies,
    admins,
    attributes,
    audit,
    authorization_details,
    claim_mappings,
    claim_preview,
    clients,
    deliveries,
    exchange_policies,
    group_members,
    group_roles,
    groups,
    id_jag_policies,
    initial_access_tokens,
    keys,
    organization_domains,
    organization_invitations,
    organization_member_roles,
    organization_members,
    organization_policies,
    organization_roles,
    organizations,
    overview,
    resource_servers,
    role_holders,
    roles,
    scim_tokens,
    setup,
    shared_signals,
    token_hooks,
    trusted_issuers,
    upstreams,
    user_attributes,
    users,
    webhooks,
    workload_identities,
)
from idp.admin.console.screen import ROUTES as SCREENS

__all__ = [
    "ROUTES", "access_policies", "admins", "attributes", "audit", "authorization_details", "claim_mappings",
    "claim_preview", "clients", "deliveries", "exchange_policies", "group_members", "group_roles", "groups",
    "id_jag_policies", "initial_access_tokens", "keys", "organization_domains", "organization_invitations",
    "organization_member_roles", "organization_members", "organization_policies", "organization_roles",
    "organizations", "overview", "resource_servers", "role_holders", "roles", "scim_tokens", "shared_signals",
    "token_hooks", "trusted_issuers", "upstreams", "user_attributes", "users", "webhooks", "workload_identities",
]  # fmt: skip

ROUTES = [*SCREENS, *setup.ROUTES]
