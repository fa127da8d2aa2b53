"""What is read of an export: Keycloak's representations, with their names. Other members are ignored."""

from typing import Any

import msgspec


class Mapper(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A protocol mapper."""

    name: str = ""
    protocol_mapper: str = ""
    config: dict[str, Any] = {}

    def text(self, name: str) -> str:
        return str(self.config.get(name, ""))

    def on(self, name: str) -> bool:
        return self.text(name).lower() == "true"


class ClientScope(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    protocol: str = "openid-connect"
    protocol_mappers: list[Mapper] = []


class Client(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    client_id: str
    name: str = ""
    root_url: str = ""
    base_url: str = ""
    enabled: bool = True
    protocol: str = "openid-connect"
    client_authenticator_type: str = "client-secret"
    secret: str = ""
    redirect_uris: list[str] = []
    web_origins: list[str] = []
    bearer_only: bool = False
    public_client: bool = False
    consent_required: bool = False
    standard_flow_enabled: bool = True
    implicit_flow_enabled: bool = False
    direct_access_grants_enabled: bool = False
    service_accounts_enabled: bool = False
    authorization_services_enabled: bool = False
    frontchannel_logout: bool = False
    full_scope_allowed: bool = True
    attributes: dict[str, Any] = {}
    protocol_mappers: list[Mapper] = []
    default_client_scopes: list[str] = []
    optional_client_scopes: list[str] = []

    def text(self, name: str) -> str:
        """Return an attribute."""
        return str(self.attributes.get(name, "")).strip()

    def on(self, name: str) -> bool:
        return self.text(name).lower() == "true"


class Composites(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    realm: list[str] = []
    client: dict[str, list[str]] = {}


class Role(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    description: str = ""
    composites: Composites = Composites()


class Roles(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    realm: list[Role] = []
    client: dict[str, list[Role]] = {}


class Group(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    realm_roles: list[str] = []
    client_roles: dict[str, list[str]] = {}
    attributes: dict[str, Any] = {}
    sub_groups: list["Group"] = []


class IdentityProvider(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    alias: str
    provider_id: str
    display_name: str = ""
    enabled: bool = True
    trust_email: bool = False
    config: dict[str, Any] = {}

    def text(self, name: str) -> str:
        return str(self.config.get(name, "")).strip()


class Domain(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str


class Member(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    username: str


class Organization(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    alias: str = ""
    enabled: bool = True
    domains: list[Domain] = []
    members: list[Member] = []


class Component(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str = ""
    provider_id: str = ""
    config: dict[str, list[Any]] = {}


class Realm(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A realm without its users and settings."""

    realm: str
    clients: list[Client] = []
    client_scopes: list[ClientScope] = []
    roles: Roles = Roles()
    groups: list[Group] = []
    identity_providers: list[IdentityProvider] = []
    organizations: list[Organization] = []
    components: dict[str, list[Component]] = {}


class Credential(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``secret_data`` and ``credential_data`` are JSON."""

    type: str = ""
    secret_data: str = "{}"
    credential_data: str = "{}"


class FederatedIdentity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    identity_provider: str
    user_id: str


class User(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    username: str = ""
    email: str = ""
    email_verified: bool = False
    enabled: bool = True
    first_name: str = ""
    last_name: str = ""
    attributes: dict[str, Any] = {}
    credentials: list[Credential] = []
    required_actions: list[str] = []
    federated_identities: list[FederatedIdentity] = []
    realm_roles: list[str] = []
    client_roles: dict[str, list[str]] = {}
    groups: list[str] = []
    client_consents: list[Any] = []
    service_account_client_id: str = ""
    federation_link: str = ""
