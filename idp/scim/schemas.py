"""The documents that describe this server: schemas, resource types and the configuration (RFC 7643 sections 5 to 7)."""

from typing import Final

from idp.scim import bulk
from idp.scim.access import PATH
from idp.scim.attributes import TYPES, Attribute, ResourceType
from idp.scim.paging import DEFAULT_COUNT, MAX_COUNT
from idp.scim.patch import Document
from idp.settings import settings

SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:Schema"
RESOURCE_TYPE: Final = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
CONFIGURATION: Final = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"


def schemas() -> list[Document]:
    """Return the schemas of users and groups."""
    return [_schema(resource) for resource in TYPES]


def _schema(resource: ResourceType) -> Document:
    return {
        "schemas": [SCHEMA],
        "id": resource.schema,
        "name": resource.name,
        "description": resource.description,
        "attributes": [_attribute(attribute) for attribute in resource.attributes],
        "meta": {"resourceType": "Schema", "location": f"{_base()}/Schemas/{resource.schema}"},
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
            "meta": {"resourceType": "ResourceType", "location": f"{_base()}/ResourceTypes/{resource.name}"},
        }
        for resource in TYPES
    ]


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
