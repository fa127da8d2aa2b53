"""Every setting of the server: its name, type, default and one line of help.

A setting is read from the environment (``IDP_`` and the name in capitals), else from ``.env``. A secret may be given
as a file instead: ``IDP_DATABASE_URL_FILE=/run/secrets/database_url``. ``docs/settings.md`` is generated from here.
"""

import difflib
import ipaddress
import json
import os
import re
import ssl
from contextlib import suppress
from email.errors import ObsoleteHeaderDefect
from email.headerregistry import Address
from email.policy import SMTP
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from idp.errors import OperatorError

PREFIX = "IDP_"
ENV_FILE = ".env"
MINUTE, HOUR, DAY = 60, 3600, 86400
#: Longest time for which two secrets of a client are valid, in seconds.
MAX_OVERLAP = 90 * DAY

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(OperatorError):
    """Invalid settings prevent a start. One sentence for each, which says how to fix it."""


#: An origin as browsers write it (RFC 6454 section 6.2), and a path that needs no escaping in URLs and cookie names.
_ISSUER = re.compile(
    r"(?P<origin>https?://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?)"
    r"(?P<path>(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*)"
)


def _check_issuer(value: str) -> str:
    """An issuer identifier is a URL without query or fragment (OpenID Connect Core section 2).

    It begins with an origin exactly as browsers send it in the Origin header, because the two are compared.
    """
    scheme, _, rest = value.partition("://")
    if scheme not in ("https", "http") or not rest.strip("/"):
        raise ValueError("must be a URL such as https://id.example.com")
    found = _ISSUER.fullmatch(value)
    if found is None or found["origin"].removeprefix(scheme).endswith({"https": ":443", "http": ":80"}[scheme]):
        raise ValueError(
            "must have its host in lower case, no user, query, fragment, default port or slash at the end,"
            " and in its path only letters, digits and the characters - . _"
        )
    return value


def _check_mtls_url(value: str | None) -> str | None:
    return value if value is None else _check_issuer(value)


def _check_color(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        raise ValueError("must be a colour such as #0f5568")
    return value


def _check_logo(value: str | None) -> str | None:
    # Pages allow pictures of their own server and by https only (idp/http/pages.py).
    if (value is not None and not value.startswith(("https://", "/"))) or (value or "").startswith("//"):
        raise ValueError("must be an https URL, or a path of this server: browsers show no other pictures on pages")
    return value


def _check_mailbox(value: str) -> str:
    """One mailbox, with a name or without (RFC 5322 section 3.4)."""
    found: tuple[Address, ...] = ()
    # The email package raises these for some malformed addresses.
    with suppress(IndexError, ValueError):
        header = SMTP.header_factory("From", value if value.isprintable() else "")
        if all(isinstance(defect, ObsoleteHeaderDefect) for defect in header.defects):
            found = header.addresses
    if len(found) != 1 or not found[0].domain or not found[0].username.isascii():
        raise ValueError(
            "must be one address such as Example <no-reply@example.com>; a name with a comma needs quotes, as in"
            ' "Example, Inc." <no-reply@example.com>'
        )
    return value


def _read_networks(value: object) -> object:
    """Read ``10.0.0.0/8, fd00::/8`` from the environment."""
    if not isinstance(value, str):
        return value
    try:
        return tuple(ipaddress.ip_network(item.strip()) for item in value.split(",") if item.strip())
    except ValueError as error:
        raise ValueError("must be networks such as 10.0.0.0/8, separated by commas") from error


def _read_names(value: object) -> object:
    """Read ``one, two`` from the environment."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


def _check_hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    for host in value:
        if not re.fullmatch(r"(?ai)([\w-]+\.)*[\w-]*[a-z_-][\w-]*", host):  # not an IP address
            _read_networks(host)
    return value


def _check_domains(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not re.fullmatch(r"\.?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", name):
            raise ValueError("must be hosts such as app.example.com, or .example.com for all hosts below example.com")
    return value


def _check_resolver(value: str | None) -> str | None:
    if value:
        host, port = split_resolver(value)
        try:
            ipaddress.ip_address(host)
            sound = 0 < port < 65536
        except ValueError:
            sound = False
        if not sound:
            raise ValueError(
                "must be an IP address, with a port if it is not 53, such as 192.0.2.53 or [2001:db8::53]:53"
            )
    return value or None


def split_resolver(value: str) -> tuple[str, int]:
    """Return the address and the port of a name server."""
    return _split_address(value, 53)


def _split_address(value: str, default_port: int) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*))(?::([0-9]{1,5}))?", value, re.ASCII)
    if found is None:
        return value, default_port
    return found[1] or found[2], int(found[3] or default_port)


def _read_metrics_address(value: object) -> object:
    """Read ``127.0.0.1:9464`` from the environment."""
    if not isinstance(value, str):
        return value
    if not value:
        return None
    host, port = _split_address(value, 0)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise ValueError("must be an IP address with a port, such as 127.0.0.1:9464 or [::]:9464")
    return host, port


def _check_statement_issuers(value: Path) -> Path:
    try:
        issuers = json.loads(value.read_bytes())
        sound = isinstance(issuers, dict) and all(
            len(keys) == 1
            and (str(keys.get("jwks_uri", "")).startswith("https://") or isinstance(keys.get("jwks"), dict))
            for keys in issuers.values()
        )
    except (OSError, ValueError, AttributeError, TypeError):
        sound = False
    if not sound:
        raise ValueError(
            'must be a JSON file such as {"https://issuer.example": {"jwks_uri": "https://…"}}, or with jwks'
        )
    return value


def _check_authorities(value: Path) -> Path:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(value)
    except OSError as error:
        raise ValueError("must be a file of certificates as PEM") from error
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_names)]
Domains = Annotated[Names, AfterValidator(_check_domains)]


def _option(default: Any, help: str, *, group: str | None = None, unit: str | None = None, **constraints: Any) -> Any:
    """Declare a setting.

    Args:
        group: the heading that begins with this setting.
    """
    return Field(default, description=help, json_schema_extra={"group": group, "unit": unit}, **constraints)


def _duration(default: float | None, help: str, **constraints: Any) -> Any:
    """Declare a setting in seconds."""
    return _option(default, help, unit="seconds", **constraints)


class Settings(BaseSettings):
    """The settings of one process. All durations are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True
    )

    issuer: Annotated[str, AfterValidator(_check_issuer)] = _option(
        "http://localhost:8000",
        "The public URL of this server, with or without a path. Every URL that it emits starts with it.",
        group="Server",
    )
    host: str = _option("127.0.0.1", "Address to listen on.")
    port: int = _option(8000, "TCP port to listen on.", ge=1, le=65535)
    workers: int = _option(1, "Number of worker processes.", ge=1)
    dev: bool = _option(False, "Development mode; the same as `idp serve --dev`. Never in production.")
    header_timeout: int = _duration(
        30, "Time limit for the head of a request, and for an idle connection.", ge=1, le=3600
    )
    body_timeout: int = _duration(30, "Time limit for the body of a request.", ge=1, le=3600)
    max_connections: int = _option(
        8192, "Maximum concurrent connections of one worker, within the system's limit of open files.", ge=64
    )
    drain_timeout: int = _duration(10, "Time that running requests have to finish after SIGTERM.", ge=1)
    trusted_proxies: Annotated[tuple[IPNetwork, ...], NoDecode, BeforeValidator(_read_networks)] = _option(
        (), "Networks of the reverse proxies whose X-Forwarded-For is trusted, separated by commas."
    )
    client_certificate_header: Literal["rfc9440", "nginx", "envoy", "traefik"] | None = _option(
        None,
        "Format in which the trusted proxies pass the TLS certificate of a client. Empty: mutual TLS is off.",
    )
    client_certificates_verified: bool = _option(
        False, "The trusted proxies pass only certificates that they have verified. Not needed for nginx."
    )
    mtls_url: Annotated[str | None, AfterValidator(_check_mtls_url)] = _option(
        None, "Another URL of this server, where the proxy asks clients for a certificate. Empty: the issuer."
    )
    metrics_address: Annotated[tuple[str, int] | None, NoDecode, BeforeValidator(_read_metrics_address)] = _option(
        None, "Address that serves metrics for Prometheus at /metrics, such as 127.0.0.1:9464. Empty: no metrics."
    )
    tracing: bool = _option(
        False, "Send traces to a collector. The variables of OpenTelemetry, OTEL_…, say where and how many."
    )
    log_level: Literal["debug", "info", "warning", "error"] = _option("info", "Lowest level to log.")
    log_format: Literal["json", "console"] = _option("json", "JSON lines, or coloured text for people.")

    database_url: SecretStr | None = _option(
        None,
        "PostgreSQL (15 or later): postgresql://user:password@host/database. Empty: the embedded PostgreSQL.",
        group="Storage",
    )
    database_pool_size: int = _option(10, "Maximum PostgreSQL connections of one worker.", ge=2)
    database_connection_lifetime: int = _duration(HOUR, "Age at which a PostgreSQL connection is replaced.", ge=1)
    database_prepared_statements: bool = _option(
        True, "Keep prepared statements. Set to false behind a pooler in transaction mode that does not support them."
    )
    reload_interval: int = _duration(
        1, "Interval at which each worker checks the database for changed clients, keys and upstreams.", ge=1, le=30
    )
    data_dir: Path = _option(
        Path("data"), "Folder of the embedded PostgreSQL, captured mail and a copy of the public keys."
    )
    migrate_on_start: bool = _option(True, "Apply pending migrations when the server starts.")

    keys_dir: Path = _option(
        Path("keys"), "Folder of the master key file, `master.key`, and of `database.mark`.", group="Keys"
    )
    master_key: SecretStr | None = _option(
        None, "The master key itself (32 bytes, base64url), instead of the file in `keys_dir`."
    )
    key_rotation_interval: int = _duration(
        90 * DAY, "Age at which a signing key is rotated automatically. 0: only by hand.", ge=0
    )
    key_rotation_deadline: int = _duration(
        DAY, "How long a new key of an automatic rotation waits for resource servers that have not fetched it.", ge=0
    )
    key_publication: int | None = _duration(
        None,
        "Minimum publication of a new key before it signs. Empty: `jwks_max_age` plus a minute.",
        ge=0,
    )
    key_kept: int = _duration(30 * DAY, "Time after its retirement at which the private part of a key is erased.", ge=0)
    jwks_max_age: int = _duration(300, "Time for which the JWKS and the discovery document may be cached.", ge=0)

    revocation_list_max_age: int = _duration(
        5, "Time for which the list of revoked access tokens may be cached.", ge=0, le=MINUTE
    )

    access_token_lifetime: int = _duration(
        10 * MINUTE, "Lifetime of an access token.", ge=30, le=DAY, group="Lifetimes"
    )
    token_exchange: bool = _option(False, "Whether clients with a policy may exchange tokens (RFC 8693).")
    token_exchange_max_depth: int = _option(
        4, "How often a token may be exchanged, one time after the other.", ge=1, le=10
    )
    id_token_lifetime: int = _duration(10 * MINUTE, "Lifetime of an ID token.", ge=30, le=DAY)
    max_groups_in_token: int = _option(
        200,
        "Maximum number of groups, and of roles, in an ID or access token. Above it, the token names userinfo instead.",
        ge=1,
        le=10_000,
    )
    pushed_request_lifetime: int = _duration(
        90, "Time for which a browser can load a pushed authorization request.", ge=5, lt=600
    )
    authorization_code_lifetime: int = _duration(MINUTE, "Lifetime of an authorization code.", ge=5, le=600)
    refresh_token_lifetime: int = _duration(14 * DAY, "Lifetime of an unused refresh token.", ge=60)
    refresh_token_family_lifetime: int = _duration(
        90 * DAY, "Time after sign-in at which the refresh tokens expire, however often they are used.", ge=60
    )
    refresh_token_grace: int = _duration(
        10, "Time for which a used refresh token returns the same successor, even if that was used too.", ge=0, le=300
    )
    refresh_token_repeat: int = _duration(
        2 * MINUTE,
        "Time for which a used refresh token returns a successor that was never used.",
        ge=0,
        le=HOUR,
    )
    session_idle_lifetime: int = _duration(DAY, "Time after which an unused browser session ends.", ge=60)
    session_lifetime: int = _duration(30 * DAY, "Maximum lifetime of a browser session.", ge=60)
    session_management: bool = _option(
        True, "Tell applications in the browser when the session changes (OpenID Connect Session Management)."
    )
    flow_lifetime: int = _duration(HOUR, "Time limit for signing in and for consenting.", ge=60)
    legacy_response_types: bool = _option(
        False,
        "Allow clients that register for them the hybrid and implicit response types, which send tokens through the"
        " browser.",
    )
    device_grant: bool = _option(
        True, "Let devices without a browser, of clients that register for it, get access by a code (RFC 8628)."
    )
    device_code_lifetime: int = _duration(
        10 * MINUTE, "Time in which a user can enter the code that a device shows.", ge=MINUTE, le=30 * MINUTE
    )
    single_session: bool = _option(False, "A new sign-in ends the user's earlier sessions and refresh tokens.")

    client_assertion_lifetime: int = _duration(
        5 * MINUTE, "Longest lifetime of an assertion that authenticates a client.", ge=MINUTE, le=3540, group="Clients"
    )
    client_secret_overlap: int = _duration(
        0, "Time for which the old secret of a client stays valid after a new one was made.", ge=0, le=MAX_OVERLAP
    )
    client_secret_lifetime: int = _duration(
        0, "Time after which a new client secret expires. 0: never.", ge=0, le=3650 * DAY
    )

    jwt_bearer: bool = _option(False, "The JWT bearer grant: access tokens for assertions of trusted issuers.")
    id_jag_lifetime: int = _duration(
        5 * MINUTE, "Lifetime of an identity assertion (ID-JAG) for another server.", ge=30, le=30 * MINUTE
    )
    workload_token_lifetime: int = _duration(
        2 * HOUR, "Longest lifetime of a token of a trusted issuer that authenticates a workload.", ge=MINUTE, le=DAY
    )

    dpop_proof_max_age: int = _duration(
        2 * MINUTE,
        "Time after its `iat` for which a DPoP proof is accepted.",
        ge=10,
        le=10 * MINUTE,
        group="Proofs of possession",
    )
    dpop_nonce_required: bool = _option(
        False, "Require a nonce of this server in each DPoP proof, so that proofs cannot be made in advance."
    )

    require_pushed_requests: bool = _option(
        False,
        "Accept only pushed authorization requests (RFC 9126), from every client.",
        group="Authorization requests",
    )

    ciba: bool = _option(
        False,
        "Enable CIBA: clients with this grant may ask users for approval by mail and on the account page.",
        group="Requests that users approve on another device (CIBA)",
    )
    ciba_request_lifetime: int = _duration(
        5 * MINUTE, "Time that a user has to decide, if the client does not request another.", ge=30, le=HOUR
    )
    ciba_request_max_lifetime: int = _duration(HOUR, "Maximum time to decide that a client can request.", ge=30, le=DAY)
    ciba_daily_requests: int = _option(30, "Maximum requests to one user a day, from all clients.", ge=1, le=10_000)

    client_registration: Literal["off", "token", "open"] = _option(
        "off",
        "Which clients can register themselves (RFC 7591): none, those with an initial access token, or all.",
        group="Clients that register themselves",
    )
    client_registration_scopes: Names = _option(
        ("openid", "profile", "email", "offline_access"),
        "The scopes that clients without such a token may request, besides those of resource servers open to them.",
    )
    client_registration_grant_types: Names = _option(
        ("authorization_code", "refresh_token"), "The grants that these clients may have."
    )
    client_registration_auth_methods: Names = _option(
        ("none", "private_key_jwt"), "How these clients may authenticate. By default they get no secret."
    )
    client_registration_hosts: Domains = _option(
        (), "Hosts of their redirect URIs; .example.com stands for all hosts below example.com. Empty: any."
    )
    client_registration_lifetime: int = _duration(
        DAY, "Time in which such a client must be used for the first time. Otherwise it is deleted.", ge=MINUTE
    )
    client_registration_statement_issuers: Annotated[Path, AfterValidator(_check_statement_issuers)] | None = _option(
        None, "JSON file of the issuers whose software statements are trusted, each with its `jwks_uri` or `jwks`."
    )
    client_registration_statement_required: bool = _option(
        False, "Require a software statement of a trusted issuer from every client that registers itself."
    )
    client_registration_max_clients: int = _option(
        10_000, "Maximum number of clients that have registered themselves. Each worker holds them in memory.", ge=1
    )

    registration: Literal["open", "invitation", "closed"] = _option(
        "open", "Who can create an account: everyone, invited users only, or no one.", group="Accounts"
    )
    email_code_sign_in: bool = _option(True, "Allow sign-in with a code sent by email.")
    new_browser_mail: bool = _option(
        True, "Mail users after a sign-in from a browser that is not known for their account, with a link to end it."
    )
    email_code_lifetime: int = _duration(10 * MINUTE, "Lifetime of a code or link for signing in by email.", ge=60)
    password_reset_lifetime: int = _duration(HOUR, "Lifetime of a link for choosing a new password.", ge=60)
    invitation_lifetime: int = _duration(
        7 * DAY, "Lifetime of an invitation, to an account or into an organisation.", ge=60
    )
    address_limits: bool = _option(
        True, "Limit attempts, mails and new sign-ins by network address too, not only by account."
    )
    trusted_device_lifetime: int = _duration(
        0, "Time for which a browser may skip the second factor, if the user chooses so. 0: never.", ge=0
    )
    reauthentication_lifetime: int = _duration(
        10 * MINUTE, "Time after sign-in within which users may change their credentials.", ge=60
    )

    admin_acr: Literal["1", "2", "phr"] = _option(
        "2", "The `acr` that administration requires: 1 for one factor, 2 for two, phr for a passkey."
    )

    google_client_id: str | None = _option(
        None, "Client id at Google. Enables sign-in with Google.", group="Upstream providers"
    )
    google_client_secret: SecretStr | None = _option(None, "Client secret at Google.")
    google_domains: Names = _option(
        (), "Google Workspace domains whose users may sign in, separated by commas. Empty: all Google accounts."
    )
    github_client_id: str | None = _option(None, "Client id at GitHub. Enables sign-in with GitHub.")
    github_client_secret: SecretStr | None = _option(None, "Client secret at GitHub.")
    github_organizations: Names = _option(
        (), "GitHub organizations whose members may sign in, separated by commas. Empty: all GitHub accounts."
    )

    client_id_metadata_documents: Literal["off", "allow-list", "open"] = _option(
        "off",
        "Whose Client ID Metadata Documents are accepted, where the URL of a document is the `client_id`: none,"
        " those of `client_id_metadata_hosts`, or those of all public hosts.",
        group="Clients that describe themselves",
    )
    client_id_metadata_hosts: Domains = _option(
        (), "Hosts of the allow-list, such as app.example.com; .example.com stands for all hosts below example.com."
    )
    client_id_metadata_denied_hosts: Domains = _option(
        (), "Hosts whose Client ID Metadata Documents are refused. They are written like those of the allow-list."
    )
    client_id_metadata_scopes: Names = _option(
        ("openid", "profile", "email", "offline_access"),
        "The scopes that these clients may request, besides those of resource servers that are open to them.",
    )
    client_id_metadata_min_lifetime: int = _duration(
        5 * MINUTE, "Minimum time for which such a document is cached, whatever its headers say.", ge=1, le=DAY
    )
    client_id_metadata_max_lifetime: int = _duration(
        DAY, "Maximum time for which such a document is cached.", ge=5 * MINUTE, le=7 * DAY
    )
    client_id_metadata_max_clients: int = _option(
        10_000, "Maximum number of these clients. Users cannot allow more of them.", ge=1
    )

    isolated: bool = _option(
        False,
        "Connect to nothing but PostgreSQL: no mail, no deliveries, no calls. For a server on a copy.",
        group="Calls to other servers",
    )
    outbound_allow_http: bool = _option(False, "Allow calls to other servers without TLS. For development.")
    outbound_allowed_hosts: Annotated[Names, AfterValidator(_check_hosts)] = _option(
        (), "Non-public hosts and networks that may be called, such as sso.internal, 10.1.0.0/16."
    )
    outbound_ca_file: Annotated[Path, AfterValidator(_check_authorities)] | None = _option(
        None, "PEM file of certificate authorities to trust in addition to the public ones."
    )

    password_min_score: int = _option(
        2, "Minimum zxcvbn score of a new password, from 0 to 4.", ge=0, le=4, group="Passwords"
    )
    breached_passwords_url: str | None = _option(
        None,
        "Range query for breached passwords, such as https://api.pwnedpasswords.com/range/. Empty: no check.",
    )
    argon2_memory_cost: int = _option(19456, "Argon2id memory, in KiB.", ge=8)
    argon2_time_cost: int = _option(2, "Argon2id passes.", ge=1)
    argon2_parallelism: int = _option(1, "Argon2id lanes.", ge=1)
    hashing_threads: int | None = _option(
        None, "Passwords that one worker hashes concurrently. Empty: its share of the CPUs.", ge=1
    )
    hashing_queue: int = _option(16, "Maximum hashings that wait for a thread; more are answered with 503.", ge=0)
    hashing_wait: float = _duration(
        0.5, "Maximum wait of a hashing for a thread; one that would wait longer is answered with 503.", gt=0
    )

    smtp_url: SecretStr | None = _option(
        None, "smtp://user:password@host:587 (STARTTLS) or smtps://host:465. Empty: no mail is sent.", group="Mail"
    )
    mail_from: Annotated[str, AfterValidator(_check_mailbox)] = _option(
        "idp <no-reply@localhost>", "The From address of every mail."
    )
    mail_dkim_selectors: Names = _option(
        (), "Selectors with which the SMTP server signs mails, separated by commas. Only `idp doctor` uses them."
    )
    mail_retry_lifetime: int = _duration(
        2 * DAY,
        "Time for which sending a mail is retried; with a code, until the code expires at most.",
        ge=60,
    )
    mail_kept: int = _duration(7 * DAY, "Time for which the state of a sent or failed mail is kept.", ge=HOUR)

    delivery_retry_lifetime: int = _duration(
        3 * DAY,
        "Time for which a delivery to another system is retried, if its kind sets none.",
        ge=60,
        group="Deliveries to other systems",
    )
    delivery_kept: int = _duration(
        7 * DAY, "Time for which the state of a finished delivery is kept, and a dead one can be replayed.", ge=HOUR
    )
    webhook_secret_overlap: int = _duration(
        DAY, "Time for which the old secret of a webhook or token hook signs too after it was rotated.", ge=0
    )
    token_hook_timeout: float = _duration(
        1.0, "Seconds that a token hook may take, from name resolution to the end of its answer.", ge=0.1, le=10
    )
    provisioning_check_interval: int = _duration(
        DAY, "Time after which a provisioning target is compared with this server again; 0: never by itself.", ge=0
    )
    bulk_max_items: int = _option(
        100_000, "Maximum number of users, or of records of a file, in one bulk job.", ge=1, le=10_000_000
    )
    bulk_max_file: int = _option(
        16 * 1024 * 1024, "Maximum size in bytes of a file of users that is imported in the console.", ge=1024, le=2**28
    )
    bulk_retention: int = _duration(
        7 * DAY, "Time for which a bulk job that has ended is kept, with its errors and what it has not done.", ge=HOUR
    )
    shared_signals: bool = _option(
        False, "Transmit security events to clients (OpenID Shared Signals Framework: CAEP, RISC)."
    )
    shared_signals_subjects: Literal["none", "all"] = _option(
        "none", "The users of whom a new stream gets events: those that its receiver added, or all."
    )

    scim: bool = _option(
        False, "Let other systems, which have a SCIM token, manage users and groups at `/scim/v2` (RFC 7644)."
    )

    audit_tokens: bool = _option(True, "Record every issued access token in the audit trail.", group="Audit trail")
    audit_failure_limit: int = _option(
        300, "Maximum audit events per minute, kind and worker from requests without authentication.", ge=1
    )
    audit_checkpoint_interval: int = _duration(
        MINUTE, "Interval at which a signed checkpoint seals the new rows of the audit trail.", ge=1, le=DAY
    )
    audit_checkpoint_file: Path | None = _option(
        None, "A file outside the database to which every checkpoint is appended."
    )
    audit_checkpoint_url: SecretStr | None = _option(
        None, "A URL to which every checkpoint is sent by POST until it is accepted."
    )
    audit_retention: int = _duration(400 * DAY, "Time for which the audit trail is kept. 0: forever.", ge=0)

    trace_retention: int = _duration(
        7 * DAY, "Time for which the steps of sign-ins and of refused requests are kept for support. 0: not recorded.",
        ge=0, le=90 * DAY, group="Flow recorder")  # fmt: skip
    trace_success_limit: int = _option(
        300, "Maximum recorded requests per minute and worker that succeeded. 0: only refused and failed ones.", ge=0
    )
    trace_failure_limit: int = _option(
        300, "Maximum recorded requests per minute and worker that were refused or failed.", ge=1
    )
    trace_max_size: int = _option(
        2_000, "Size in megabytes at which the oldest recorded days are dropped before their time.", ge=1
    )

    dns_resolver: Annotated[str | None, AfterValidator(_check_resolver)] = _option(
        None,
        "Name server that is asked to verify domains, such as 192.0.2.53 or [2001:db8::53]:5353. Empty: the system's.",
        group="Domains of organisations",
    )
    domain_check_interval: int = _duration(DAY, "Time between two checks of a verified domain.", ge=MINUTE)
    domain_grace: int = _duration(
        7 * DAY, "Time for which a verified domain stays so while its record is missing.", ge=0
    )

    directory_check_interval: int = _duration(
        HOUR,
        "Time between two checks for users who are gone from their LDAP directory. 0: never.",
        ge=0,
        group="Directories",
    )
    directory_check_limit: int = _option(
        10, "Percentage of the users of a directory that one check may disable.", ge=0, le=100
    )
    provisioning_removal_limit: int = _option(
        10, "Percentage of the users at a provisioning target that one push may remove.", ge=0, le=100
    )

    product_name: str = _option("idp", "The name that pages and mails show.", group="Looks")
    logo_url: Annotated[str | None, AfterValidator(_check_logo)] = _option(
        None,
        "A logo that replaces the default one: an https URL, or a path of this server such as `/static/logo.png`, which"
        " is `static/logo.png` in `IDP_TEMPLATES_DIR`.",
    )
    access_contact: str = _option(
        "", "Whom users ask for access to an application that names no contacts: an address, a URL or a few words."
    )
    theme_color: Annotated[str | None, AfterValidator(_check_color)] = _option(
        None, "The colour of buttons and links, such as #0f5568."
    )
    organization_branding_before_sign_in: bool = _option(
        True, "Show the branding of an organisation to everyone who names it, before the user has signed in."
    )
    default_locale: Literal[
        "en", "ar", "cs", "de", "es", "fr", "it", "ja", "nl", "pl", "pt-BR", "sv", "tr", "zh-Hans"
    ] = _option("en", "The language for users whose preferred languages are not available.")
    geoip_database: Path | None = _option(
        None, "A MaxMind database (City or Country) that shows users the place of a sign-in. Empty: not shown."
    )
    templates_dir: Path | None = _option(None, "Folder with templates that replace those of the same name.")

    @property
    def sends_mail(self) -> bool:
        """Whether mails leave: by SMTP, or captured in development mode."""
        return not self.isolated and (self.dev or self.smtp_url is not None)

    @property
    def registers_by_mail(self) -> bool:
        """Whether people may create accounts by themselves. A mail proves their address."""
        return self.registration == "open" and self.sends_mail

    @property
    def sends_traces(self) -> bool:
        """Whether traces are sent to a collector."""
        return self.tracing and not self.isolated

    @property
    def loopback(self) -> bool:
        """Whether the issuer is on this machine, where plain http is safe."""
        host = urlsplit(self.issuer).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def origin(self) -> str:
        """The origin (RFC 6454) of our own pages."""
        return self.issuer.removesuffix(self.path)

    @property
    def path(self) -> str:
        """The path of the issuer, such as ``/auth``; empty for one that is an origin."""
        return urlsplit(self.issuer).path

    @property
    def master_key_path(self) -> Path:
        return self.keys_dir / "master.key"

    @property
    def database_mark_path(self) -> Path:
        return self.keys_dir / "database.mark"


SECRETS = frozenset(
    name for name, field in Settings.model_fields.items() if SecretStr in getattr(field.annotation, "__args__", ())
)


#: Variables that Kubernetes, and Docker with links, set for a service named idp or idp-…: their names and values.
_SERVICE_LINKS = tuple(
    (re.compile(name), re.compile(value))
    for name, value in (
        (r"IDP_(\w+_)?SERVICE_HOST", r"[0-9.]+|[0-9a-f:]+"),
        (r"IDP_(\w+_)?SERVICE_PORT(_\w+)?", r"[0-9]+"),
        (r"IDP_(\w+_)?PORT(_[0-9]+_(TCP|UDP|SCTP))?", r"(tcp|udp|sctp)://[^/]+:[0-9]+"),
        (r"IDP_(\w+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
        (r"IDP_(\w+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PORT", r"[0-9]+"),
        (r"IDP_(\w+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR", r"[0-9.]+|[0-9a-f:]+"),
    )
)


#: Variables of this kind that were removed from the environment of this process.
service_links: set[str] = set()


def _take_out_service_links() -> None:
    """Remove these variables from the environment, so that they are not read as settings or reported as unknown.

    ``IDP_PORT`` is one of them if it holds a URL such as ``tcp://10.0.0.1:8000``, and a setting otherwise.
    """
    for name, value in list(os.environ.items()):
        if any(names.fullmatch(name) and values.fullmatch(value) for names, values in _SERVICE_LINKS):
            service_links.add(name)
            del os.environ[name]


def environment() -> dict[str, str]:
    """Return the ``IDP_`` variables that are set. Those of the process take precedence over ``.env``."""
    variables = {**dotenv_values(ENV_FILE), **os.environ}
    return {name: value for name, value in variables.items() if name.startswith(PREFIX) and value}


def _refuse_unknown(names: set[str]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in SECRETS}
    problems = []
    for name in sorted(names - known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        problems.append(f"There is no setting {name}." + (f" Did you mean {near[0]}?" if near else ""))
    if problems:
        raise SettingsError("\n".join(problems))


def _read_secret_file(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"{variable} names a file that cannot be read: {reason}.") from error


def load(**overrides: Any) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a variable is unknown, or its value is not allowed.
    """
    _take_out_service_links()
    variables = environment()
    _refuse_unknown(set(variables))
    files: dict[str, str] = {}
    for name in SECRETS:
        variable = PREFIX + name.upper()
        if variable not in variables and (path := variables.get(f"{variable}_FILE")):
            files[name] = _read_secret_file(f"{variable}_FILE", path)
    try:
        return Settings(**(files | overrides))
    except ValidationError as error:
        # The rejected value itself may be a secret and is not repeated.
        raise SettingsError(
            "\n".join(
                f"{PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg'].removeprefix('Value error, ')}."
                for problem in error.errors(include_input=False, include_url=False)
            )
        ) from error


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return load()
