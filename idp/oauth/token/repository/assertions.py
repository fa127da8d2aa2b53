"""Token families that a token of a trusted issuer started. They end with the trust."""

from collections.abc import Collection

from idp.accounts.repository.users import lock_user
from idp.infra.db.engine import execute, transaction
from idp.infra.db.named_queries import NamedQuery
from idp.oauth.token.grant import Grant
from idp.oauth.token.repository.families import with_version

# A concurrent change of the rule waits, and then revokes the family. It is a statement of its own: if it waits for a
# change, the insert after it sees the clients that the change left.
_LOCK_ISSUER = "SELECT FROM trusted_issuer WHERE id = $1 FOR SHARE"
_INSERT_FAMILY = NamedQuery("""
WITH family AS (
    INSERT INTO token_family (user_id, id, client_id, scope, resource, authorization_details, offline_access,
                              auth_time, auth_age, amr, acr, created_at, expires_at)
    SELECT u.id, :family_id, c.client_id, :scope, :resource, :authorization_details, true,
           :auth_time, :auth_age, :amr, :acr, now(), now() + make_interval(secs => :lifetime)
    FROM users AS u, trusted_issuer AS i, trusted_issuer_client AS c
    WHERE u.id = :user_id AND u.disabled_at IS NULL
      AND i.id = :issuer_id AND (i.config ->> 'enabled')::boolean
      AND c.issuer_id = :issuer_id AND c.client_id = :client_id
    RETURNING user_id, id
), asserted AS (
    INSERT INTO asserted_family (user_id, family_id, issuer_id) SELECT user_id, id, :issuer_id FROM family
)
SELECT u.directory_version FROM family, users AS u WHERE u.id = :user_id
""")

# $1 issuer_id  $2 the clients that may still present its tokens
_REVOKE = """
UPDATE token_family AS f SET revoked_at = now(), revoked_reason = 'issuer_distrusted'
FROM asserted_family AS a
WHERE a.issuer_id = $1 AND f.user_id = a.user_id AND f.id = a.family_id AND f.revoked_at IS NULL
  AND f.client_id <> ALL($2::text[])
"""


async def insert_asserted_family(grant: Grant, client_id: str, lifetime: float, issuer_id: str) -> Grant | None:
    """Store the family of a grant for ``lifetime`` seconds. Returns the grant with its ``directory_version``.

    Returns None if its user is disabled, or its client may no longer present tokens of the issuer.
    """
    given = {"client_id": client_id, "lifetime": lifetime, "issuer_id": issuer_id}
    values = {name: getattr(grant, name) for name in _INSERT_FAMILY.names if name not in given}
    async with transaction():
        # A concurrent sign-out waits, and then revokes the family.
        await lock_user(grant.user_id)
        await execute(_LOCK_ISSUER, issuer_id)
        return with_version(grant, await _INSERT_FAMILY.fetchrow(**values, **given))


async def revoke_asserted_families(issuer_id: str, kept: Collection[str] = ()) -> int:
    """Revoke the families that tokens of an issuer started, except those of some clients. Returns their number."""
    return await execute(_REVOKE, issuer_id, list(kept))
