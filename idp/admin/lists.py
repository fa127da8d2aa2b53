"""The lists of the admin API and the console. No column holds a secret."""

from idp.infra.db.listing import Filter, Listing, Sort

_ID = "uuid"


def _prefix(expression: str) -> str:
    """Return a prefix condition in byte order for the indexes ending in ``_prefix``. The value has no wildcards."""
    return f"{expression} ~>=~ lower({{}}) AND {expression} ~<~ (lower({{}}) || chr(1114111))"


#: Maximum number of matches of each kind to examine.
_MATCHES = 300
_SEARCH = f"""u.id IN (
    (SELECT id FROM users WHERE {_prefix("email")} ORDER BY email USING ~<~ LIMIT {_MATCHES})
    UNION ALL (SELECT id FROM users WHERE {_prefix("lower(name)")} ORDER BY lower(name) USING ~<~ LIMIT {_MATCHES})
    UNION ALL (SELECT id FROM users WHERE {_prefix("lower(family_name)")}
               ORDER BY lower(family_name) USING ~<~ LIMIT {_MATCHES})
    UNION ALL (SELECT CASE WHEN {{}} ~ '^[0-9a-f-]+$' AND length({{}}) = 36 THEN {{}}::uuid END)
)"""  # noqa: S608

USERS = Listing(
    source="users AS u",
    columns="u.id, u.email, u.email_verified, u.name, u.given_name, u.family_name, u.created_at,"
    " u.updated_at, u.disabled_at, u.two_step, u.origin,"
    " ARRAY(SELECT role FROM admin_role WHERE user_id = u.id ORDER BY role) AS roles",
    key=Sort("u.id", _ID),
    sorts={"created_at": Sort("u.created_at"), "email": Sort("u.email", "text")},
    default_sort="-created_at",
    filters={
        "q": Filter(_SEARCH, help="How the address, the name or the family name begins, or the id."),
        "id": Filter("u.id = {}", "uuid", "One user."),
        "email": Filter("u.email = lower({})", help="The whole address."),
        "disabled": Filter("(u.disabled_at IS NOT NULL) = {}", "boolean", "Whether the account is locked."),
        "role": Filter("EXISTS (SELECT FROM admin_role WHERE user_id = u.id AND role = {})", help="Has this role."),
    },
)

SESSIONS = Listing(
    source="session AS s JOIN users AS u ON u.id = s.user_id",
    columns="s.id AS sid, s.user_id, u.email, s.auth_time, s.amr, s.acr, s.user_agent, s.ip_address, s.created_at,"
    " s.last_seen_at, s.expires_at, s.ended_at",
    key=Sort("s.id", _ID),
    sorts={"sid": Sort("s.id", _ID)},
    default_sort="-sid",
    filters={
        "sid": Filter("s.id = {}", "uuid", "One session."),
        "user_id": Filter("s.user_id = {}", "uuid", "Of one user."),
        "live": Filter(
            "(s.ended_at IS NULL AND s.expires_at > now()) = {}", "boolean", "Whether it has neither ended nor expired."
        ),
    },
)

CLIENTS = Listing(
    source="client AS c",
    columns="c.client_id, c.client_name, c.application_type, c.token_endpoint_auth_method, c.strict_auth_method,"
    " c.grant_types, c.redirect_uris, c.post_logout_redirect_uris, c.scope, c.id_token_signed_response_alg,"
    " c.client_uri, c.logo_uri, c.policy_uri, c.tos_uri, c.default_acr_values, c.upstreams, c.authorization_challenge,"
    " c.require_pkce, c.skip_consent, c.single_session, c.refresh_token_cookie, c.scope_claims_in_id_token,"
    " c.admin_role, c.not_before,"
    " c.created_at, c.updated_at, c.disabled_at",
    key=Sort("c.client_id", "text"),
    sorts={"created_at": Sort("c.created_at"), "client_name": Sort("c.client_name", "text")},
    default_sort="-created_at",
    filters={
        "client_id": Filter("c.client_id = {}", help="One client."),
        "q": Filter("strpos(lower(c.client_name), lower({})) > 0 OR c.client_id = {}", help="Part of the name."),
        "grant_type": Filter("{} = ANY (c.grant_types)", help="May use this grant."),
        "disabled": Filter("(c.disabled_at IS NOT NULL) = {}", "boolean", "Whether it is disabled."),
    },
)

RESOURCE_SERVERS = Listing(
    source="resource_server AS r",
    columns="r.identifier, r.name, r.scope, r.access_token_signed_response_alg, r.access_token_type, r.client_id,"
    " r.jwks_id, r.witnessed, r.networks, r.user_agent, r.created_at, r.updated_at,"
    " (SELECT max(last_at) FROM jwks_fetch WHERE resource_server = r.identifier) AS jwks_fetched_at,"
    " (SELECT max(period) FROM jwks_fetch WHERE resource_server = r.identifier) AS jwks_period",
    key=Sort("r.identifier", "text"),
    sorts={"identifier": Sort("r.identifier", "text"), "name": Sort("r.name", "text")},
    default_sort="name",
    filters={
        "identifier": Filter("r.identifier = {}", help="One resource server."),
        "jwks_id": Filter("r.jwks_id = {}", help="One resource server, by the end of its JWKS URL."),
        "q": Filter("strpos(lower(r.name || ' ' || r.identifier), lower({})) > 0", help="Part of name or identifier."),
        "witnessed": Filter("r.witnessed = {}", "boolean", "Whether new keys wait for it."),
    },
)

KEYS = Listing(
    source="signing_key AS k",
    columns="k.kid, k.alg, k.created_at, k.deadline_at, k.activates_at, k.retires_at, k.revoked_at,"
    " k.destroyed_at, k.signed, k.last_token_expires_at, (SELECT o.kid FROM signing_key AS o"
    " WHERE o.alg = k.alg AND o.activates_at <= now() AND (o.retires_at IS NULL OR o.retires_at > now())"
    " ORDER BY o.activates_at DESC LIMIT 1) AS signing",
    key=Sort("k.kid", "text"),
    sorts={"created_at": Sort("k.created_at")},
    default_sort="-created_at",
    filters={"alg": Filter("k.alg = {}", help="Of one algorithm."), "kid": Filter("k.kid = {}", help="One key.")},
)

UPSTREAMS = Listing(
    source="upstream AS p",
    columns="p.id, p.config, p.position, p.client_secret IS NOT NULL AS has_client_secret, p.created_at, p.updated_at,"
    " p.disabled_at",
    key=Sort("p.id", "text"),
    sorts={"position": Sort("p.position", "int")},
    default_sort="position",
    filters={
        "id": Filter("p.id = {}", help="One upstream."),
        "disabled": Filter("(p.disabled_at IS NOT NULL) = {}", "boolean", "Whether it is disabled."),
    },
)

CONSENTS = Listing(
    source="consent AS g JOIN client AS c USING (client_id) JOIN users AS u ON u.id = g.user_id",
    columns="g.id, g.user_id, u.email, g.client_id, c.client_name, g.pairs, g.claims, g.granted_at",
    key=Sort("g.id", _ID),
    sorts={"id": Sort("g.id", _ID)},
    default_sort="-id",
    filters={
        "id": Filter("g.id = {}", "uuid", "One consent."),
        "user_id": Filter("g.user_id = {}", "uuid", "Of one user."),
        "client_id": Filter("g.client_id = {}", help="To one client."),
    },
)

MAILS = Listing(
    source="mail AS m",
    columns="m.id, m.recipient, m.template, m.state, m.attempts, m.response, m.created_at, m.next_attempt_at,"
    " m.expires_at, m.finished_at",
    key=Sort("m.id", _ID),
    sorts={"created_at": Sort("m.created_at")},
    default_sort="-created_at",
    filters={
        "id": Filter("m.id = {}", "uuid", "One mail."),
        "recipient": Filter("m.recipient = lower({})", help="To this address."),
        "state": Filter("m.state = {}", choices=("queued", "sending", "sent", "deferred", "dead"), help="In it."),
        "template": Filter("m.template = {}", help="Of this kind."),
    },
)

AUDIT = Listing(
    source="audit_event AS a",
    columns="a.id, a.at, a.event, a.outcome, a.actor, a.user_id, a.client_id, a.session_id, a.ip_address, a.request_id,"
    " a.detail, a.seq",
    key=Sort("a.id", _ID),
    sorts={"at": Sort("a.at")},
    default_sort="-at",
    filters={
        "id": Filter("a.id = {}", "uuid", "One event."),
        "since": Filter("a.at >= {}", "timestamptz", "At this moment or later."),
        "until": Filter("a.at < {}", "timestamptz", "Before this moment."),
        "event": Filter("a.event = {}", help="Of this kind."),
        "outcome": Filter("a.outcome = {}", choices=("success", "failure", "denied"), help="With this outcome."),
        "user_id": Filter("a.user_id = {}", "uuid", "To this user."),
        "client_id": Filter("a.client_id = {}", help="By or to this client."),
        "actor": Filter("a.actor = {}", help="By this actor, such as user:… or client:…"),
        "request_id": Filter("a.request_id = {}", help="Within one request."),
    },
)

ADMINS = Listing(
    source="admin_role AS r JOIN users AS u ON u.id = r.user_id",
    columns="r.id, r.user_id, u.email, u.name, r.role, r.granted_by, r.granted_at",
    key=Sort("r.id", _ID),
    sorts={"granted_at": Sort("r.granted_at")},
    default_sort="granted_at",
    filters={
        "id": Filter("r.id = {}", "uuid", "One of them."),
        "user_id": Filter("r.user_id = {}", "uuid", "Of one user."),
        "role": Filter("r.role = {}", help="With this role."),
    },
)
