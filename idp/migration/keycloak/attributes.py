"""Attributes of users: those of the user profile, and those that mappers read, become declared attributes."""

import re
from typing import Any, Final

import msgspec

from idp.accounts.claims import ADDRESS_MEMBERS
from idp.migration.keycloak.representations import Mapper, Realm
from idp.migration.models import Export

#: Attributes that Keycloak's own mappers read for standard claims, with the claim.
STANDARD: Final = {
    "nickname": "nickname", "profile": "profile", "picture": "picture", "website": "website", "gender": "gender",
    "birthdate": "birthdate", "zoneinfo": "zoneinfo", "locale": "locale", "middleName": "middle_name",
    "phoneNumber": "phone_number", "phoneNumberVerified": "phone_number_verified",
    "formatted": "address.formatted", "street": "address.street_address",
    **{name: f"address.{name}" for name in ADDRESS_MEMBERS if name not in ("formatted", "street_address")},
}  # fmt: skip
#: Attributes that are members of the user itself.
_ROOT: Final = frozenset({"username", "email", "emailVerified", "firstName", "lastName", "updatedAt"})
_PROFILE: Final = "org.keycloak.userprofile.UserProfileProvider"


def translate(export: Export, realm: Realm, mappers: list[Mapper]) -> dict[str, dict[str, Any]]:
    """Add the attributes. Returns the declarations by the names in Keycloak."""
    found: dict[str, dict[str, Any]] = {}
    for profile in _profile(realm):
        name = str(profile.get("name", ""))
        if name and not _is_known(name):
            found[name] = _declared(name, profile)
    for mapper in mappers:
        name = mapper.text("user.attribute")
        if mapper.protocol_mapper == "oidc-usermodel-attribute-mapper" and name and not _is_known(name):
            declared = found.setdefault(name, _declared(name, {}))
            declared["multivalued"] = declared["multivalued"] or mapper.on("multivalued")
    taken: dict[str, str] = {}
    for name, declared in list(found.items()):
        if (other := taken.setdefault(declared["name"], name)) != name:
            export.skip(f"attribute {name}", f"Its name here would be {declared['name']}, as that of {other}.")
            del found[name]
        else:
            export.add("attributes", declared)
    return found


def _is_known(name: str) -> bool:
    return name in STANDARD or name in _ROOT


def _profile(realm: Realm) -> list[dict[str, Any]]:
    """Return the attributes of the user profile, whose configuration is JSON inside of the export."""
    for component in realm.components.get(_PROFILE, []):
        for text in component.config.get("kc.user.profile.config", []):
            try:
                return msgspec.json.decode(str(text), type=dict[str, list[dict[str, Any]]]).get("attributes", [])
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                continue
    return []


def _declared(name: str, profile: dict[str, Any]) -> dict[str, Any]:
    shown = str(profile.get("displayName") or "")
    permissions = profile.get("permissions")
    permissions = permissions if isinstance(permissions, dict) else {}
    return {
        "name": snake(name),
        "type": "string",
        "multivalued": profile.get("multivalued") is True,
        "label": {"default": shown if shown and "${" not in shown else name},
        "visible_to": _audiences(permissions.get("view")),
        "editable_by": _audiences(permissions.get("edit")),
    }


def _audiences(roles: Any) -> list[str]:
    """Return who may see or edit an attribute: administrators, if the user profile does not say it."""
    given = roles if isinstance(roles, list) else ["admin"]
    return [here for here, role in (("person", "user"), ("support", "admin")) if role in given]


def snake(name: str) -> str:
    """Return the name of an attribute here: lower case, with underscores."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")[:50]
