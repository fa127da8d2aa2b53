"""The lookups beside the tables that they lead to (docs/decisions/0050-lookups-and-lock-order.md)."""

from idp.infra.db.engine import fetch

#: The table of each lookup, and the columns that both have.
LOOKUPS = {
    "user_email": ("(SELECT id AS user_id, email FROM users)", "user_id, email"),
    "device_token": ("device", "user_id, token_hash"),
    "passkey_credential": ("passkey", "user_id, credential_id"),
    "upstream_sid": (
        "(SELECT DISTINCT user_id, session_id, issuer, sid FROM upstream_session WHERE sid <> '')",
        "user_id, session_id, issuer, sid",
    ),
    "upstream_subject": ("identity", "user_id, issuer, subject"),
}
_DIFFERENCES = " UNION ALL ".join(
    f"SELECT '{lookup}' AS lookup, user_id FROM {table} AS t FULL JOIN {lookup} AS l USING ({columns})"
    " WHERE t.* IS NULL OR l.* IS NULL"
    for lookup, (table, columns) in LOOKUPS.items()
)


async def differences() -> list[tuple[str, str]]:
    """The lookups that lead to no row, or that a row lacks, each with its user."""
    return [(row["lookup"], str(row["user_id"])) for row in await fetch(_DIFFERENCES)]
