"""The database URL: libpq's parameters translated for asyncpg.

Hosted databases put libpq's parameters into the URLs that they show (PostgreSQL documentation, section 34.1.2). asyncpg
sends unknown ones to the server as settings, and the server refuses them.
"""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import structlog

from idp.settings import SettingsError

log = structlog.get_logger()

#: Default of ``connect_timeout`` per host, in seconds.
CONNECT_SECONDS = 10.0

#: Parameters that asyncpg does not have, and that can be ignored without a less secure connection.
_IGNORED = frozenset(
    {
        *("channel_binding", "client_encoding", "fallback_application_name", "gssencmode", "gssdelegation"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
        *("load_balance_hosts", "max_protocol_version", "min_protocol_version", "sslcertmode", "sslcompression"),
        *("sslcrldir", "sslkeylogfile", "sslsni"),
        *("connection_limit", "pgbouncer", "pool_timeout"),  # Prisma's parameters, which hosted databases show too
    }
)
#: Parameters that asyncpg cannot honour and that must not be ignored: the connection would be less secure, or go
#: elsewhere.
_REFUSED = frozenset({"hostaddr", "replication", "require_auth", "requirepeer"})


def connect_options(dsn: str) -> dict[str, Any]:
    """Return the arguments of :func:`idp.infra.db.hosts.connect` for a URL. asyncpg refuses malformed ones.

    Raises:
        SettingsError: a parameter is not supported.
    """
    try:
        parts = urlsplit(dsn)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        timeout = float(query.pop("connect_timeout", "") or 0)
    except ValueError:
        return {"dsn": dsn, "timeout": CONNECT_SECONDS}
    _refuse(query)
    ignored = _IGNORED & query.keys()
    if ignored:
        log.debug("database_parameters_ignored", reason=", ".join(sorted(ignored)))
    query = {name: value for name, value in query.items() if name not in ignored}
    application_name = query.pop("application_name", "") or "idp"
    if "," in parts.netloc or "," in query.get("host", ""):
        # Usually one of them is a standby.
        query.setdefault("target_session_attrs", "read-write")
    return {
        "dsn": urlunsplit(parts._replace(query=urlencode(query))),
        # libpq raises one second to two, and waits forever for 0. Here there is always a limit.
        "timeout": max(timeout, 2.0) if timeout > 0 else CONNECT_SECONDS,
        "server_settings": {"application_name": application_name},
    }


def _refuse(query: dict[str, str]) -> None:
    refused = sorted(_REFUSED & query.keys()) + (["gssencmode=require"] if query.get("gssencmode") == "require" else [])
    if refused:
        raise SettingsError(f"IDP_DATABASE_URL: {', '.join(refused)} cannot be used here. Remove it from the URL.")
