"""Browser sessions and sign-in flows, and the queries on them."""

from piccolo.columns import JSONB, UUID, Array, Bytea, ForeignKey, OnDelete, Text, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.table import Table

from idp.accounts.tables import User
from idp.db.engine import engine
from idp.ids import uuid7


class Session(Table, tablename="session", db=engine):
    """A person signed in at one browser. ``id`` is the ``sid`` claim; the cookie's value is kept only as a hash."""

    id = UUID(primary_key=True, default=uuid7)
    token_hash = Bytea(unique=True, secret=True)
    user_id = ForeignKey(User, on_delete=OnDelete.cascade, null=False, index=True)
    auth_time = Timestamptz()
    amr = Array(Text())
    acr = Text()
    user_agent = Text(default="")
    ip_address = Text(default="")
    created_at = Timestamptz(default=TimestamptzNow())
    last_seen_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    ended_at = Timestamptz(null=True, default=None)


class Flow(Table, tablename="signin_flow", db=engine):
    """One attempt to sign in, named in the URL and bound to one browser.

    ``return_to`` and ``cancel_to`` are paths of our own, set by whoever started the flow. ``display`` is what the
    page shows of the application that the person comes from.
    """

    id = Text(primary_key=True)
    browser_hash = Bytea(secret=True)
    return_to = Text()
    cancel_to = Text(null=True, default=None)
    login_hint = Text(default="")
    display = JSONB(null=True, default=None)
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    finished_at = Timestamptz(null=True, default=None)
