"""The admin API. One file per resource declares the operations; routes and OpenAPI are generated from them."""

from idp.admin.api import (
    access_policies,
    applications,
    attributes,
    authorization_details,
    claim_mappings,
    deliveries,
    exchange_policies,
    groups,
    id_jag_policies,
    initial_access_tokens,
    memberships,
    organization_domains,
    organization_invitations,
    organization_policies,
    organizations,
    people,
    roles,
    scim_tokens,
    server,
    shared_signals,
    trusted_issuers,
    webhooks,
    workload_identities,
)
from idp.admin.api.openapi import openapi
from idp.admin.api.operation import OPERATIONS, route_of

__all__ = [
    "ROUTES",
    "access_policies",
    "applications",
    "attributes",
    "authorization_details",
    "claim_mappings",
    "deliveries",
    "exchange_policies",
    "groups",
    "id_jag_policies",
    "initial_access_tokens",
    "memberships",
    "organization_domains",
    "organization_invitations",
    "organization_policies",
    "organizations",
    "people",
    "roles",
    "scim_tokens",
    "server",
    "shared_signals",
    "trusted_issuers",
    "webhooks",
    "workload_identities",
]

ROUTES = [openapi, *map(route_of, OPERATIONS)]
