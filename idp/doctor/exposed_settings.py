"""Rules about settings that together are dangerous."""

from typing import Final

from idp.doctor.models import Level
from idp.doctor.rules import Rule, is_public_domain, mail_domain, production
from idp.settings import DAY, HOUR

_NOTE, _WARNING, _ERROR = Level.NOTE, Level.WARNING, Level.ERROR

#: Argon2id memory in KiB below which a stolen hash is cheap to attack (OWASP Password Storage: 7 MiB with 5 passes).
MIN_ARGON2_MEMORY = 7168

RULES: Final = (
    # The address of the server
    Rule(
        "issuer_without_https", _ERROR,
        lambda s: s.issuer.startswith("http://") and not s.loopback,
        "The issuer is not https, so passwords and tokens are sent without encryption. `idp serve` refuses it.",
        "Set IDP_ISSUER to the https URL that your reverse proxy serves.",
    ),
    Rule(
        "development_mode_exposed", _ERROR,
        lambda s: s.dev and not s.loopback,
        "IDP_DEV is on, and the issuer is not this machine: the sample users have known passwords.",
        "Remove IDP_DEV.",
    ),
    Rule(
        "proxies_not_named", _WARNING,
        lambda s: production(s) and not s.trusted_proxies,
        "The issuer is https, which a reverse proxy serves, and IDP_TRUSTED_PROXIES is empty: all users share the"
        " address of the proxy, in limits and in the audit trail.",
        "Set IDP_TRUSTED_PROXIES to the addresses of the proxy, such as 127.0.0.1 or 10.0.3.0/24.",
    ),
    Rule(
        "mtls_url_without_https", _ERROR,
        lambda s: s.mtls_url is not None and s.mtls_url.startswith("http://") and production(s),
        "IDP_MTLS_URL is not https, so there are no client certificates.",
        "Set it to the https URL where the proxy asks for certificates.",
    ),
    # Mail
    Rule(
        "mail_from_not_public", _ERROR,
        lambda s: s.smtp_url is not None and production(s) and not is_public_domain(mail_domain(s)),
        "The domain of IDP_MAIL_FROM is not in the public DNS, so other mail servers refuse the mails.",
        "Set IDP_MAIL_FROM to an address of your domain, such as Example <no-reply@example.com>.",
    ),
    # Calls to others
    Rule(
        "outbound_without_https", _WARNING,
        lambda s: production(s) and s.outbound_allow_http,
        "IDP_OUTBOUND_ALLOW_HTTP is on: keys and tokens of other servers may be changed on their way.",
        "Remove it, and use https for every URL of a provider, webhook or hook.",
    ),
    Rule(
        "breached_passwords_without_https", _WARNING,
        lambda s: (s.breached_passwords_url or "").startswith("http://"),
        "IDP_BREACHED_PASSWORDS_URL is not https: others can see parts of the hashes of passwords.",
        "Use https.",
    ),
    Rule(
        "breached_passwords_url_incomplete", _ERROR,
        lambda s: s.breached_passwords_url is not None and not s.breached_passwords_url.endswith(("/", "=")),
        "IDP_BREACHED_PASSWORDS_URL does not end with a slash. The start of a hash is appended to it.",
        "Append a slash, as in https://api.pwnedpasswords.com/range/.",
    ),
    # Signing in
    Rule(
        "administrators_with_one_factor", _WARNING,
        lambda s: production(s) and s.admin_acr == "1",
        "IDP_ADMIN_ACR is 1: a stolen password of an administrator is enough to take over the server.",
        "Set IDP_ADMIN_ACR to 2 or phr.",
    ),
    Rule(
        "address_limits_off", _WARNING,
        lambda s: production(s) and not s.address_limits,
        "IDP_ADDRESS_LIMITS is off: one machine can try a password at every account.",
        "Remove it. If users share an address, name the proxy before them in IDP_TRUSTED_PROXIES.",
    ),
    Rule(
        "hashing_too_cheap", _WARNING,
        lambda s: production(s) and s.argon2_memory_cost < MIN_ARGON2_MEMORY,
        "IDP_ARGON2_MEMORY_COST is so low that passwords can be guessed cheaply from stolen hashes.",
        "Remove it, or set it to at least 19456.",
    ),
    Rule(
        "passwords_not_rated", _NOTE,
        lambda s: s.password_min_score == 0,
        "IDP_PASSWORD_MIN_SCORE is 0, so the simplest passwords are allowed.",
        "Set it to 2 or more.",
    ),
    Rule(
        "legacy_response_types_on", _NOTE,
        lambda s: s.legacy_response_types,
        "IDP_LEGACY_RESPONSE_TYPES is on: tokens of some clients pass through the address bar of the browser.",
        "Remove it as soon as these clients use the authorization code flow.",
    ),
    Rule(
        "access_tokens_live_long", _NOTE,
        lambda s: s.access_token_lifetime > HOUR,
        "Access tokens live for more than an hour. Services that validate them offline accept them that long after a"
        " sign-out.",
        "Set IDP_ACCESS_TOKEN_LIFETIME to 5 to 15 minutes.",
    ),
    # Operation
    Rule(
        "master_key_twice", _NOTE,
        lambda s: s.master_key is not None and s.master_key_path.exists(),
        "There is a master key in the settings and in a file. The file is not used.",
        "Remove the one that is not needed, after you made sure that it is not needed.",
    ),
    Rule(
        "database_embedded", _NOTE,
        lambda s: production(s) and s.database_url is None,
        "The embedded PostgreSQL serves one machine, and nothing takes over if it fails.",
        "Set IDP_DATABASE_URL for more than one server, and make backups in any case.",
    ),
    Rule(
        "logs_everything", _NOTE,
        lambda s: production(s) and s.log_level == "debug",
        "IDP_LOG_LEVEL is debug: every request is logged.",
        "Set it to info after you found what you look for.",
    ),
    Rule(
        "audit_kept_briefly", _NOTE,
        lambda s: 0 < s.audit_retention < 30 * DAY,
        "IDP_AUDIT_RETENTION is shorter than a month: many intrusions are noticed later.",
        "Set it to a year, or export the audit trail.",
    ),
    Rule(
        "audit_checkpoints_stay_inside", _NOTE,
        lambda s: production(s) and s.audit_checkpoint_file is None and s.audit_checkpoint_url is None,
        "Checkpoints of the audit trail are in the database only. One who can write to the database and has the keys"
        " could change both.",
        "Set IDP_AUDIT_CHECKPOINT_URL or IDP_AUDIT_CHECKPOINT_FILE to a place outside.",
    ),
)  # fmt: skip
