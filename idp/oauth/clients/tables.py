"""The tables of clients and resource servers."""

from piccolo.table import Table

from idp.ids import uuid7_text
from idp.infra.db.columns import JSONB, Array, Boolean, Bytea, ForeignKey, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine


class ClientRow(Table, tablename="client", db=engine):
    """A client. ``metadata`` is its :class:`~idp.oauth.clients.metadata.ClientMetadata`.

    ``client_secret_encrypted`` is the secret of a client that signs with it. After a change the ``previous_secret``
    stays valid until it expires. ``origin`` is how it was registered:
    ``admin``, ``dynamic`` (RFC 7591) or ``document`` (Client ID Metadata Document). ``registration_token_hash`` is of
    its registration access token (RFC 7592). It is deleted at ``expires_at`` unless it is used before. ``admin_role``
    is its role at the admin API when it acts in its own name. Tokens issued to it before ``not_before`` are refused.
    """

    client_id = Text(primary_key=True)
    metadata = JSONB()
    client_secret_hash = Bytea(null=True, secret=True)
    client_secret_encrypted = Bytea(null=True, secret=True)
    client_secret_expires_at = Timestamptz(null=True)
    previous_secret_hash = Bytea(null=True, secret=True)
    previous_secret_encrypted = Bytea(null=True, secret=True)
    previous_secret_expires_at = Timestamptz(null=True)
    origin = Text()
    registration_token_hash = Bytea(null=True, secret=True)
    expires_at = Timestamptz(null=True, index=True)
    admin_role = Text(null=True)
    not_before = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
    disabled_at = Timestamptz(null=True)


class ClientLogo(Table, tablename="client_logo", db=engine):
    """A logo that was uploaded for a client."""

    client_id = ForeignKey(ClientRow, primary_key=True)
    media_type = Text()
    content = Bytea()
    updated_at = Timestamptz(default=TimestamptzNow())


class ClientDocument(Table, tablename="client_document", db=engine):
    """When the metadata of a client by document were last fetched, and until when they are current.

    A table of its own, because a change of ``client`` makes every worker load all clients.
    """

    client_id = ForeignKey(ClientRow, primary_key=True)
    fetched_at = Timestamptz()
    fresh_until = Timestamptz()


class ResourceServerRow(Table, tablename="resource_server", db=engine):
    """A service that accepts our access tokens. ``identifier`` is the ``resource`` and ``aud`` value (RFC 8707).

    ``scope_descriptions`` has the words of the consent page for its scopes. Clients that no administrator registered
    get tokens for it if it accepts ``self_registered_clients``. ``client_id`` names the client that it introspects
    tokens with, if it does. If it is ``witnessed``, a new key does not sign before it has fetched the key. Its fetches
    are recognised by its own JWKS URL, which ends in ``jwks_id``, and at the common URL by its ``networks`` and the
    prefix ``user_agent``.
    """

    identifier = Text(primary_key=True)
    name = Text()
    scope = Text()
    scope_descriptions = JSONB()
    access_token_signed_response_alg = Text()
    access_token_type = Text()
    self_registered_clients = Boolean()
    client_id = Text(null=True)
    jwks_id = Text(default=uuid7_text, unique=True)
    witnessed = Boolean()
    networks = Array(Text())
    user_agent = Text(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
