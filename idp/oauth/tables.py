"""Authorization requests, pushed requests, codes, token families, refresh tokens and consents."""

from piccolo.table import Table

from idp.accounts.tables import User
from idp.ids import uuid7
from idp.infra.db.columns import (
    JSONB,
    UUID,
    Array,
    Boolean,
    Bytea,
    CompositeForeignKey,
    ForeignKey,
    Integer,
    OnDelete,
    PrimaryKey,
    SmallInt,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow
from idp.oauth.issuers.tables import TrustedIssuerRow
from idp.signin.tables import Session


class AuthorizationRequestRow(Table, tablename="authorization_request", db=engine):
    """A validated authorization request that waits for its user to sign in or consent, bound to one browser.

    ``browser_hash`` is null for a request that came by POST, until a browser claims it. ``consented_by`` is the user
    who consented to this request. ``client_id`` may be that of a document, which has a row from the first consent on.
    """

    id = Text(primary_key=True)
    browser_hash = Bytea(null=True, secret=True)
    client_id = Text()
    request = JSONB()
    consented_by = UUID(null=True)
    organization_id = UUID(null=True)
    chosen_by = UUID(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    finished_at = Timestamptz(null=True)


class PushedRequest(Table, tablename="pushed_request", db=engine):
    """A pushed authorization request (RFC 9126 section 2), by the SHA-256 of its ``request_uri``.

    ``used_at`` is the time of the authorization response, after which it yields no other.
    """

    request_uri_hash = Bytea(primary_key=True, secret=True)
    client_id = Text()
    request = JSONB()
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    used_at = Timestamptz(null=True)


class AuthorizationCode(Table, tablename="authorization_code", db=engine):
    """An authorization code (RFC 6749 section 4.1.2) with the content of its tokens.

    ``auth_time`` is the time of the sign-in here, and ``auth_age`` the seconds by which its proof is older: the claim
    ``auth_time`` is the difference, and is omitted if ``auth_age`` is null.

    ``confirmation`` is the key that it is bound to, as the claim ``cnf`` (RFC 7800). ``family_id`` is the id of the
    :class:`TokenFamily` that redemption creates, ``trace_id`` that of the record for support (:mod:`idp.trace`). A
    consumed code stays in the table for a day after it expires, so that a second use is detected.
    """

    user_id = ForeignKey(User)
    code_hash = Bytea(secret=True)
    family_id = UUID()
    client_id = ForeignKey(ClientRow)
    session_id = ForeignKey(Session)
    organization_id = UUID(null=True)
    redirect_uri = Text()
    code_challenge = Text(null=True)
    nonce = Text(null=True)
    scope = Text()
    resource = Array(Text())
    claims = JSONB(null=True)
    authorization_details = JSONB(null=True)
    confirmation = JSONB(null=True)
    offline_access = Boolean()
    auth_time = Timestamptz()
    auth_age = Integer(null=True)
    amr = Array(Text())
    acr = Text()
    trace_id = Text()
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    consumed_at = Timestamptz(null=True)

    authorization_code_pkey = PrimaryKey([user_id, code_hash])
    authorization_code_user_id_session_id_fkey = CompositeForeignKey([user_id, session_id])


class SessionClient(Table, tablename="session_client", db=engine):
    """A client that took part in a session: it got a code or an ID token in it, and learns when the session ends.

    ``client_id`` may be that of a client that was deleted since.
    """

    user_id = UUID()
    session_id = ForeignKey(Session)
    client_id = Text()
    created_at = Timestamptz(default=TimestamptzNow())

    session_client_pkey = PrimaryKey([user_id, session_id, client_id])
    session_client_user_id_session_id_fkey = CompositeForeignKey([user_id, session_id])


class TokenFamily(Table, tablename="token_family", db=engine):
    """All tokens issued from one authorization; they are revoked together.

    The ``jti`` of each access token begins with the id. Without ``offline_access`` the family ends with the session.
    ``auth_time`` and ``auth_age`` are those of the code. ``confirmation`` is the key that its refresh tokens are bound
    to if the client is public.
    """

    user_id = ForeignKey(User)
    id = UUID(default=uuid7)
    client_id = ForeignKey(ClientRow, index=True)
    session_id = ForeignKey(Session, on_delete=OnDelete.set_null, null=True)
    organization_id = UUID(null=True)
    scope = Text()
    resource = Array(Text())
    claims = JSONB(null=True)
    authorization_details = JSONB(null=True)
    confirmation = JSONB(null=True)
    offline_access = Boolean()
    auth_time = Timestamptz()
    auth_age = Integer(null=True)
    amr = Array(Text())
    acr = Text()
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    revoked_at = Timestamptz(null=True)
    revoked_reason = Text(null=True)

    token_family_pkey = PrimaryKey([user_id, id])  # noqa: A003 -- the column
    token_family_user_id_session_id_fkey = CompositeForeignKey([user_id, session_id])


class AssertedFamily(Table, tablename="asserted_family", db=engine):
    """The trusted issuer whose token started a family, so that the family ends with the trust."""

    user_id = UUID()
    family_id = ForeignKey(TokenFamily)
    issuer_id = ForeignKey(TrustedIssuerRow, index=True)

    asserted_family_pkey = PrimaryKey([user_id, family_id])
    asserted_family_user_id_family_id_fkey = CompositeForeignKey([user_id, family_id])


class RefreshToken(Table, tablename="refresh_token", db=engine):
    """One refresh token of a family; ``jti`` is the claim of its JWT, and ``user_id`` that of the family.

    ``issued_at`` and ``expires_at`` are whole seconds, so that the same JWT can be rebuilt, byte for byte.
    ``used_at`` is the last use of one that is not rotated.
    """

    user_id = UUID()
    jti = UUID(default=uuid7)
    family_id = ForeignKey(TokenFamily)
    token_hash = Bytea(secret=True)
    issued_at = Timestamptz()
    expires_at = Timestamptz(index=True)
    used_at = Timestamptz(null=True)
    rotated_at = Timestamptz(null=True)
    successor = UUID(null=True)

    refresh_token_pkey = PrimaryKey([user_id, jti])
    refresh_token_user_id_family_id_fkey = CompositeForeignKey([user_id, family_id])


class RevokedAccessToken(Table, tablename="revoked_access_token", db=engine):
    """An individually revoked access token, by its ``jti`` (RFC 7009), kept until its expiry."""

    jti = Text(primary_key=True)
    expires_at = Timestamptz(index=True)


class NotBefore(Table, tablename="not_before", db=engine):
    """One row: tokens of any client that were issued before ``not_before`` are refused."""

    id = SmallInt(primary_key=True)
    not_before = Timestamptz()


class Consent(Table, tablename="consent", db=engine):
    """The consent of a user to a client (:class:`idp.oauth.consent_grant.ConsentGrant`).

    A pair is a scope and its resource. ``documents_hash`` is a hash of the policy and terms URIs that were shown. For a
    client by document it is the hash of ``client_metadata``, which the next page is compared with.
    """

    user_id = ForeignKey(User)
    client_id = ForeignKey(ClientRow, index=True)
    id = UUID(default=uuid7, index=True)
    pairs = Array(Text())
    claims = Array(Text())
    authorization_details = JSONB(null=True)
    documents_hash = Bytea()
    client_metadata = JSONB(null=True)
    granted_at = Timestamptz(default=TimestamptzNow())

    consent_pkey = PrimaryKey([user_id, client_id])
