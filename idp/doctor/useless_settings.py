"""Rules about settings of which one makes another one useless."""

from typing import Final

from idp.doctor.models import Level
from idp.doctor.rules import Rule
from idp.settings import DAY

_NOTE, _WARNING, _ERROR = Level.NOTE, Level.WARNING, Level.ERROR

RULES: Final = (
    # Lifetimes
    Rule(
        "session_idle_beyond_lifetime", _WARNING,
        lambda s: s.session_idle_lifetime > s.session_lifetime,
        "IDP_SESSION_IDLE_LIFETIME is longer than IDP_SESSION_LIFETIME, so no session ends because it is unused.",
        "Set IDP_SESSION_IDLE_LIFETIME to less.",
    ),
    Rule(
        "refresh_token_beyond_family", _WARNING,
        lambda s: s.refresh_token_lifetime > s.refresh_token_family_lifetime,
        "IDP_REFRESH_TOKEN_LIFETIME is longer than IDP_REFRESH_TOKEN_FAMILY_LIFETIME, so no token ends because it is"
        " unused.",
        "Set IDP_REFRESH_TOKEN_LIFETIME to less.",
    ),
    Rule(
        "access_token_outlives_refresh_token", _WARNING,
        lambda s: s.access_token_lifetime >= s.refresh_token_lifetime,
        "An access token lives at least as long as the refresh token that replaces it.",
        "Set IDP_ACCESS_TOKEN_LIFETIME to minutes, and IDP_REFRESH_TOKEN_LIFETIME to days.",
    ),
    Rule(
        "refresh_repeat_within_grace", _NOTE,
        lambda s: 0 < s.refresh_token_repeat < s.refresh_token_grace,
        "IDP_REFRESH_TOKEN_REPEAT is shorter than IDP_REFRESH_TOKEN_GRACE, which already repeats every answer.",
        "Set IDP_REFRESH_TOKEN_REPEAT to more than the grace, or to 0.",
    ),
    Rule(
        "email_code_outlives_flow", _WARNING,
        lambda s: s.email_code_lifetime > s.flow_lifetime,
        "A code by email is valid for longer than the sign-in that it belongs to.",
        "Set IDP_EMAIL_CODE_LIFETIME to at most IDP_FLOW_LIFETIME.",
    ),
    Rule(
        "secret_overlap_beyond_lifetime", _WARNING,
        lambda s: 0 < s.client_secret_lifetime < s.client_secret_overlap,
        "IDP_CLIENT_SECRET_OVERLAP is longer than IDP_CLIENT_SECRET_LIFETIME: old secrets expire before it ends.",
        "Set IDP_CLIENT_SECRET_OVERLAP to less than the lifetime.",
    ),
    Rule(
        "ciba_default_beyond_maximum", _ERROR,
        lambda s: s.ciba and s.ciba_request_lifetime > s.ciba_request_max_lifetime,
        "IDP_CIBA_REQUEST_LIFETIME is longer than IDP_CIBA_REQUEST_MAX_LIFETIME.",
        "Set IDP_CIBA_REQUEST_LIFETIME to at most the maximum.",
    ),
    Rule(
        "document_cache_bounds_reversed", _ERROR,
        lambda s: s.client_id_metadata_min_lifetime > s.client_id_metadata_max_lifetime,
        "IDP_CLIENT_ID_METADATA_MIN_LIFETIME is longer than IDP_CLIENT_ID_METADATA_MAX_LIFETIME.",
        "Set the minimum to less than the maximum.",
    ),
    Rule(
        "domain_grace_below_check", _WARNING,
        lambda s: s.domain_grace < s.domain_check_interval,
        "IDP_DOMAIN_GRACE is shorter than IDP_DOMAIN_CHECK_INTERVAL: one missing record ends the verification of a"
        " domain before it is checked a second time.",
        "Set IDP_DOMAIN_GRACE to several intervals.",
    ),
    # Keys
    Rule(
        "key_signs_before_caches_end", _ERROR,
        lambda s: s.key_publication is not None and s.key_publication < s.jwks_max_age,
        "IDP_KEY_PUBLICATION is shorter than IDP_JWKS_MAX_AGE: a new key signs while services may use a copy of the"
        " JWKS without it, and these refuse valid tokens.",
        "Remove IDP_KEY_PUBLICATION, or set it to more than IDP_JWKS_MAX_AGE.",
    ),
    Rule(
        "rotation_within_deadline", _ERROR,
        lambda s: 0 < s.key_rotation_interval <= s.key_rotation_deadline,
        "IDP_KEY_ROTATION_INTERVAL is not longer than IDP_KEY_ROTATION_DEADLINE: the next rotation is due while the"
        " new key still waits.",
        "Set IDP_KEY_ROTATION_INTERVAL to weeks, or IDP_KEY_ROTATION_DEADLINE to less.",
    ),
    Rule(
        "jwks_cached_for_days", _NOTE,
        lambda s: s.jwks_max_age > DAY,
        "IDP_JWKS_MAX_AGE is longer than a day, so services notice the revocation of a key days later.",
        "Set IDP_JWKS_MAX_AGE to minutes.",
    ),
    # Features that are off, or lack what they need
    Rule(
        "mail_missing", _ERROR,
        lambda s: not s.sends_mail and not s.isolated and s.database_url is not None,
        "IDP_SMTP_URL is not set: codes, links for new passwords, and invitations wait in the outbox.",
        "Set IDP_SMTP_URL, such as smtp://user:password@mail.example.com:587.",
    ),
    Rule(
        "server_isolated", _ERROR,
        lambda s: s.isolated,
        "IDP_ISOLATED is set: mails and deliveries wait, and upstreams cannot be called.",
        "Remove it, unless this server runs on a copy of a database.",
    ),
    Rule(
        "document_hosts_missing", _ERROR,
        lambda s: s.client_id_metadata_documents == "allow-list" and not s.client_id_metadata_hosts,
        "IDP_CLIENT_ID_METADATA_DOCUMENTS is allow-list, and IDP_CLIENT_ID_METADATA_HOSTS is empty: no client is"
        " accepted.",
        "Name the hosts in IDP_CLIENT_ID_METADATA_HOSTS, or set the first one to off.",
    ),
    Rule(
        "document_hosts_unused", _NOTE,
        lambda s: s.client_id_metadata_documents != "allow-list" and bool(s.client_id_metadata_hosts),
        "IDP_CLIENT_ID_METADATA_HOSTS has no effect, because IDP_CLIENT_ID_METADATA_DOCUMENTS is not allow-list.",
        "Set IDP_CLIENT_ID_METADATA_DOCUMENTS=allow-list, or remove the hosts.",
    ),
    Rule(
        "statement_issuers_missing", _ERROR,
        lambda s: s.client_registration_statement_required and s.client_registration_statement_issuers is None,
        "IDP_CLIENT_REGISTRATION_STATEMENT_REQUIRED is on, and no issuer of statements is trusted: no client can"
        " register itself.",
        "Set IDP_CLIENT_REGISTRATION_STATEMENT_ISSUERS.",
    ),
    Rule(
        "registration_settings_unused", _NOTE,
        lambda s: s.client_registration == "off"
        and (s.client_registration_statement_required or bool(s.client_registration_hosts)),
        "Settings for clients that register themselves have no effect, because IDP_CLIENT_REGISTRATION is off.",
        "Set IDP_CLIENT_REGISTRATION to token or open, or remove them.",
    ),
    Rule(
        "shared_signals_subjects_unused", _NOTE,
        lambda s: not s.shared_signals and s.shared_signals_subjects == "all",
        "IDP_SHARED_SIGNALS_SUBJECTS has no effect, because IDP_SHARED_SIGNALS is off.",
        "Set IDP_SHARED_SIGNALS=true, or remove it.",
    ),
    Rule(
        "certificate_header_untrusted", _ERROR,
        lambda s: s.client_certificate_header is not None and not s.trusted_proxies,
        "IDP_CLIENT_CERTIFICATE_HEADER is set, and IDP_TRUSTED_PROXIES is empty: the header is ignored, and mutual TLS"
        " does not work.",
        "Name the addresses of your reverse proxies in IDP_TRUSTED_PROXIES.",
    ),
    Rule(
        "mtls_without_header", _ERROR,
        lambda s: s.client_certificate_header is None and (s.mtls_url is not None or s.client_certificates_verified),
        "IDP_MTLS_URL and IDP_CLIENT_CERTIFICATES_VERIFIED have no effect without IDP_CLIENT_CERTIFICATE_HEADER.",
        "Set IDP_CLIENT_CERTIFICATE_HEADER to the format of your proxy.",
    ),
    Rule(
        "mtls_url_is_issuer", _NOTE,
        lambda s: s.mtls_url == s.issuer,
        "IDP_MTLS_URL is the issuer itself, so browsers are asked for a certificate too.",
        "Remove IDP_MTLS_URL, or use a host of its own for mutual TLS.",
    ),
    Rule(
        "google_incomplete", _ERROR,
        lambda s: bool(s.google_client_id) ^ bool(s.google_client_secret)
        or (bool(s.google_domains) and not s.google_client_id),
        "Sign-in with Google needs both IDP_GOOGLE_CLIENT_ID and IDP_GOOGLE_CLIENT_SECRET.",
        "Set both, or remove all IDP_GOOGLE_ settings.",
    ),
    Rule(
        "github_incomplete", _ERROR,
        lambda s: bool(s.github_client_id) ^ bool(s.github_client_secret)
        or (bool(s.github_organizations) and not s.github_client_id),
        "Sign-in with GitHub needs both IDP_GITHUB_CLIENT_ID and IDP_GITHUB_CLIENT_SECRET.",
        "Set both, or remove all IDP_GITHUB_ settings.",
    ),
    Rule(
        "ports_collide", _ERROR,
        lambda s: s.metrics_address is not None and s.metrics_address[1] == s.port,
        "IDP_METRICS_ADDRESS uses the port of the server itself.",
        "Choose another port, such as 9464.",
    ),
)  # fmt: skip
