"""What is read of exports: Auth0's objects, with their names. Other members are ignored."""

from typing import Any

import msgspec


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    user_id: str | int


class User(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    email: str = ""
    email_verified: bool = False
    username: str = ""
    name: str = ""
    given_name: str = ""
    family_name: str = ""
    nickname: str = ""
    picture: str = ""
    phone_number: str = ""
    phone_verified: bool = False
    blocked: bool = False
    identities: list[Identity] = []
    app_metadata: dict[str, Any] = {}
    user_metadata: dict[str, Any] = {}
    multifactor: list[Any] = []


class ObjectId(msgspec.Struct, frozen=True, kw_only=True):
    oid: str = msgspec.field(name="$oid")


class Hash(msgspec.Struct, frozen=True, kw_only=True):
    """A password hash. ``alt_id`` is the id of users of a custom database."""

    id: ObjectId = msgspec.field(name="_id")
    alt_id: str = ""
    password_hash: str = msgspec.field(name="passwordHash", default="")


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """A role or an organization of a user."""

    user_id: str
    role: str = ""
    organization: str = ""


class JwtConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    alg: str = ""


class Client(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    client_id: str = ""
    client_secret: str = ""
    app_type: str = "regular_web"
    description: str = ""
    callbacks: list[str] = []
    allowed_logout_urls: list[str] = []
    grant_types: list[str] = []
    token_endpoint_auth_method: str = ""
    initiate_login_uri: str = ""
    logo_uri: str = ""
    is_first_party: bool = True
    require_pushed_authorization_requests: bool = False
    oidc_logout: dict[str, Any] = {}
    jwt_configuration: JwtConfiguration = JwtConfiguration()


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    value: str
    description: str = ""


class ResourceServer(msgspec.Struct, frozen=True, kw_only=True):
    identifier: str
    name: str = ""
    scopes: list[Scope] = []
    signing_alg: str = "RS256"
    token_dialect: str = ""
    is_system: bool = False


class ClientGrant(msgspec.Struct, frozen=True, kw_only=True):
    """``client_id`` is the id or, as the Deploy CLI writes it, the name of the client."""

    client_id: str
    audience: str
    scope: list[str] = []


class Role(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str = ""
    permissions: list[Any] = []


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    strategy: str
    display_name: str = ""
    options: dict[str, Any] = {}

    def text(self, name: str) -> str:
        value = self.options.get(name, "")
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    display_name: str = ""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the Deploy CLI."""

    clients: list[Client] = []
    resource_servers: list[ResourceServer] = msgspec.field(name="resourceServers", default=[])
    client_grants: list[ClientGrant] = msgspec.field(name="clientGrants", default=[])
    roles: list[Role] = []
    connections: list[Connection] = msgspec.field(name="connections", default=[])
    databases: list[Any] = []
    organizations: list[Organization] = []
    actions: list[Any] = []
    rules: list[Any] = []
    hooks: list[Any] = []
    tenant: dict[str, Any] = {}
