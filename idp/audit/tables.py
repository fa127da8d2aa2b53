"""Tables of the audit trail and of the hourly counts."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import JSONB, UUID, BigInt, Bytea, PrimaryKey, Text, Timestamptz
from idp.infra.db.engine import engine


class AuditEvent(Table, tablename="audit_event", db=engine):
    """One security-relevant event. Rows are only ever added.

    No foreign keys, because an event outlives its user and client. ``actor`` is the admin, client or command line that
    caused it, if not the user. ``hash`` is an HMAC over all other columns (:mod:`idp.audit.row_hmac`); the next
    checkpoint sets ``seq`` and the hash that covers it. The table is partitioned by month, by ``id``
    (:mod:`idp.infra.db.partitions`).
    """

    id = UUID(primary_key=True, default=uuid7)
    at = Timestamptz()
    event = Text()
    outcome = Text()
    actor = Text()
    user_id = UUID(null=True)
    client_id = Text(null=True)
    session_id = UUID(null=True)
    ip_address = Text()
    request_id = Text()
    detail = JSONB()
    hash = Bytea(null=True)
    seq = BigInt(null=True, index=True)


class AuditCheckpoint(Table, tablename="audit_checkpoint", db=engine):
    """A signed statement about the rows ``first_seq`` to ``last_seq``. ``root`` is the root of their Merkle tree.

    ``previous`` is the hash of the previous checkpoint, so that none can be removed. ``statement`` is the JWS.
    """

    number = BigInt(primary_key=True)
    at = Timestamptz()
    first_seq = BigInt()
    last_seq = BigInt()
    root = Bytea()
    previous = Bytea(null=True)
    statement = Text()


class AuditExport(Table, tablename="audit_export", db=engine):
    """A place outside the database that checkpoints are sent to.

    ``sent`` is the number of the last checkpoint that it accepted. Until ``leased_until`` only the worker with the
    lease sends. ``place`` is a digest of the URL, which may hold a secret.
    """

    place = Text(primary_key=True)
    sent = BigInt()
    leased_until = Timestamptz()


class EventFeed(Table, tablename="event_feed", db=engine):
    """The ids of events that someone subscribed to and that are not published yet (:mod:`idp.events`).

    ``private`` is what subscribers may learn and the trail must not keep.
    """

    id = UUID(primary_key=True)
    private = JSONB(null=True)


class EventFeedKind(Table, tablename="event_feed_kind", db=engine):
    """A kind of event that is put into the feed for a subscriber; ``*``: all."""

    kind = Text()
    subscriber = Text()

    event_feed_kind_pkey = PrimaryKey([kind, subscriber])


class Activity(Table, tablename="activity", db=engine):
    """The number of events of one kind in one hour, for the dashboard. ``id`` is the hour and the kind."""

    id = Text(primary_key=True)
    hour = Timestamptz(index=True)
    kind = Text()
    number = BigInt()
