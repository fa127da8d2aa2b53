"""Texts of lists without rows: what the list is for, and the next step. Found by the last part of the path."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

EMPTY: Final = {
    "users": "No users yet.",
    "jobs": "No jobs yet. A job acts on many users at once.",
    "groups": "No groups yet. A group gives its roles to all who are in it.",
    "roles": "No roles yet. Applications find the roles of a user in tokens.",
    "organizations": "No organisations yet. An organisation is a customer with users, domains and a sign-in policy.",
    "members": "No members yet.",
    "domains": "No domains yet. Addresses at a verified domain belong to the organisation.",
    "invitations": "No invitations are waiting.",
    "attributes": "No attributes yet. An attribute is a field of your own for every user.",
    "clients": "No clients yet. A client is an application that users sign in to, or a service.",
    "initial_access_tokens": "No initial access tokens yet. With one, a client may register itself.",
    "claim_mappings": "No claims yet. A claim puts attributes, groups or roles into tokens.",
    "workload_identities": "No workload identities yet. With one, a client authenticates with a token of its platform.",
    "token_exchange": "No policies yet. Without a policy, no client may exchange tokens.",
    "id_jag_policies": "No policies yet. Without a policy, no client gets identity assertions.",
    "resource_servers": "No resource servers yet. A resource server is an API that accepts access tokens.",
    "authorization_details": "No types yet. A type lets clients ask for more than scopes can say.",
    "upstreams": "No upstreams yet. Users can sign in with another provider after you add it.",
    "trusted_issuers": "No trusted issuers yet. Their tokens can say who a user or a workload is.",
    "scim_tokens": "No SCIM tokens yet. With one, a directory creates and changes users here.",
    "provisioning": "No applications yet. Users and groups are sent to the applications that you add.",
    "webhooks": "No webhooks yet. A webhook sends events to your server.",
    "token_hooks": "No token hooks yet. A token hook lets your server add claims to tokens.",
    "shared_signals": "No streams yet. Receivers create them.",
    "audit": "No events yet.",
    "traces": "Nothing is recorded yet. The recorder keeps what was asked and decided in sign-ins.",
    "outbox": "No mail yet. Messages to users appear here.",
    "deliveries": "No deliveries yet. Logouts, webhooks and provisioning appear here.",
    "keys": "No keys yet.",
    "admins": "No admins yet.",
}


def empty_text(path: str) -> str:
    """Return what the list at a path says without rows."""
    return EMPTY.get(path.rstrip("/").rpartition("/")[2], "Nothing here yet.")


def first_step(acts: Iterable[Any], forms: Iterable[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return label and URL of what adds the first row: an action that creates, or a form below the list."""
    for act in acts:
        if "new" in urlsplit(act.href).path.split("/"):
            return act.label, act.href
    return next(((form["heading"], "#form-1") for form in forms), None)
