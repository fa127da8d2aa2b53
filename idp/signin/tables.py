"""Tables of sessions, sign-in flows, devices and factors."""

from piccolo.constraints import Unique
from piccolo.table import Table

from idp.accounts.tables import User
from idp.ids import uuid7
from idp.infra.db.columns import (
    JSONB,
    UUID,
    Array,
    BigInt,
    Boolean,
    Bytea,
    CompositeForeignKey,
    ForeignKey,
    Integer,
    OnUpdate,
    PrimaryKey,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine


class Session(Table, tablename="session", db=engine):
    """A user signed in at one browser. ``id`` is the ``sid`` claim; of the cookie's value only the hash is stored.

    ``steps`` are the completed steps of :mod:`idp.signin.transitions`; ``amr`` and ``acr`` follow from them.
    ``challenge`` is the challenge that the next new passkey must sign (WebAuthn section 13.4.3). ``longest_pause`` is
    the longest time in seconds between two requests since the sign-in; pauses below a minute may be left out.
    ``ended_by`` is the actor who ended the session, as in the audit trail. ``announced_at`` is the time at which the
    end of the session was passed on to those who are told of it.
    """

    user_id = ForeignKey(User)
    id = UUID(default=uuid7, index=True)
    token_hash = Bytea(secret=True)
    auth_time = Timestamptz()
    steps = Array(Text())
    amr = Array(Text())
    acr = Text()
    user_agent = Text()
    ip_address = Text()
    challenge = Bytea(null=True, secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    last_seen_at = Timestamptz()
    longest_pause = Integer(default=0)
    expires_at = Timestamptz(index=True)
    ended_at = Timestamptz(null=True)
    ended_reason = Text(null=True)
    ended_by = Text(null=True)
    announced_at = Timestamptz(null=True)

    session_pkey = PrimaryKey([user_id, id])  # noqa: A003 -- the column
    session_one_per_token = Unique([user_id, token_hash])


class UpstreamSession(Table, tablename="upstream_session", db=engine):
    """A session at an upstream provider that a session here came from. ``sid`` is empty if the provider does not name
    its sessions. Deleted with the session here.
    """

    user_id = UUID()
    session_id = ForeignKey(Session)
    issuer = Text()
    subject = Text()
    sid = Text()

    upstream_session_pkey = PrimaryKey([user_id, session_id, issuer, subject, sid])
    upstream_session_user_id_session_id_fkey = CompositeForeignKey([user_id, session_id])


class UpstreamSid(Table, tablename="upstream_sid", db=engine):
    """Lookup table: the user of a named session at an upstream provider. Written with :class:`UpstreamSession`."""

    issuer = Text()
    sid = Text()
    user_id = UUID()
    session_id = ForeignKey(Session)

    upstream_sid_pkey = PrimaryKey([issuer, sid, user_id, session_id])
    upstream_sid_user_id_session_id_fkey = CompositeForeignKey([user_id, session_id])


class Flow(Table, tablename="signin_flow", db=engine):
    """One attempt to sign in, named in the URL and bound to one browser.

    - ``return_to`` and ``cancel_to``: paths of our own, set when the flow is started.
    - ``display``: the part of the application that the pages show.
    - ``acr``, ``required_acr``: the level that is asked for, and the one without which the sign-in does not finish.
    - ``max_age``: the greatest age of a proof in seconds; null for any.
    - ``user_id``, ``done``: the user and the completed steps so far.
    - ``turn``: raised by every step and every change of ``registration`` or ``identity``. Each change is conditional on
      it, so that a step is taken once, and for what its page showed.
    - ``session_id``: the session whose steps a step-up continues.
    - ``registration``: an account to create once its address is verified.
    - ``identity``: an identity at an upstream provider whose account here is not known yet.
    - ``upstream``: the session at an upstream provider that a step was proved with.
    - ``attributes``: those that the application requires; null for none.
    - ``ways``: the first steps that may be taken; null for all.
    - ``occasion``: why it starts, where the first page says so.
    - ``kept_form``: the encrypted form that the sign-in returns to.
    - ``trace_id``: of the record for support (:mod:`idp.trace`).
    """

    id = Text(primary_key=True)
    browser_hash = Bytea(secret=True)
    return_to = Text()
    cancel_to = Text(null=True)
    login_hint = Text()
    acr = Text()
    max_age = BigInt(null=True)
    required_acr = Text()
    user_id = ForeignKey(User, null=True)
    session_id = ForeignKey(Session, null=True)
    done = Array(Text())
    turn = Integer(default=0)
    registration = JSONB(null=True, secret=True)
    identity = JSONB(null=True, secret=True)
    upstream = JSONB(null=True)
    display = JSONB(null=True)
    attributes = Array(Text(), null=True)
    ways = Array(Text(), null=True)
    occasion = Text(null=True)
    kept_form = Bytea(null=True, secret=True)
    trace_id = Text()
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    finished_at = Timestamptz(null=True)

    signin_flow_user_id_session_id_fkey = CompositeForeignKey([user_id, session_id])


class Device(Table, tablename="device", db=engine):
    """A browser in which a user has signed in before, recognised by its cookie.

    A lock of the account by failed attempts in other browsers does not apply to it. Until ``trusted_until`` it skips
    the second factor. ``second_step_at`` is the last use of a second factor there; attempts with codes at this device
    are counted separately only if it is set.
    """

    user_id = ForeignKey(User)
    id = UUID(default=uuid7)
    token_hash = Bytea(secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    trusted_until = Timestamptz(null=True)
    second_step_at = Timestamptz(null=True)
    expires_at = Timestamptz(index=True)

    device_pkey = PrimaryKey([user_id, id])  # noqa: A003
    device_one_of_user = Unique([user_id, token_hash])


class DeviceToken(Table, tablename="device_token", db=engine):
    """Lookup table: the users who signed in with a browser. Inserted with :class:`Device`, changed and deleted by its
    row.
    """

    token_hash = ForeignKey(Device, target_column="token_hash", on_update=OnUpdate.cascade, secret=True)
    user_id = UUID()

    device_token_pkey = PrimaryKey([token_hash, user_id])
    device_token_user_id_token_hash_fkey = CompositeForeignKey([user_id, token_hash])


class Totp(Table, tablename="totp", db=engine):
    """A user's authenticator app (RFC 6238). ``last_step`` is the latest time step that was used; none is used twice.

    It is valid once ``confirmed_at`` is set. Until then only ``holder``, the sign-in flow or session that was shown the
    secret, can confirm it. Each secret has a new ``id``.
    """

    user_id = ForeignKey(User, primary_key=True)
    id = UUID(default=uuid7)
    secret = Bytea(secret=True)
    holder = Text(null=True)
    last_step = BigInt(default=0)
    created_at = Timestamptz(default=TimestamptzNow())
    confirmed_at = Timestamptz(null=True)
    last_used_at = Timestamptz(null=True)


class RecoveryCode(Table, tablename="recovery_code", db=engine):
    """A code that replaces a lost second factor, once."""

    user_id = ForeignKey(User)
    code_hash = Bytea(secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    used_at = Timestamptz(null=True)

    recovery_code_pkey = PrimaryKey([user_id, code_hash])


class Passkey(Table, tablename="passkey", db=engine):
    """A WebAuthn credential. ``backup_eligible`` says whether it may be on several devices of its owner."""

    user_id = ForeignKey(User)
    id = UUID(default=uuid7)
    credential_id = Bytea()
    public_key = Bytea(secret=True)
    sign_count = BigInt()
    transports = Array(Text())
    aaguid = UUID()
    backup_eligible = Boolean()
    name = Text()
    created_at = Timestamptz(default=TimestamptzNow())
    last_used_at = Timestamptz(null=True)

    passkey_pkey = PrimaryKey([user_id, id])  # noqa: A003
    passkey_one_of_user = Unique([user_id, credential_id])


class PasskeyCredential(Table, tablename="passkey_credential", db=engine):
    """Lookup table: the user of a passkey. A credential belongs to one user. Written with :class:`Passkey`."""

    credential_id = ForeignKey(Passkey, target_column="credential_id", primary_key=True)
    user_id = UUID()

    passkey_credential_user_id_credential_id_fkey = CompositeForeignKey([user_id, credential_id])
