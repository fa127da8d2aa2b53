"""The documents of groups: what the server shows, and what a request must have."""

from collections.abc import Sequence

from idp.scim.attributes import GROUP, GROUP_SCHEMA, USER
from idp.scim.errors import InvalidValueError
from idp.scim.patch import Document
from idp.scim.repository.groups import MAX_MEMBERS, Member, MembersState, StoredGroup
from idp.scim.representation import url_of, version_of
from idp.scim.targets import MAX_EXTERNAL_ID


def document_of(group: StoredGroup, state: MembersState, listed: Sequence[Member] | None) -> Document:
    found: Document = {"schemas": [GROUP_SCHEMA], "id": str(group.id)}
    if group.external_id is not None:
        found["externalId"] = group.external_id
    found["displayName"] = group.name
    if listed is not None:
        found["members"] = [
            {
                "value": str(member.id),
                "$ref": url_of(USER if member.type == USER.name else GROUP, member.id),
                "type": member.type,
            }
            for member in listed
        ]
    found["meta"] = {
        "resourceType": GROUP.name,
        "created": group.created_at,
        "lastModified": max(group.updated_at, state.last or group.updated_at),
        "location": url_of(GROUP, group.id),
    }
    if (version := version_of_group(group, state)) is not None:
        found["meta"]["version"] = version
    return found


def version_of_group(group: StoredGroup, state: MembersState) -> str | None:
    """Return the version of a group; None if it has too many members to notice each change."""
    if state.number > MAX_MEMBERS:
        return None
    return version_of(group.name, group.updated_at, group.external_id, state.number, state.last, state.children)


def required_name(document: Document) -> str:
    name = document.get("displayName")
    if name is None:
        raise InvalidValueError("displayName is missing.")
    return str(name)


def external_id_of(document: Document) -> str | None:
    value = document.get("externalId")
    check_external_id(value)
    return value


def check_external_id(value: str | None) -> None:
    if value is not None and not (len(value) <= MAX_EXTERNAL_ID and value.isprintable()):
        raise InvalidValueError(f"externalId has up to {MAX_EXTERNAL_ID} characters that can be shown.")
