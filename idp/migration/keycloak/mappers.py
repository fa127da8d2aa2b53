"""Protocol mappers become claim mappings, where the claim is the same."""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from idp.migration.keycloak.attributes import STANDARD
from idp.migration.keycloak.clients import BUILT_IN, INTERNAL_SCOPES
from idp.migration.keycloak.representations import Mapper, Realm
from idp.migration.models import Export
from idp.oauth.claims.registration import MAX_MAPPINGS
from idp.oauth.scopes import STANDARD_SCOPES

_PLACES: Final = {
    "id.token.claim": "id_token",
    "access.token.claim": "access_token",
    "userinfo.token.claim": "userinfo",
    "introspection.token.claim": "introspection",
}
#: Mappers whose claims every token has here, or that only matter to Keycloak.
_SILENT: Final = frozenset(
    {"oidc-sub-mapper", "oidc-acr-mapper", "oidc-amr-mapper", "oidc-allowed-origins-mapper", "oidc-address-mapper",
     "oidc-usersessionmodel-note-mapper", "oidc-audience-resolve-mapper", "oidc-sha256-pairwise-sub-mapper",
     "oidc-organization-membership-mapper", "oidc-nonce-backwards-compatible-mapper"}
)  # fmt: skip
_PROPERTIES: Final = {
    "username": "preferred_username", "email": "email", "emailVerified": "email_verified", "firstName": "given_name",
    "lastName": "family_name", "updatedAt": "updated_at",
}  # fmt: skip
#: Names of the claim with the roles of clients.
_RESOURCE_ACCESS: Final = ("resource_access.${client_id}.roles", "resource_access")


class Known(NamedTuple):
    """The declared attributes by their names in Keycloak, and the clients whose roles a claim can have."""

    attributes: Mapping[str, Mapping[str, Any]]
    owners: list[str]


def translate(
    export: Export, realm: Realm, attributes: Mapping[str, Mapping[str, Any]], role_owners: Collection[str]
) -> None:
    """Add the mappings of clients, and those of scopes for every client.

    Keycloak adds the claims of the default scopes of a client to each of its tokens. So they become mappings of the
    client.

    Args:
        attributes: the declared attributes by their names in Keycloak.
        role_owners: the clients whose roles are here.
    """
    scopes = {scope.name: scope for scope in realm.client_scopes if scope.protocol == "openid-connect"}
    with_users = {
        entry["client_id"]
        for entry in export.entries.get("clients", ())
        if entry["grant_types"] != ["client_credentials"]
    }
    optional: set[str] = set()
    for client in realm.clients:
        if client.client_id not in with_users:
            continue
        optional |= {*client.optional_client_scopes}
        # The place of a mapper in notes, and the mapper.
        mappers = [(f"client {client.client_id}", mapper) for mapper in client.protocol_mappers]
        for name in client.default_client_scopes:
            mappers += [(f"scope {name}", mapper) for mapper in scopes[name].protocol_mappers] if name in scopes else []
        owners = sorted(role_owners) if client.full_scope_allowed else [client.client_id]
        _add(export, {"client_id": client.client_id}, mappers, Known(attributes, owners))
    for name in sorted(optional - INTERNAL_SCOPES):
        if name in scopes:
            mappers = [(f"scope {name}", mapper) for mapper in scopes[name].protocol_mappers]
            _add(export, {"scope": name}, mappers, Known(attributes, sorted(role_owners)))


def all_mappers(realm: Realm) -> list[Mapper]:
    """Return the mappers of clients and scopes."""
    lists = [client.protocol_mappers for client in realm.clients if client.client_id not in BUILT_IN]
    lists += [scope.protocol_mappers for scope in realm.client_scopes]
    return [mapper for found in lists for mapper in found]


def _add(export: Export, owner: dict[str, str], mappers: list[tuple[str, Mapper]], known: Known) -> None:
    """Add the mappings of a client, or of a scope for every client."""
    found: list[dict[str, Any]] = []
    for place, mapper in mappers:
        what = f"{place}, mapper {mapper.name}"
        places = _places(mapper)
        for source in _sources(export, what, mapper, known) if places else ():
            made = source | {"places": places} | ({"scope": owner["scope"]} if "scope" in owner else {})
            if made not in found:
                found.append(made)
    client_id = owner.get("client_id")
    entries = export.entries.setdefault("claim_mappings", [])
    entry = next((one for one in entries if one.get("client_id") == client_id), None)
    if entry is None:
        entry = {"mappings": []} | ({"client_id": client_id} if client_id is not None else {})
        entries.append(entry)
    entry["mappings"] += found
    if (number := len(entry["mappings"])) > MAX_MAPPINGS:
        export.skip(
            f"client {client_id or '(every client)'}", f"Only {MAX_MAPPINGS} of {number} mappings are possible."
        )
        del entry["mappings"][MAX_MAPPINGS:]
    if not entry["mappings"]:
        entries.remove(entry)


def _places(mapper: Mapper) -> list[str]:
    config = {"introspection.token.claim": mapper.text("access.token.claim")} | mapper.config
    return [place for name, place in _PLACES.items() if str(config.get(name, "")).lower() == "true"]


def _sources(export: Export, what: str, mapper: Mapper, known: Known) -> list[dict[str, Any]]:
    """Return the claim, the source and the shape of mappings that are equal to a mapper."""
    claim, kind = mapper.text("claim.name"), mapper.protocol_mapper
    if kind in _SILENT:
        return []
    if kind == "oidc-usermodel-realm-role-mapper" and claim == "realm_access.roles":
        return [{"claim": "realm_access", "source": {"kind": "roles", "of": "server"}, "shape": "object"}]
    if kind == "oidc-usermodel-client-role-mapper" and claim in _RESOURCE_ACCESS:
        only = mapper.text("usermodel.clientRoleMapping.clientId")
        owners = [each for each in known.owners if only in ("", each)]
        roles = [{"kind": "roles", "of": "client", "client_id": each} for each in owners]
        return [{"claim": "resource_access", "source": source, "shape": "object"} for source in roles]
    source = _source(mapper, known)
    if source is None:
        export.skip(what, f"{kind} has no counterpart with the same claim.")
        return []
    if "." in claim.replace("\\.", ""):
        export.skip(what, f"The claim {claim} is a member of an object, which has no counterpart.")
        return []
    if source["kind"] == "profile" and _is_standard(claim or source["claim"], source["claim"]):
        return []
    return [{"claim": claim.replace("\\.", ".") or source["claim"], "source": source}]


def _source(mapper: Mapper, known: Known) -> dict[str, Any] | None:
    attributes, owners = known
    match mapper.protocol_mapper:
        case "oidc-full-name-mapper":
            return {"kind": "profile", "claim": "name"}
        case "oidc-usermodel-property-mapper":
            claim = _PROPERTIES.get(mapper.text("user.attribute"))
            return {"kind": "profile", "claim": claim} if claim is not None else None
        case "oidc-usermodel-attribute-mapper":
            name = mapper.text("user.attribute")
            if name in attributes:
                return {"kind": "attribute", "name": attributes[name]["name"]}
            claim = STANDARD.get(name) or _PROPERTIES.get(name)
            return {"kind": "profile", "claim": claim} if claim is not None and "." not in claim else None
        case "oidc-group-membership-mapper":
            return {"kind": "groups"} if mapper.text("full.path") == "false" else None
        case "oidc-usermodel-realm-role-mapper":
            prefixed = bool(mapper.text("usermodel.realmRoleMapping.rolePrefix"))
            return {"kind": "roles", "of": "server"} if not prefixed else None
        case "oidc-usermodel-client-role-mapper":
            owner = mapper.text("usermodel.clientRoleMapping.clientId")
            prefixed = bool(mapper.text("usermodel.clientRoleMapping.rolePrefix"))
            return {"kind": "roles", "of": "client", "client_id": owner} if owner in owners and not prefixed else None
        case "oidc-hardcoded-claim-mapper":
            text = mapper.text("jsonType.label") in ("", "String")
            return {"kind": "constant", "value": mapper.text("claim.value")} if text else None
    return None


def _is_standard(claim: str, of: str) -> bool:
    """Return whether a claim is that of a standard scope, which every client gets with the scope."""
    return claim == of and any(claim in claims for claims in STANDARD_SCOPES.values())
