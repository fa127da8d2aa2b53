"""The ``reason`` of audit events and log lines: why something was refused, in one word.

The response never depends on it. docs/audit.md explains every member.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a token, a code, a sign-in or a client was refused."""

    # Tokens, codes and other signed values
    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    WRONG_TYPE = "wrong_type"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    UNKNOWN = "unknown"
    ROTATED = "rotated"
    REUSED = "reused"
    FAMILY_EXPIRED = "family_expired"
    ISSUED_TOO_EARLY = "issued_too_early"
    SESSION_ENDED = "session_ended"
    USER_DISABLED = "user_disabled"
    NOT_A_MEMBER = "not_a_member"
    CLIENT_DISABLED = "client_disabled"
    WRONG_CLIENT = "wrong_client"
    WRONG_REDIRECT_URI = "wrong_redirect_uri"
    PKCE_MISMATCH = "pkce_mismatch"
    WRONG_KEY = "wrong_key"
    PROOF_MISSING = "proof_missing"
    NO_POLICY = "no_policy"
    ADMINISTRATOR = "administrator"
    WRONG_ACTOR = "wrong_actor"
    TOO_MANY_EXCHANGES = "too_many_exchanges"
    PROOF_OF_ANOTHER_REQUEST = "proof_of_another_request"
    CHANGED_MEANWHILE = "changed_meanwhile"

    # Revoked, by what
    REVOKED = "revoked"
    REVOKED_BY_USER = "revoked_by_user"
    REVOKED_BY_CLIENT = "revoked_by_client"
    REVOKED_BY_ADMIN = "revoked_by_admin"
    REVOKED_BY_INCIDENT = "revoked_by_incident"
    REVOKED_FOR_REUSE = "revoked_for_reuse"
    REVOKED_BY_CREDENTIAL_CHANGE = "revoked_by_credential_change"
    REVOKED_BY_NEWER_SIGN_IN = "revoked_by_newer_sign_in"
    REVOKED_BY_RESTORE = "revoked_by_restore"

    # Requests
    INVALID_REQUEST = "invalid_request"
    INVALID_METADATA = "invalid_metadata"
    NOT_SUPPORTED = "not_supported"
    GRANT_NOT_ALLOWED = "grant_not_allowed"
    SCOPE_NOT_ALLOWED = "scope_not_allowed"
    RESOURCE_NOT_ALLOWED = "resource_not_allowed"
    TOKEN_MISSING = "token_missing"
    SCOPE_MISSING = "scope_missing"
    NONCE_NEEDED = "nonce_needed"
    SIGN_IN_NEEDED = "sign_in_needed"
    CONSENT_NEEDED = "consent_needed"
    PAGE_NEEDED = "page_needed"
    DENIED_BY_USER = "denied_by_user"
    NOT_DECIDED_YET = "not_decided_yet"
    POLLED_TOO_OFTEN = "polled_too_often"
    NO_ENCRYPTION_KEY = "no_encryption_key"

    # This server
    OVERLOADED = "overloaded"
    NO_SIGNING_KEY = "no_signing_key"
    DATABASE_UNAVAILABLE = "database_unavailable"

    # Clients
    UNKNOWN_CLIENT = "unknown_client"
    WRONG_SECRET = "wrong_secret"
    NO_SECRET_SET = "no_secret_set"
    SECRET_EXPIRED = "secret_expired"
    SECRET_NOT_SENT = "secret_not_sent"
    SECRET_NOT_EXPECTED = "secret_not_expected"
    WRONG_AUTH_METHOD = "wrong_auth_method"
    KEYS_UNAVAILABLE = "keys_unavailable"
    UNKNOWN_WORKLOAD = "unknown_workload"
    UNTRUSTED_ISSUER = "untrusted_issuer"
    UNTRUSTED_CERTIFICATE = "untrusted_certificate"

    DOCUMENT_NOT_ACCEPTED = "document_not_accepted"
    DOCUMENT_UNAVAILABLE = "document_unavailable"
    DOCUMENT_INVALID = "document_invalid"

    # Users whom an access policy does not allow a client
    NOT_IN_GROUP = "not_in_group"
    NOT_IN_ORGANIZATION = "not_in_organization"
    WITHOUT_ROLE = "without_role"
    WITHOUT_ATTRIBUTE = "without_attribute"
    OUTSIDE_OF_NETWORK = "outside_of_network"
    OUTSIDE_OF_TIME = "outside_of_time"
    ACR_TOO_LOW = "acr_too_low"

    # Sign-ins that do not meet the policy of their organization; or their level is too low
    WAY_NOT_ALLOWED = "way_not_allowed"
    SESSION_TOO_OLD = "session_too_old"
    SESSION_IDLE = "session_idle"

    # Token hooks
    DENIED_BY_TOKEN_HOOK = "denied_by_token_hook"
    TOKEN_HOOK_FAILED = "token_hook_failed"

    # Sign-ins
    UNKNOWN_USER = "unknown_user"
    WRONG_PASSWORD = "wrong_password"
    WRONG_CODE = "wrong_code"
    WRONG_PASSKEY = "wrong_passkey"
    INVALID_INPUT = "invalid_input"
    TOO_MANY_TRIES = "too_many_tries"
    ENFORCED_DOMAIN = "enforced_domain"
    FLOW_EXPIRED = "flow_expired"
    FLOW_FINISHED = "flow_finished"
    COOKIE_MISSING = "cookie_missing"
    OTHER_BROWSER = "other_browser"

    # Sign-ins by an upstream
    UPSTREAM_FAILED = "failed"
    UPSTREAM_UNAVAILABLE = "unavailable"
    UPSTREAM_UNTRUSTED = "untrusted"
    UPSTREAM_CANCELLED = "cancelled"
    UPSTREAM_REFUSED = "refused"
    WRONG_ORGANIZATION = "outside"
    NOT_REAUTHENTICATED = "not_reauthenticated"
    DIRECTORY_ACCOUNT = "directory_account"
    FOREIGN_ADDRESS = "foreign_address"
    ORGANIZATION_UNAVAILABLE = "organization_unavailable"
