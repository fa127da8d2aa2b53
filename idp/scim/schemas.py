"""The documents that describe this server: schemas, resource types and the configuration (RFC 7643 sections 5 to 7)."""

from collections.abc import Sequence
from typing import Final

from idp.scim import bulk
from idp.scim.access import PATH
from idp.scim.attributes import TYPES, Attribute, ResourceType
from idp.scim.extensions import extensions
from idp.scim.paging import DEFAULT_COUNT, MAX_COUNT
from idp.scim.patch import Document
from idp.settings import settings

SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:Schema"
RESOURCE_TYPE: Final = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
CONFIGURATION: Final = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"


def schemas() -> list[Document]:
    """Return the schemas of users and groups, and of extensions."""
    return [_schema(each.schema, each.name, each.description, each.attributes) for each in TYPES] + [
        _schema(each.schema, each.name, "Attributes that the operator declared.", [one for one, _ in each.attributes])
        for each in extensions()
    ]


def _schema(schema: str, name: str, description: str, attributes: Sequence[Attribute]) -> Document:
    return {
        "schemas": [SCHEMA],
        "id": schema,
        "name": name,
        "description": description,
        "attributes": [_attribute(attribute) for attribute in attributes],
        "meta": {"resourceType": "Schema", "location": f"{_base()}/Schemas/{schema}"},
    }


def _attribute(attribute: Attribute) -> Document:
    found: Document = {
        "name": attribute.name,
        "type": attribute.type,
        "multiValued": attribute.multi,
        "description": attribute.description,
        "required": attribute.required,
        "mutability": attribute.mutability,
        "returned": attribute.returned,
    }
    if attribute.type in ("string", "reference"):
        found |= {
            "caseExact": attribute.case_exact or attribute.type == "reference",
            "uniqueness": attribute.uniqueness,
        }
    if attribute.canonical:
        found["canonicalValues"] = list(attribute.canonical)
    if attribute.references:
        found["referenceTypes"] = list(attribute.references)
    if attribute.sub:
        found["subAttributes"] = [_attribute(sub) for sub in attribute.sub]
    return found


def resource_types() -> list[Document]:
    """Return the types of resources."""
    return [
        {
            "schemas": [RESOURCE_TYPE],
            "id": resource.name,
            "name": resource.name,
            "description": resource.description,
            "endpoint": resource.endpoint,
            "schema": resource.schema,
            **_extended(resource),
            "meta": {"resourceType": "ResourceType", "location": f"{_base()}/ResourceTypes/{resource.name}"},
        }
        for resource in TYPES
    ]


def _extended(resource: ResourceType) -> Document:
    found = [{"schema": each.schema, "required": False} for each in extensions(resource)]
    return {"schemaExtensions": found} if found else {}


def configuration() -> Document:
    """Return what this server supports (RFC 7643 section 5, RFC 9865 section 4)."""
    return {
        "schemas": [CONFIGURATION],
        "patch": {"supported": True},
        "bulk": {
            "supported": True,
            "maxOperations": bulk.MAX_OPERATIONS,
            "maxPayloadSize": bulk.MAX_BODY,
        },
        "filter": {"supported": True, "maxResults": MAX_COUNT},
        "changePassword": {"supported": False},
        "sort": {"supported": True},
        "etag": {"supported": True},
        "pagination": {
            "cursor": True,
            "index": True,
            "defaultPaginationMethod": "index",
            "defaultPageSize": DEFAULT_COUNT,
            "maxPageSize": MAX_COUNT,
        },
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "A SCIM token, or an access token of a client for this resource.",
                "specUri": "https://www.rfc-editor.org/info/rfc6750",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{_base()}/ServiceProviderConfig"},
    }


def _base() -> str:
    return f"{settings().issuer}{PATH}"
