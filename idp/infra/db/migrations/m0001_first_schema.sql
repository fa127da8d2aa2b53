-- The first schema, grouped by the package that owns each table.
--
-- Until the first release this file is edited in place; its migration then gets a new ID. After the release it is
-- history, and changes are further migrations (docs/migrations.md).
--
-- Rules, which tests/infra/db/test_schema.py checks:
--   * The columns are those of the Piccolo tables in tables.py of each package.
--   * A column has a default only where the moment of the insert (now()), a counter that starts at 0 or a flag that
--     starts as false is meant. Whatever identifies, proves or permits something has none: a forgotten column is an
--     error.
--   * Keys of the tables of a person begin with user_id: what is unique is so within one person, and the rows of one
--     person lie together (docs/decisions/0048-keys-by-person.md).
--   * Secrets and tokens are stored as SHA-256 (…_hash) or encrypted (the comment says "encrypted").
--
-- Storage: tables whose rows are updated and deleted all the time are vacuumed after 2 % of dead rows instead of 20 %
-- (autovacuum_*_scale_factor). fillfactor 90 leaves room on each page for the new version of a row, which then needs
-- no new index entries (HOT updates).


-- infra -------------------------------------------------------------------------------------------------------------

-- The revision number of one kind of record ("topic"). Raised by every change, so that workers reload their caches.
CREATE TABLE revision (
    topic  text PRIMARY KEY,
    number bigint NOT NULL
);

-- A lock that transactions take by its name.
CREATE TABLE transaction_lock (
    name text PRIMARY KEY
);

-- A rate limit or escalation of one subject. "key" is a digest of rule and subject, so no address is stored.
-- "free_at" is when the next event is free (generic cell rate algorithm).
CREATE TABLE throttle (
    key     bytea PRIMARY KEY,
    rule    text NOT NULL,
    number  integer NOT NULL,
    free_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX throttle_free_at ON throttle (free_at);

-- Decides several limits together: counts all of them, or none if one refuses.
--
-- It is a function because the rows must be read again after they were locked; one statement would see them as they
-- were before it waited. Keys are locked in order, so that two calls cannot deadlock.
--
-- events:   a list of objects: key (hex), rule, escalates, free, seconds. For a rate, "free" is the burst and "seconds"
--           the interval. For an escalation, "free" tries have no wait and "seconds" is the longest wait.
-- over:     the longest wait in seconds among the limits that refuse; 0 if none does.
-- counted:  the number of the escalation.
CREATE FUNCTION throttle_decide(events jsonb, OUT over float8, OUT counted integer) LANGUAGE plpgsql AS $$
DECLARE
    event record;
    at timestamptz;
BEGIN
    FOR event IN SELECT decode(e ->> 'key', 'hex') AS key, e ->> 'rule' AS rule
                 FROM jsonb_array_elements(events) AS e ORDER BY 1 LOOP
        LOOP
            PERFORM FROM throttle AS t WHERE t.key = event.key FOR UPDATE;
            EXIT WHEN FOUND;
            INSERT INTO throttle (key, rule, number, free_at) VALUES (event.key, event.rule, 0, clock_timestamp())
            ON CONFLICT DO NOTHING;
        END LOOP;
    END LOOP;
    at := clock_timestamp();
    SELECT coalesce(greatest(0, max(CASE
               WHEN NOT (e ->> 'escalates')::boolean
               THEN extract(epoch FROM t.free_at - at)
                    - (e ->> 'seconds')::float8 * ((e ->> 'free')::integer - 1)
               WHEN t.number >= (e ->> 'free')::integer THEN extract(epoch FROM t.free_at - at)
           END)), 0),
           max(t.number) FILTER (WHERE (e ->> 'escalates')::boolean)
    INTO over, counted
    FROM jsonb_array_elements(events) AS e JOIN throttle AS t ON t.key = decode(e ->> 'key', 'hex');
    IF over > 0 THEN
        -- A refused event leaves no row behind.
        DELETE FROM throttle AS t USING jsonb_array_elements(events) AS e
        WHERE t.key = decode(e ->> 'key', 'hex') AND t.number = 0;
        RETURN;
    END IF;
    WITH changed AS (
        UPDATE throttle AS t SET
            number = CASE WHEN (e ->> 'escalates')::boolean
                               AND t.free_at < at - make_interval(secs => (e ->> 'seconds')::float8) THEN 1
                          ELSE t.number + 1 END,
            free_at = CASE
                WHEN NOT (e ->> 'escalates')::boolean
                THEN greatest(t.free_at, at) + make_interval(secs => (e ->> 'seconds')::float8)
                WHEN t.free_at < at - make_interval(secs => (e ->> 'seconds')::float8)
                     OR t.number < (e ->> 'free')::integer - 1 THEN at
                ELSE at + make_interval(secs => least(
                    (e ->> 'seconds')::float8, power(2, least(t.number - (e ->> 'free')::integer + 2, 30))))
            END
        FROM jsonb_array_elements(events) AS e WHERE t.key = decode(e ->> 'key', 'hex')
        RETURNING t.number, (e ->> 'escalates')::boolean AS escalates
    )
    SELECT max(changed.number) FILTER (WHERE changed.escalates) INTO counted FROM changed;
END $$;


-- keys --------------------------------------------------------------------------------------------------------------

-- The root key of this database, encrypted by a master key. Two rows while one master key replaces another.
CREATE TABLE root_key (
    master_key_id bytea PRIMARY KEY,
    sealed        bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- A signing key. Its state follows from its times, so every replica switches at the same moment. "private_jwk" is
-- encrypted, and null once the key is destroyed. "signed" counts its tokens.
CREATE TABLE signing_key (
    kid                   text PRIMARY KEY,
    alg                   text NOT NULL,
    public_jwk            jsonb NOT NULL,
    private_jwk           bytea,
    created_at            timestamptz NOT NULL DEFAULT now(),
    deadline_at           timestamptz,
    activates_at          timestamptz,
    retires_at            timestamptz,
    revoked_at            timestamptz,
    destroyed_at          timestamptz,
    signed                bigint NOT NULL DEFAULT 0,
    last_token_expires_at timestamptz
);

CREATE INDEX signing_key_alg ON signing_key (alg);

-- One instance of a resource server and the keys that it has fetched from the JWKS URL. "period" is the smoothed time
-- in seconds between its fetches; null until there were two.
CREATE TABLE jwks_fetch (
    id              uuid PRIMARY KEY,
    resource_server text NOT NULL,
    instance        text NOT NULL,
    address         text NOT NULL,
    user_agent      text NOT NULL,
    kids            text[] NOT NULL,
    fetches         bigint NOT NULL,
    period          double precision,
    first_at        timestamptz NOT NULL,
    last_at         timestamptz NOT NULL,
    CONSTRAINT one_per_instance UNIQUE (resource_server, instance)
);

CREATE INDEX jwks_fetch_resource_server ON jwks_fetch (resource_server);
CREATE INDEX jwks_fetch_last_at ON jwks_fetch (last_at);

-- One row: how far this database has come. A restored backup is behind the mark that is stored outside.
CREATE TABLE database_mark (
    id          smallint PRIMARY KEY CHECK (id = 1),
    epoch       bigint NOT NULL,
    begun       bigint NOT NULL,
    number      bigint NOT NULL,
    at          timestamptz NOT NULL,
    restored_at timestamptz
);


-- audit -------------------------------------------------------------------------------------------------------------

-- One security-relevant event. Rows are only added; "seq" and "hash" are set once by the next checkpoint.
-- No foreign keys: an event outlives the user and the client that it names.
-- Partitioned by calendar month: "id" is a UUIDv7, which begins with the time. The server creates the partitions of
-- months and drops them (idp.infra.db.partitions). "seq" is unique by the lock of checkpoints: an index over all
-- partitions would have to include "id".
CREATE TABLE audit_event (
    id         uuid PRIMARY KEY,
    at         timestamptz NOT NULL,
    event      text NOT NULL,
    outcome    text NOT NULL,
    actor      text NOT NULL,
    user_id    uuid,
    client_id  text,
    session_id uuid,
    ip_address text NOT NULL,
    request_id text NOT NULL,
    detail     jsonb NOT NULL,
    hash       bytea,
    seq        bigint
) PARTITION BY RANGE (id);

-- Events whose month has no partition.
CREATE TABLE audit_event_default PARTITION OF audit_event DEFAULT;

CREATE INDEX audit_event_seq ON audit_event (seq);
CREATE INDEX audit_event_at ON audit_event (at, id);
CREATE INDEX audit_event_user ON audit_event (user_id, at, id);
CREATE INDEX audit_event_client ON audit_event (client_id, at, id);
CREATE INDEX audit_event_event ON audit_event (event, at, id);
-- What few events have, so that a sign-in that succeeds writes to neither: an actor other than the user, and an outcome
-- other than success.
CREATE INDEX audit_event_actor ON audit_event (actor, at, id) WHERE actor <> '';
CREATE INDEX audit_event_outcome ON audit_event (outcome, at, id) WHERE outcome <> 'success';
-- Ids of requests begin with the time, so that an insert needs no entry: the range of each 128 pages is enough.
CREATE INDEX audit_event_request_id ON audit_event USING brin (request_id) WITH (autosummarize = on);
-- Most events are of no organization.
CREATE INDEX audit_event_organization ON audit_event ((detail ->> 'organization_id'), at, id)
    WHERE detail ->> 'organization_id' IS NOT NULL;
-- What the next checkpoint covers.
CREATE INDEX audit_event_without_seq ON audit_event (id) WHERE seq IS NULL;

-- A signed checkpoint over the events first_seq to last_seq. "root" is the root of their Merkle tree, "previous" the
-- hash of the checkpoint before it, "statement" the JWS.
CREATE TABLE audit_checkpoint (
    number    bigint PRIMARY KEY,
    at        timestamptz NOT NULL,
    first_seq bigint NOT NULL,
    last_seq  bigint NOT NULL,
    root      bytea NOT NULL,
    previous  bytea,
    statement text NOT NULL
);

CREATE INDEX audit_checkpoint_at ON audit_checkpoint (at, number);

-- A place outside the database that checkpoints are sent to; "place" is a digest of the URL. "sent" is the number of the
-- last checkpoint that it accepted. Until "leased_until" only the worker with the lease sends.
CREATE TABLE audit_export (
    place        text PRIMARY KEY,
    sent         bigint NOT NULL,
    leased_until timestamptz NOT NULL
);

-- How often something happened within one hour, for the dashboard.
CREATE TABLE activity (
    id     text PRIMARY KEY,
    hour   timestamptz NOT NULL,
    kind   text NOT NULL,
    number bigint NOT NULL
);

CREATE INDEX activity_hour ON activity (hour);


-- The ids of events that someone subscribed to and that are not published yet, and what subscribers may learn that the
-- trail must not keep; and the kinds that are wanted.
CREATE TABLE event_feed (
    id      uuid PRIMARY KEY,
    private jsonb
);

CREATE TABLE event_feed_kind (
    kind       text NOT NULL,
    subscriber text NOT NULL,
    PRIMARY KEY (kind, subscriber)
);


-- trace -------------------------------------------------------------------------------------------------------------

-- One request of a sign-in or to a token endpoint, for support: what was asked, decided and why. "steps" is a list of
-- [milliseconds, kind, fields]. "trace_id" is the id of the request that began the flow. No secrets, no foreign keys.
-- Partitioned by day: "id" is a UUIDv7. Days older than IDP_TRACE_RETENTION are dropped.
CREATE TABLE trace (
    id          uuid PRIMARY KEY,
    at          timestamptz NOT NULL,
    request_id  text NOT NULL,
    trace_id    text NOT NULL,
    outcome     text NOT NULL,
    method      text NOT NULL,
    route       text NOT NULL,
    status      integer NOT NULL,
    duration_ms integer NOT NULL,
    error       text,
    reason      text,
    hint        text,
    user_id     uuid,
    client_id   text,
    session_id  uuid,
    family_id   uuid,
    ip_address  text NOT NULL,
    steps       jsonb NOT NULL
) PARTITION BY RANGE (id);

CREATE TABLE trace_default PARTITION OF trace DEFAULT;

CREATE INDEX trace_at ON trace (at, id);
CREATE INDEX trace_outcome ON trace (outcome, at, id) WHERE outcome <> 'success';
CREATE INDEX trace_reason ON trace (reason, at, id) WHERE reason IS NOT NULL;
CREATE INDEX trace_request_id ON trace (request_id);
CREATE INDEX trace_trace_id ON trace (trace_id);
CREATE INDEX trace_user ON trace (user_id, at, id) WHERE user_id IS NOT NULL;
CREATE INDEX trace_client ON trace (client_id, at, id) WHERE client_id IS NOT NULL;
CREATE INDEX trace_family ON trace (family_id) WHERE family_id IS NOT NULL;


-- mail --------------------------------------------------------------------------------------------------------------

-- A message to a person, written in the transaction of the change that it tells of. "content" is encrypted, and null
-- once the message is sent or given up. "next_attempt_at" is null once there is nothing left to do.
CREATE TABLE mail (
    id              uuid PRIMARY KEY,
    recipient       text NOT NULL,
    template        text NOT NULL,
    content         bytea,
    state           text NOT NULL,
    attempts        smallint NOT NULL DEFAULT 0,
    response        text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz,
    expires_at      timestamptz NOT NULL,
    finished_at     timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX mail_recipient ON mail (recipient);
CREATE INDEX mail_next_attempt_at ON mail (next_attempt_at);
CREATE INDEX mail_expires_at ON mail (expires_at);
CREATE INDEX mail_created_at ON mail (created_at, id);
CREATE INDEX mail_of_template ON mail (template, created_at, id);
-- Most are sent.
CREATE INDEX mail_state ON mail (state, created_at, id) WHERE state <> 'sent';
CREATE INDEX mail_dead ON mail (finished_at) WHERE state = 'dead' AND attempts > 0;

-- A version of the template of a mail that an owner wrote, for a language or for "all". The newest one is used. Its parts
-- are null if the template was reset to the shipped one.
CREATE TABLE mail_template (
    template   text NOT NULL,
    language   text NOT NULL,
    version    integer NOT NULL,
    subject    text,
    html       text,
    text       text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (template, language, version)
);


-- delivery ----------------------------------------------------------------------------------------------------------

-- An HTTPS request to another system, written in the transaction of the change that it tells of. "stream" is its
-- receiver. "content" is encrypted, and null once the delivery is delivered. "next_attempt_at" is null once there is
-- nothing left to do. "urgent" ones go first.
CREATE TABLE delivery (
    id              uuid PRIMARY KEY,
    kind            text NOT NULL,
    stream          text NOT NULL,
    content         bytea,
    user_id         uuid,
    session_id      uuid,
    state           text NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,
    response        text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz,
    expires_at      timestamptz NOT NULL,
    urgent          boolean NOT NULL DEFAULT false,
    finished_at     timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX delivery_due ON delivery (stream, kind, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX delivery_waiting ON delivery (stream, next_attempt_at, id) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX delivery_urgent ON delivery (stream, next_attempt_at, id) WHERE next_attempt_at IS NOT NULL AND urgent;
CREATE INDEX delivery_dead ON delivery (stream, id) WHERE state = 'dead';
CREATE INDEX delivery_delivered ON delivery (stream, finished_at) WHERE state = 'delivered';
CREATE INDEX delivery_session ON delivery (user_id, session_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX delivery_created_at ON delivery (created_at, id);
CREATE INDEX delivery_of_stream ON delivery (stream, created_at, id);
CREATE INDEX delivery_kind ON delivery (kind, created_at, id);
-- Most are delivered.
CREATE INDEX delivery_state ON delivery (state, created_at, id) WHERE state <> 'delivered';
CREATE INDEX delivery_expires_at ON delivery (expires_at);

-- A receiver that a process serves (until "free_at", the end of its lease), or that is paused until then.
CREATE TABLE delivery_stream (
    stream   text PRIMARY KEY,
    holder   uuid,
    failures integer NOT NULL DEFAULT 0,
    free_at  timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX delivery_stream_free_at ON delivery_stream (free_at);


-- accounts ----------------------------------------------------------------------------------------------------------

-- A person. The claims have the names of OpenID Connect Core section 5.1; "id" is the "sub" claim. "origin" says who
-- made the account (idp.accounts.tables.Origin), "disabled_by" who disabled it: "admin", a SCIM client. "password_hash"
-- is Argon2id, or an imported format. No two have the same "email": that is the key of user_email.
CREATE TABLE users (
    id                    uuid PRIMARY KEY,
    email                 text NOT NULL,
    email_verified        boolean NOT NULL DEFAULT false,
    password_hash         text,
    name                  text,
    given_name            text,
    family_name           text,
    middle_name           text,
    nickname              text,
    preferred_username    text,
    profile               text,
    picture               text,
    website               text,
    gender                text,
    birthdate             text,
    zoneinfo              text,
    locale                text,
    phone_number          text,
    phone_number_verified boolean NOT NULL DEFAULT false,
    address               jsonb,
    two_step              boolean NOT NULL DEFAULT false,
    origin                text NOT NULL,
    directory_version     bigint NOT NULL DEFAULT 0,
    password_changed_at   timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    disabled_at           timestamptz,
    disabled_by           text
);

CREATE INDEX users_created_at ON users (created_at, id);
-- The order of lists.
CREATE INDEX users_email ON users (email, id);
-- Search by prefix, whatever the collation of the database; of names without accents; and by domain.
CREATE INDEX users_email_prefix ON users (email text_pattern_ops);
CREATE INDEX users_name_prefix ON users (lower(name) text_pattern_ops, id);
CREATE INDEX users_family_name_prefix ON users (lower(family_name) text_pattern_ops, id);
CREATE INDEX users_name_plain ON users
    (lower(regexp_replace(normalize(name, NFD), '[\u0300-\u036f]', '', 'g')) text_pattern_ops, id);
CREATE INDEX users_family_name_plain ON users
    (lower(regexp_replace(normalize(family_name, NFD), '[\u0300-\u036f]', '', 'g')) text_pattern_ops, id);
CREATE INDEX users_email_domain ON users (split_part(email, '@', -1), id);
-- What SCIM clients ask for again and again: who has changed, and who is disabled.
CREATE INDEX users_updated_at ON users (updated_at, id);
CREATE INDEX users_disabled ON users (id) WHERE disabled_at IS NOT NULL;

-- Lookup: the user of an email address, and the one place where addresses are unique. Written with users.email in one
-- statement: the two tables refer to each other, so that neither can be forgotten.
CREATE TABLE user_email (
    email   text PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    CONSTRAINT user_email_of_user UNIQUE (user_id, email)
);

ALTER TABLE users ADD FOREIGN KEY (id, email) REFERENCES user_email (user_id, email);

-- The uploaded picture of a user. users.picture is its URL.
CREATE TABLE user_picture (
    user_id    uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    media_type text NOT NULL,
    content    bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- A mail that proves control of an address, by a code, a link or either; single-use. A proof belongs to the sign-in
-- flow or session "flow_id" whose browser asked for it, or else to a user. Without either it has neither code nor link:
-- it stands for an address without an account, and fails as others do.
CREATE TABLE email_proof (
    id          uuid PRIMARY KEY,
    purpose     text NOT NULL,
    flow_id     text,
    user_id     uuid REFERENCES users ON DELETE CASCADE,
    email       text NOT NULL,
    code_hash   bytea,
    token_hash  bytea UNIQUE,
    tries       smallint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    consumed_at timestamptz,
    CONSTRAINT email_proof_flow CHECK (flow_id <> ''),
    -- A code is entered in its flow.
    CONSTRAINT email_proof_code CHECK (code_hash IS NULL OR flow_id IS NOT NULL),
    -- A link leads to a user, or into a flow.
    CONSTRAINT email_proof_link CHECK (token_hash IS NULL OR flow_id IS NOT NULL OR user_id IS NOT NULL)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX email_proof_flow_id ON email_proof (flow_id);
CREATE INDEX email_proof_user_id ON email_proof (user_id);
CREATE INDEX email_proof_expires_at ON email_proof (expires_at);
-- One live proof for each purpose, of a flow or of a user.
CREATE UNIQUE INDEX email_proof_one_of_flow ON email_proof (purpose, flow_id)
    WHERE consumed_at IS NULL AND flow_id IS NOT NULL;
CREATE UNIQUE INDEX email_proof_one_of_user ON email_proof (purpose, user_id)
    WHERE consumed_at IS NULL AND flow_id IS NULL;

-- Permission to create an account for the person who reads mail at "email"; single-use.
CREATE TABLE invitation (
    id          uuid PRIMARY KEY,
    email       text NOT NULL,
    name        text,
    token_hash  bytea NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    consumed_at timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX invitation_email ON invitation (email);
CREATE INDEX invitation_created_at ON invitation (created_at);
CREATE INDEX invitation_expires_at ON invitation (expires_at);


-- federation --------------------------------------------------------------------------------------------------------

-- A user's account at an upstream provider. Issuer and subject identify it, and nothing else does: upstream_subject
-- makes them unique. "email" is the last one that the provider sent, for display. "tokens" are the provider's, encrypted.
CREATE TABLE identity (
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    id           uuid NOT NULL,
    issuer       text NOT NULL,
    subject      text NOT NULL,
    upstream_id  text NOT NULL,
    email        text,
    tokens       bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    PRIMARY KEY (user_id, id),
    CONSTRAINT identity_one_of_user UNIQUE (user_id, issuer, subject)
);

-- Lookup: the user of an account at a provider. Written with identity.
CREATE TABLE upstream_subject (
    issuer  text NOT NULL,
    subject text NOT NULL,
    user_id uuid NOT NULL,
    PRIMARY KEY (issuer, subject),
    FOREIGN KEY (user_id, issuer, subject) REFERENCES identity (user_id, issuer, subject) ON DELETE CASCADE
);

-- An authorization request that we sent to an upstream provider; single-use. It belongs to a sign-in flow, or to a
-- session that links an account. "auth_after" is the moment after which the person must have signed in there.
CREATE TABLE upstream_attempt (
    state_hash  bytea PRIMARY KEY,
    upstream_id text NOT NULL,
    flow_id     text,
    session_id  uuid,
    acr         text,
    auth_after  timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    consumed_at timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX upstream_attempt_expires_at ON upstream_attempt (expires_at);


-- signin ------------------------------------------------------------------------------------------------------------

-- A person signed in at one browser. "id" is the "sid" claim; "steps" are the completed sign-in steps. "token_hash" is
-- the SHA-256 of the whole cookie, which names the user before its secret. "challenge" is what a new passkey must sign
-- next (WebAuthn section 13.4.3). "longest_pause" is the longest time in seconds between two requests since the sign-in.
-- "announced_at" is when the end of the session was passed on to those who are told.
CREATE TABLE session (
    user_id       uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    id            uuid NOT NULL,
    token_hash    bytea NOT NULL,
    auth_time     timestamptz NOT NULL,
    steps         text[] NOT NULL,
    amr           text[] NOT NULL,
    acr           text NOT NULL,
    user_agent    text NOT NULL,
    ip_address    text NOT NULL,
    challenge     bytea,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL,
    longest_pause integer NOT NULL DEFAULT 0,
    expires_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    ended_reason  text,
    ended_by      text,
    announced_at  timestamptz,
    PRIMARY KEY (user_id, id),
    CONSTRAINT session_one_per_token UNIQUE (user_id, token_hash)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- An administrator names a session by its id alone.
CREATE INDEX session_id ON session (id);
CREATE INDEX session_expires_at ON session (expires_at);
-- The revocation list names the sessions that ended within the lifetime of an access token.
CREATE INDEX session_ended_at ON session (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX session_to_announce ON session (ended_at) WHERE ended_at IS NOT NULL AND announced_at IS NULL;

-- A session at an upstream provider that a session here came from. "sid" is empty if the provider does not name its
-- sessions.
CREATE TABLE upstream_session (
    user_id    uuid NOT NULL,
    session_id uuid NOT NULL,
    issuer     text NOT NULL,
    subject    text NOT NULL,
    sid        text NOT NULL,
    PRIMARY KEY (user_id, session_id, issuer, subject, sid),
    FOREIGN KEY (user_id, session_id) REFERENCES session ON DELETE CASCADE
);

-- Lookup: the user of a named session at an upstream provider. Written with upstream_session.
CREATE TABLE upstream_sid (
    issuer     text NOT NULL,
    sid        text NOT NULL,
    user_id    uuid NOT NULL,
    session_id uuid NOT NULL,
    PRIMARY KEY (issuer, sid, user_id, session_id),
    FOREIGN KEY (user_id, session_id) REFERENCES session ON DELETE CASCADE
);

-- The clean-up deletes sessions, and with each its rows here.
CREATE INDEX upstream_sid_session ON upstream_sid (user_id, session_id);

-- One attempt to sign in, named in the URL and bound to one browser. "acr" is the level to reach, "required_acr" the
-- one without which the sign-in does not end, "max_age" the age in seconds up to which a step counts. "turn" is raised
-- by every step, so that each counts once. "session_id" is the session whose steps it continues. "ways" are the first
-- steps to choose from (null: all). "occasion" is why it starts, where the first page says so. "registration" and "identity" hold an account that is not made or not known yet;
-- "kept_form" (encrypted) the form to return to.
CREATE TABLE signin_flow (
    id           text PRIMARY KEY,
    browser_hash bytea NOT NULL,
    return_to    text NOT NULL,
    cancel_to    text,
    login_hint   text NOT NULL,
    acr          text NOT NULL,
    required_acr text NOT NULL,
    max_age      bigint,
    user_id      uuid REFERENCES users ON DELETE CASCADE,
    session_id   uuid,
    done         text[] NOT NULL,
    turn         integer NOT NULL DEFAULT 0,
    registration jsonb,
    identity     jsonb,
    upstream     jsonb,
    display      jsonb,
    attributes   text[],
    ways         text[],
    occasion     text,
    kept_form    bytea,
    trace_id     text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    FOREIGN KEY (user_id, session_id) REFERENCES session ON DELETE CASCADE
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX signin_flow_expires_at ON signin_flow (expires_at);
-- The clean-up deletes sessions, and with each the flows that continue it.
CREATE INDEX signin_flow_session ON signin_flow (user_id, session_id) WHERE session_id IS NOT NULL;

-- A browser that a user has signed in with, known by a cookie. Until "trusted_until" it skips the second factor.
-- "second_step_at" is when the user last used a second factor there.
CREATE TABLE device (
    user_id        uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    id             uuid NOT NULL,
    token_hash     bytea NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    trusted_until  timestamptz,
    second_step_at timestamptz,
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (user_id, id),
    CONSTRAINT device_one_of_user UNIQUE (user_id, token_hash)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX device_expires_at ON device (expires_at);

-- Lookup: the users who signed in with a browser. Inserted with device; a new token and the end come with its row.
CREATE TABLE device_token (
    token_hash bytea NOT NULL,
    user_id    uuid NOT NULL,
    PRIMARY KEY (token_hash, user_id),
    FOREIGN KEY (user_id, token_hash) REFERENCES device (user_id, token_hash) ON UPDATE CASCADE ON DELETE CASCADE
);

-- A user's authenticator app (RFC 6238). "secret" is encrypted; "last_step" is the latest time step that was used.
-- It counts once "confirmed_at" is set; until then only the flow or session "holder" may confirm it. "id" is another
-- one for each secret.
CREATE TABLE totp (
    user_id      uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    id           uuid NOT NULL,
    secret       bytea NOT NULL,
    holder       text,
    last_step    bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,
    last_used_at timestamptz
);

-- A code that replaces a lost second factor, once.
CREATE TABLE recovery_code (
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    code_hash  bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz,
    PRIMARY KEY (user_id, code_hash)
);

-- A passkey (WebAuthn credential). "backup_eligible": it may be on several devices.
CREATE TABLE passkey (
    user_id         uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    id              uuid NOT NULL,
    credential_id   bytea NOT NULL,
    public_key      bytea NOT NULL,
    sign_count      bigint NOT NULL,
    transports      text[] NOT NULL,
    aaguid          uuid NOT NULL,
    backup_eligible boolean NOT NULL,
    name            text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_used_at    timestamptz,
    PRIMARY KEY (user_id, id),
    CONSTRAINT passkey_one_of_user UNIQUE (user_id, credential_id)
);

-- Lookup: the user of a passkey. Written with passkey.
CREATE TABLE passkey_credential (
    credential_id bytea PRIMARY KEY,
    user_id       uuid NOT NULL,
    FOREIGN KEY (user_id, credential_id) REFERENCES passkey (user_id, credential_id) ON DELETE CASCADE
);

CREATE INDEX passkey_user_id ON passkey (user_id);


-- oauth: clients ----------------------------------------------------------------------------------------------------

-- A client. "metadata" has the names of RFC 7591 and OpenID Connect Dynamic Client Registration
-- (idp.oauth.clients.metadata). "client_secret_encrypted" is the secret of a client that signs with it. After a change the
-- "previous_secret" stays valid until it expires. "origin" is how it was registered: admin, dynamic or document.
-- "registration_token_hash" is of its registration access token (RFC 7592). It is deleted at "expires_at" unless it is used
-- before. "admin_role" is its role at the admin API. Tokens issued to it before "not_before" are not accepted.
CREATE TABLE client (
    client_id                  text PRIMARY KEY,
    metadata                   jsonb NOT NULL,
    client_secret_hash         bytea,
    client_secret_encrypted    bytea,
    client_secret_expires_at   timestamptz,
    previous_secret_hash       bytea,
    previous_secret_encrypted  bytea,
    previous_secret_expires_at timestamptz,
    origin                     text NOT NULL,
    registration_token_hash    bytea,
    expires_at                 timestamptz,
    admin_role                 text,
    not_before                 timestamptz,
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    disabled_at                timestamptz,
    CONSTRAINT client_previous_secret CHECK ((previous_secret_hash IS NULL) = (previous_secret_expires_at IS NULL))
);

CREATE INDEX client_expires_at ON client (expires_at);

-- Tokens of a trusted issuer that authenticate a client: a pattern of "sub", and the only "aud". Without "jwks" and
-- "jwks_uri", the discovery document of the issuer says where its keys are.
CREATE TABLE workload_identity (
    id         uuid PRIMARY KEY,
    client_id  text NOT NULL REFERENCES client ON DELETE CASCADE,
    issuer     text NOT NULL,
    subject    text NOT NULL,
    audience   text NOT NULL,
    jwks       jsonb,
    jwks_uri   text,
    single_use boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX workload_identity_client_id ON workload_identity (client_id);

-- A claim that a client gets, or every client with the scope if "client_id" is null. "config": what it is made of,
-- where it goes, and how it is written.
CREATE TABLE claim_mapping (
    id         uuid PRIMARY KEY,
    client_id  text REFERENCES client ON DELETE CASCADE,
    scope      text,
    claim      text NOT NULL,
    config     jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT claim_mapping_for CHECK (client_id IS NOT NULL OR scope IS NOT NULL)
);

CREATE INDEX claim_mapping_client_id ON claim_mapping (client_id);

-- A URL that is asked before tokens of a user are issued to a client, or, without "client_id", to any other client.
CREATE TABLE token_hook (
    id               uuid PRIMARY KEY,
    client_id        text UNIQUE REFERENCES client ON DELETE CASCADE,
    url              text NOT NULL,
    places           text[] NOT NULL,
    fail_open        boolean NOT NULL,
    secret           bytea NOT NULL,
    old_secret       bytea,
    old_secret_until timestamptz,
    disabled_at      timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX token_hook_default ON token_hook ((client_id IS NULL)) WHERE client_id IS NULL;

-- Another server whose tokens say who a person is. "config" is the rest of its rule.
CREATE TABLE trusted_issuer (
    id         text PRIMARY KEY,
    issuer     text NOT NULL UNIQUE,
    config     jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- A client that may present tokens of an issuer.
CREATE TABLE trusted_issuer_client (
    issuer_id text NOT NULL REFERENCES trusted_issuer ON DELETE CASCADE,
    client_id text NOT NULL REFERENCES client ON DELETE CASCADE,
    PRIMARY KEY (issuer_id, client_id)
);

CREATE INDEX trusted_issuer_client_client_id ON trusted_issuer_client (client_id);

-- For whom a client gets identity assertions for another authorization server.
CREATE TABLE id_jag_policy (
    id                 uuid PRIMARY KEY,
    client_id          text NOT NULL REFERENCES client ON DELETE CASCADE,
    audience           text NOT NULL,
    audience_client_id text NOT NULL,
    relying_party      text REFERENCES client ON DELETE CASCADE,
    resources          text[] NOT NULL,
    scope              text NOT NULL,
    email              boolean NOT NULL,
    email_domains      text[] NOT NULL,
    user_ids           uuid[] NOT NULL,
    acr                text,
    created_at         timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX id_jag_policy_client_id ON id_jag_policy (client_id);
CREATE INDEX id_jag_policy_relying_party ON id_jag_policy (relying_party);

-- Which tokens a client may exchange, and for what (RFC 8693): idp.oauth.exchange.models.ExchangePolicy. "mode" is
-- delegation or impersonation. Without "user_ids", all users.
CREATE TABLE token_exchange_policy (
    id                  uuid PRIMARY KEY,
    client_id           text NOT NULL REFERENCES client ON DELETE CASCADE,
    mode                text NOT NULL,
    resources           text[] NOT NULL,
    scope               text NOT NULL,
    added_scope         text NOT NULL,
    subject_token_types text[] NOT NULL,
    subject_clients     text[] NOT NULL,
    user_ids            uuid[] NOT NULL,
    max_lifetime        integer,
    bearer_for_bound    boolean NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX token_exchange_policy_client_id ON token_exchange_policy (client_id);

-- The uploaded logo of a client.
CREATE TABLE client_logo (
    client_id  text PRIMARY KEY REFERENCES client ON DELETE CASCADE,
    media_type text NOT NULL,
    content    bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- When the metadata of a client with "origin" document were last fetched, and until when they are current.
CREATE TABLE client_document (
    client_id   text PRIMARY KEY REFERENCES client ON DELETE CASCADE,
    fetched_at  timestamptz NOT NULL,
    fresh_until timestamptz NOT NULL
);

-- A token that allows registrations (RFC 7591): so many "uses_left", of clients within the "ceiling"
-- (idp.oauth.clients.dynamic.ceiling).
CREATE TABLE initial_access_token (
    id         uuid PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE,
    name       text NOT NULL,
    ceiling    jsonb NOT NULL,
    uses_left  integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX initial_access_token_expires_at ON initial_access_token (expires_at);

-- How a client registered itself, for its later changes. "software_statement" is a JWT that was verified then. "ceiling" is that of its "initial_access_token"; without one, the
-- settings are its ceiling.
CREATE TABLE client_registration (
    client_id            text PRIMARY KEY REFERENCES client ON DELETE CASCADE,
    ceiling              jsonb,
    initial_access_token uuid,
    software_statement   text
);

-- A service that accepts our access tokens. "identifier" is the "resource" and "aud" value (RFC 8707). "client_id" is
-- the client that introspects tokens for it. New signing keys wait until it has fetched them, if it is "witnessed".
-- Clients that nobody of ours registered get tokens for it if it accepts "self_registered_clients".
CREATE TABLE resource_server (
    identifier                       text PRIMARY KEY,
    name                             text NOT NULL,
    scope                            text NOT NULL,
    scope_descriptions               jsonb NOT NULL,
    access_token_signed_response_alg text NOT NULL,
    access_token_type                text NOT NULL,
    self_registered_clients          boolean NOT NULL,
    client_id                        text,
    jwks_id                          text NOT NULL UNIQUE,
    witnessed                        boolean NOT NULL,
    networks                         text[] NOT NULL,
    user_agent                       text,
    created_at                       timestamptz NOT NULL DEFAULT now(),
    updated_at                       timestamptz NOT NULL DEFAULT now()
);

-- A type of authorization details (RFC 9396): the schema of its objects, the resource server that they are for, and the
-- words of the consent page.
CREATE TABLE authorization_details_type (
    type       text PRIMARY KEY,
    id         text NOT NULL UNIQUE,
    resource   text NOT NULL REFERENCES resource_server ON DELETE CASCADE,
    title      text NOT NULL,
    summary    text NOT NULL,
    schema     jsonb NOT NULL,
    ask_always boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX authorization_details_type_resource ON authorization_details_type (resource);


-- oauth -------------------------------------------------------------------------------------------------------------

-- A validated authorization request that waits for its user. "browser_hash" binds it to one browser. It is null for a
-- request that came by POST, until a browser claims it; before that nobody can consent to it.
-- "organization_id" was chosen by the user "chosen_by".
-- "consented_by" is the user who consented to this very request. "client_id" may be that of a document, which has a row
-- from the first consent on.
CREATE TABLE authorization_request (
    id              text PRIMARY KEY,
    browser_hash    bytea,
    client_id       text NOT NULL,
    request         jsonb NOT NULL,
    consented_by    uuid,
    organization_id uuid,
    chosen_by       uuid,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    CONSTRAINT authorization_request_claimed CHECK (browser_hash IS NOT NULL OR consented_by IS NULL),
    CONSTRAINT authorization_request_chosen CHECK ((organization_id IS NULL) = (chosen_by IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX authorization_request_expires_at ON authorization_request (expires_at);

-- A pushed authorization request (RFC 9126), validated when it was pushed. "request_uri_hash" is SHA-256 of the whole
-- URI. A browser may load it until "expires_at"; the authorization response sets "used_at", once.
CREATE TABLE pushed_request (
    request_uri_hash bytea PRIMARY KEY,
    client_id        text NOT NULL,
    request          jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    used_at          timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX pushed_request_expires_at ON pushed_request (expires_at);

-- A request of a device without a browser (RFC 8628). "device_code_hash" is SHA-256; "user_code_hash" an HMAC, because
-- people type the code. "request" becomes what the user has approved. "poll_interval" is in seconds, and grows when the
-- device polls too often. Who approves it is unknown before: the columns of the user and of the sign-in are null then.
CREATE TABLE device_authorization (
    device_code_hash bytea PRIMARY KEY,
    user_code_hash   bytea NOT NULL UNIQUE,
    client_id        text NOT NULL,
    request          jsonb NOT NULL,
    status           text NOT NULL,
    poll_interval    smallint NOT NULL,
    polled_at        timestamptz,
    ip_address       text NOT NULL,
    user_id          uuid REFERENCES users ON DELETE CASCADE,
    session_id       uuid,
    auth_time        timestamptz,
    auth_age         integer,
    amr              text[],
    acr              text,
    family_id        uuid,
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    CONSTRAINT device_authorization_approved CHECK (
        status NOT IN ('approved', 'redeemed')
        OR (user_id IS NOT NULL AND session_id IS NOT NULL AND auth_time IS NOT NULL AND amr IS NOT NULL
            AND acr IS NOT NULL)),
    CONSTRAINT device_authorization_redeemed CHECK ((status = 'redeemed') = (family_id IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX device_authorization_user_id ON device_authorization (user_id);
CREATE INDEX device_authorization_expires_at ON device_authorization (expires_at);

-- An authorization code (RFC 6749 section 4.1.2) with everything that its tokens will say. "auth_time" is when the
-- person signed in here; "auth_age" by how many seconds the proof was older (null: unknown). "family_id" becomes a
-- token family at redemption. "confirmation" is the key that it is bound to, as the claim "cnf" (RFC 7800). The code
-- carries "user_id" sealed. A consumed one stays until it expires, so that a second use is noticed. Of "organization_id"
-- the user must be a member when it is redeemed.
CREATE TABLE authorization_code (
    user_id               uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    code_hash             bytea NOT NULL,
    family_id             uuid NOT NULL,
    client_id             text NOT NULL REFERENCES client ON DELETE CASCADE,
    session_id            uuid NOT NULL,
    organization_id       uuid,
    redirect_uri          text NOT NULL,
    code_challenge        text,
    nonce                 text,
    scope                 text NOT NULL,
    resource              text[] NOT NULL,
    claims                jsonb,
    authorization_details jsonb,
    confirmation          jsonb,
    offline_access        boolean NOT NULL,
    auth_time             timestamptz NOT NULL,
    auth_age              integer,
    amr                   text[] NOT NULL,
    acr                   text NOT NULL,
    trace_id              text NOT NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    expires_at            timestamptz NOT NULL,
    consumed_at           timestamptz,
    PRIMARY KEY (user_id, code_hash),
    FOREIGN KEY (user_id, session_id) REFERENCES session ON DELETE CASCADE
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX authorization_code_expires_at ON authorization_code (expires_at);

-- The clients that took part in a session, which learn when it ends. Written with the first code or ID token of each. A
-- client that was deleted since stays until the session is deleted.
CREATE TABLE session_client (
    user_id    uuid NOT NULL,
    session_id uuid NOT NULL,
    client_id  text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, session_id, client_id),
    FOREIGN KEY (user_id, session_id) REFERENCES session ON DELETE CASCADE
);

-- A backchannel authentication request (CIBA Core section 7), by the SHA-256 of its "auth_req_id". "user_id" has no
-- foreign key: for a hint of an unknown user it is an id that no user has. "id" is in the URL of the page.
-- "notification" is what a ping needs (encrypted). "session_id" and what follows is the sign-in that approved it.
-- "consumed_at": it yields no tokens any more. One that was reported blocks its client for a day.
CREATE TABLE backchannel_request (
    user_id         uuid NOT NULL,
    auth_req_hash   bytea NOT NULL,
    id              uuid NOT NULL,
    client_id       text NOT NULL REFERENCES client ON DELETE CASCADE,
    request         jsonb NOT NULL,
    binding_message text,
    notification    bytea,
    ip_address      text NOT NULL,
    poll_interval   integer NOT NULL,
    next_poll_at    timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    decided_at      timestamptz,
    approved        boolean,
    reported_at     timestamptz,
    session_id      uuid,
    auth_time       timestamptz,
    auth_age        integer,
    amr             text[],
    acr             text,
    consumed_at     timestamptz,
    PRIMARY KEY (user_id, auth_req_hash),
    FOREIGN KEY (user_id, session_id) REFERENCES session ON DELETE SET NULL (session_id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX backchannel_request_expires_at ON backchannel_request (expires_at);
CREATE INDEX backchannel_request_client_id ON backchannel_request (client_id);

-- Everything issued from one authorization: revoking the family revokes all of it. Its id opens the "jti" of each of
-- its access tokens. Without "offline_access" it ends with the session. It yields tokens only while the user is a member
-- of "organization_id", if there is one.
CREATE TABLE token_family (
    user_id               uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    id                    uuid NOT NULL,
    client_id             text NOT NULL REFERENCES client ON DELETE CASCADE,
    session_id            uuid,
    organization_id       uuid,
    scope                 text NOT NULL,
    resource              text[] NOT NULL,
    claims                jsonb,
    authorization_details jsonb,
    confirmation          jsonb,
    offline_access        boolean NOT NULL,
    auth_time             timestamptz NOT NULL,
    auth_age              integer,
    amr                   text[] NOT NULL,
    acr                   text NOT NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    expires_at            timestamptz NOT NULL,
    revoked_at            timestamptz,
    revoked_reason        text,
    PRIMARY KEY (user_id, id),
    FOREIGN KEY (user_id, session_id) REFERENCES session ON DELETE SET NULL (session_id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX token_family_client_id ON token_family (client_id);
-- The clean-up deletes sessions one by one, and a user can have many families.
CREATE INDEX token_family_session ON token_family (user_id, session_id);
CREATE INDEX token_family_expires_at ON token_family (expires_at);
CREATE INDEX token_family_revoked_at ON token_family (revoked_at) WHERE revoked_at IS NOT NULL;

-- The trusted issuer whose token started a family, so that the family ends with the trust.
CREATE TABLE asserted_family (
    user_id   uuid NOT NULL,
    family_id uuid NOT NULL,
    issuer_id text NOT NULL REFERENCES trusted_issuer ON DELETE CASCADE,
    PRIMARY KEY (user_id, family_id),
    FOREIGN KEY (user_id, family_id) REFERENCES token_family ON DELETE CASCADE
);

CREATE INDEX asserted_family_issuer_id ON asserted_family (issuer_id);

-- One refresh token of a family; "jti" is the claim of its JWT, which carries "user_id" sealed. "issued_at" and
-- "expires_at" are whole seconds, so that the JWT can be made again, byte for byte. "used_at" is the last use of one that
-- is not rotated.
CREATE TABLE refresh_token (
    user_id    uuid NOT NULL,
    jti        uuid NOT NULL,
    family_id  uuid NOT NULL,
    token_hash bytea NOT NULL,
    issued_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    rotated_at timestamptz,
    successor  uuid,
    PRIMARY KEY (user_id, jti),
    FOREIGN KEY (user_id, family_id) REFERENCES token_family ON DELETE CASCADE
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX refresh_token_family ON refresh_token (user_id, family_id);
CREATE INDEX refresh_token_expires_at ON refresh_token (expires_at);

-- An access token that was revoked alone, by its "jti" (RFC 7009); kept until it would have expired.
CREATE TABLE revoked_access_token (
    jti        text PRIMARY KEY,
    expires_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX revoked_access_token_expires_at ON revoked_access_token (expires_at);

-- A deleted client, or a token family of a deleted user (the first part of "jti"), until its last access token has
-- expired: the revocation list still names it.
CREATE TABLE tombstone (
    id         text PRIMARY KEY,
    expires_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX tombstone_expires_at ON tombstone (expires_at);

-- Signed values that may be used once: half of a SHA-256 over kind, issuer and "jti", in each slot of ten minutes until
-- the value expires. Slot n is partition n % 11 (idp.oauth.replay.repository). Rows are only inserted; the partition of
-- a past slot is emptied by TRUNCATE.
CREATE TABLE used_jwt (
    slot smallint NOT NULL,
    key  uuid NOT NULL,
    PRIMARY KEY (slot, key)
) PARTITION BY LIST (slot);

CREATE TABLE used_jwt_0 PARTITION OF used_jwt FOR VALUES IN (0);
CREATE TABLE used_jwt_1 PARTITION OF used_jwt FOR VALUES IN (1);
CREATE TABLE used_jwt_2 PARTITION OF used_jwt FOR VALUES IN (2);
CREATE TABLE used_jwt_3 PARTITION OF used_jwt FOR VALUES IN (3);
CREATE TABLE used_jwt_4 PARTITION OF used_jwt FOR VALUES IN (4);
CREATE TABLE used_jwt_5 PARTITION OF used_jwt FOR VALUES IN (5);
CREATE TABLE used_jwt_6 PARTITION OF used_jwt FOR VALUES IN (6);
CREATE TABLE used_jwt_7 PARTITION OF used_jwt FOR VALUES IN (7);
CREATE TABLE used_jwt_8 PARTITION OF used_jwt FOR VALUES IN (8);
CREATE TABLE used_jwt_9 PARTITION OF used_jwt FOR VALUES IN (9);
CREATE TABLE used_jwt_10 PARTITION OF used_jwt FOR VALUES IN (10);

-- One row: tokens of any client that were issued before "not_before" are not accepted.
CREATE TABLE not_before (
    id         smallint PRIMARY KEY CHECK (id = 1),
    not_before timestamptz NOT NULL
);

-- What a user has allowed a client: scope@resource pairs and claims (idp.oauth.consent_grant). "documents_hash" stands for
-- the policy and the terms that were shown. For a client by document it stands for "client_metadata", which the next page
-- is compared with.
CREATE TABLE consent (
    user_id               uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    client_id             text NOT NULL REFERENCES client ON DELETE CASCADE,
    id                    uuid NOT NULL,
    pairs                 text[] NOT NULL,
    claims                text[] NOT NULL,
    authorization_details jsonb,
    documents_hash        bytea NOT NULL,
    client_metadata       jsonb,
    granted_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, client_id)
);

CREATE INDEX consent_client_id ON consent (client_id);
-- An administrator names a consent by its id alone.
CREATE INDEX consent_id ON consent (id);


-- admin -------------------------------------------------------------------------------------------------------------

-- A role of a user (idp.admin.roles.Role).
CREATE TABLE admin_role (
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role       text NOT NULL,
    id         uuid NOT NULL,
    granted_by text NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, role)
);

-- One row: the link that makes the first admin. Once completed, it never opens again. "token_hash" is null if an admin
-- was made in another way before there was a link.
CREATE TABLE setup (
    id           smallint PRIMARY KEY CHECK (id = 1),
    token_hash   bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    CONSTRAINT setup_token CHECK (token_hash IS NOT NULL OR completed_at IS NOT NULL)
);

-- The answer to a request with an Idempotency-Key. "body" is encrypted; "status" is null until the request is done.
CREATE TABLE idempotent_answer (
    id           bytea PRIMARY KEY,
    request_hash bytea NOT NULL,
    status       integer,
    headers      text NOT NULL,
    body         bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX idempotent_answer_expires_at ON idempotent_answer (expires_at);

-- An act on many users in the background. "caller" is who asked, with roles; NULL: the command line.
CREATE TABLE bulk_job (
    id           uuid PRIMARY KEY,
    kind         text NOT NULL,
    parameters   jsonb NOT NULL,
    actor        text NOT NULL,
    caller       jsonb,
    state        text NOT NULL,
    error        text NOT NULL,
    total        bigint NOT NULL DEFAULT 0,
    done         bigint NOT NULL DEFAULT 0,
    changed      bigint NOT NULL DEFAULT 0,
    failed       bigint NOT NULL DEFAULT 0,
    holder       uuid,
    leased_until timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    heartbeat_at timestamptz,
    finished_at  timestamptz,
    kept_until   timestamptz
);

CREATE INDEX bulk_job_created_at ON bulk_job (created_at, id);
CREATE INDEX bulk_job_unfinished ON bulk_job (created_at) WHERE finished_at IS NULL;
CREATE INDEX bulk_job_kept_until ON bulk_job (kept_until);

-- A user whom a job has still to act on.
CREATE TABLE bulk_item (
    job_id  uuid NOT NULL REFERENCES bulk_job ON DELETE CASCADE,
    number  bigint NOT NULL,
    user_id uuid,
    name    text NOT NULL,
    PRIMARY KEY (job_id, number)
);

-- A part of a file of users that a job imports, encrypted.
CREATE TABLE bulk_chunk (
    job_id  uuid NOT NULL REFERENCES bulk_job ON DELETE CASCADE,
    number  bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (job_id, number)
);

-- An item on which a job could not act.
CREATE TABLE bulk_error (
    job_id uuid NOT NULL REFERENCES bulk_job ON DELETE CASCADE,
    number bigint NOT NULL,
    name   text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (job_id, number)
);


-- events ------------------------------------------------------------------------------------------------------------

-- A URL that gets events. The secrets that sign them are encrypted.
CREATE TABLE webhook (
    id               uuid PRIMARY KEY,
    url              text NOT NULL,
    description      text NOT NULL,
    kinds            text[] NOT NULL,
    whole            boolean NOT NULL,
    secret           bytea NOT NULL,
    old_secret       bytea,
    old_secret_until timestamptz,
    disabled_at      timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX webhook_created_at ON webhook (created_at, id);

-- A stream of security event tokens to a client. "authorization" is the header that it wants, encrypted.
CREATE TABLE event_stream (
    id               uuid PRIMARY KEY,
    client_id        text NOT NULL REFERENCES client (client_id) ON DELETE CASCADE,
    description      text NOT NULL,
    endpoint_url     text,
    authorization_header bytea,
    events_requested jsonb NOT NULL,
    format           text NOT NULL,
    status           text NOT NULL,
    status_reason    text NOT NULL,
    verified_at      timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX event_stream_client_id ON event_stream (client_id);

-- The users of whom a stream gets events.
CREATE TABLE event_stream_subject (
    user_id   uuid NOT NULL,
    stream_id uuid NOT NULL REFERENCES event_stream (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, stream_id)
);

CREATE INDEX event_stream_subject_stream_id ON event_stream_subject (stream_id);

-- Groups, one inside the other. "path" are the ids of the groups above, the topmost first, and its own: whoever is in a
-- group is in all of its path.
CREATE TABLE groups (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    -- Lists are in its order, which is that of its prefixes: by code points, whatever the language of the database.
    name_key    text COLLATE "C" NOT NULL UNIQUE,
    description text NOT NULL,
    parent_id   uuid REFERENCES groups ON DELETE RESTRICT,
    path        uuid[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX groups_parent_id ON groups (parent_id, name_key);
CREATE INDEX groups_at_top ON groups ((parent_id IS NULL), name_key);
CREATE INDEX groups_created_at ON groups (created_at, id);
-- The groups below a group.
CREATE INDEX groups_path ON groups USING gin (path);

-- Groups, roles and organizations that are deleted, whose memberships are deleted in the background. These have no
-- foreign key, so that the deletion does not wait for millions of rows; "kind" is the table of what was deleted.
CREATE TABLE directory_deletion (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- "group_id" may be one that was deleted.
CREATE TABLE group_member (
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    group_id   uuid NOT NULL,
    origin     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, group_id)
);

CREATE INDEX group_member_group_id ON group_member (group_id, user_id);

-- Customers, departments or tenants. Requests name one by its "slug", which never changes. A sign-in for one needs a
-- "second_factor", one of "ways" (null: any), and is at most "session_max_age" seconds old, with no pause longer than
-- "session_idle" seconds.
CREATE TABLE organization (
    id              uuid PRIMARY KEY,
    slug            text COLLATE "C" NOT NULL UNIQUE,
    name            text NOT NULL,
    second_factor   boolean NOT NULL DEFAULT false,
    session_max_age integer,
    session_idle    integer,
    ways            text[],
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    disabled_at     timestamptz
);

CREATE INDEX organization_created_at ON organization (created_at, id);

-- Members. An "admin" manages the organization. A membership with "disabled_at" does not count. "managed": the SCIM client
-- of the organization made the account. "organization_id" may be one that was deleted.
CREATE TABLE organization_member (
    user_id         uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    organization_id uuid NOT NULL,
    origin          text NOT NULL,
    admin           boolean NOT NULL DEFAULT false,
    managed         boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    disabled_at     timestamptz,
    PRIMARY KEY (user_id, organization_id)
);

CREATE INDEX organization_member_organization_id ON organization_member (organization_id, user_id);
CREATE INDEX organization_member_admin ON organization_member (organization_id, user_id) WHERE admin;

-- A domain that an organization claims. It is verified while its name servers return "token" in a TXT record
-- (idp.directory.domains), and belongs to one organization then. "missing_since": since when the record of a verified
-- domain was not found. The addresses of an "enforced" domain sign in at the upstreams of the organization only.
CREATE TABLE organization_domain (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organization ON DELETE CASCADE,
    domain          text COLLATE "C" NOT NULL,
    token           text NOT NULL,
    enforced        boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    verified_at     timestamptz,
    checked_at      timestamptz,
    missing_since   timestamptz,
    next_check_at   timestamptz,
    CONSTRAINT organization_domain_claimed_once UNIQUE (organization_id, domain),
    CONSTRAINT organization_domain_checked CHECK ((verified_at IS NULL) = (next_check_at IS NULL))
);

CREATE UNIQUE INDEX organization_domain_verified ON organization_domain (domain) WHERE verified_at IS NOT NULL;
CREATE INDEX organization_domain_domain ON organization_domain (domain, id);
CREATE INDEX organization_domain_enforced ON organization_domain (domain) WHERE enforced;
CREATE INDEX organization_domain_due ON organization_domain (next_check_at) WHERE next_check_at IS NOT NULL;

-- Invitations of an address into an organization, with what its person gets there: "role_ids" and "admin". One is open
-- until "outcome" says how it ended, or it expires; an address has one open invitation of an organization. "user_id"
-- accepted or declined it. "invited_by" is null if no user invited, or the user is deleted.
CREATE TABLE organization_invitation (
    id              uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organization ON DELETE CASCADE,
    email           text NOT NULL,
    role_ids        uuid[] NOT NULL,
    admin           boolean NOT NULL DEFAULT false,
    token_hash      bytea NOT NULL UNIQUE,
    invited_by      uuid REFERENCES users ON DELETE SET NULL,
    user_id         uuid REFERENCES users ON DELETE CASCADE,
    outcome         text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    sent_at         timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    CONSTRAINT organization_invitation_ended CHECK ((outcome IS NULL) = (ended_at IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE UNIQUE INDEX organization_invitation_open ON organization_invitation (organization_id, email)
    WHERE ended_at IS NULL;
CREATE INDEX organization_invitation_organization_id ON organization_invitation (organization_id, id);
CREATE INDEX organization_invitation_email ON organization_invitation (email);
CREATE INDEX organization_invitation_expires_at ON organization_invitation (expires_at);
CREATE INDEX organization_invitation_invited_by ON organization_invitation (invited_by) WHERE invited_by IS NOT NULL;
CREATE INDEX organization_invitation_user_id ON organization_invitation (user_id) WHERE user_id IS NOT NULL;

-- An upstream provider (idp.federation). "config" is its configuration; "client_secret" is encrypted. With an
-- "organization_id" it signs in the users of this organization only. "check_due_at" is when the users of a directory are
-- compared with those here; null: as soon as possible. "findings" are those of the last test; null after a change.
CREATE TABLE upstream (
    id              text PRIMARY KEY,
    organization_id uuid REFERENCES organization ON DELETE CASCADE,
    config          jsonb NOT NULL,
    client_secret   bytea,
    position        integer NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    disabled_at     timestamptz,
    check_due_at    timestamptz,
    tested_at       timestamptz,
    findings        jsonb
);

CREATE INDEX upstream_organization_id ON upstream (organization_id);

-- Roles of one client, of one organization, or of the whole server.
CREATE TABLE role (
    id              uuid PRIMARY KEY,
    client_id       text REFERENCES client ON DELETE CASCADE,
    organization_id uuid REFERENCES organization ON DELETE CASCADE,
    name            text NOT NULL,
    name_key        text COLLATE "C" NOT NULL,
    description     text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT role_one_per_name UNIQUE NULLS NOT DISTINCT (client_id, name_key, organization_id),
    CONSTRAINT role_one_owner CHECK (client_id IS NULL OR organization_id IS NULL)
);

CREATE INDEX role_name_key ON role (name_key, id);
CREATE INDEX role_outside_organizations ON role (name_key, id) WHERE organization_id IS NULL;
CREATE INDEX role_organization_id ON role (organization_id, name_key, id) WHERE organization_id IS NOT NULL;
CREATE INDEX role_created_at ON role (created_at, id);

-- Whoever has a role has those that it contains.
CREATE TABLE role_contained (
    role_id      uuid NOT NULL REFERENCES role ON DELETE CASCADE,
    contained_id uuid NOT NULL REFERENCES role ON DELETE CASCADE,
    PRIMARY KEY (role_id, contained_id)
);

CREATE INDEX role_contained_contained_id ON role_contained (contained_id);

-- "organization_id" is that of the role: only members have its roles. "role_id" may be one that was deleted.
CREATE TABLE user_role (
    user_id         uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role_id         uuid NOT NULL,
    organization_id uuid,
    origin          text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, role_id),
    FOREIGN KEY (user_id, organization_id) REFERENCES organization_member (user_id, organization_id) ON DELETE CASCADE
);

CREATE INDEX user_role_role_id ON user_role (role_id, user_id);
CREATE INDEX user_role_organization_id ON user_role (organization_id, user_id) WHERE organization_id IS NOT NULL;

CREATE TABLE group_role (
    group_id uuid NOT NULL REFERENCES groups ON DELETE CASCADE,
    role_id  uuid NOT NULL REFERENCES role ON DELETE CASCADE,
    PRIMARY KEY (group_id, role_id)
);

CREATE INDEX group_role_role_id ON group_role (role_id);

-- Attributes of users that the operator declares. One with "deleted_at" does not exist any more; it keeps its name until
-- its values are deleted.
CREATE TABLE attribute (
    name       text PRIMARY KEY,
    config     jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

-- What is being done with all values of an attribute, batch by batch: after the value with "after_key" (null: those
-- without a search key) and "after_user" in the index of the values.
CREATE TABLE attribute_job (
    attribute  text PRIMARY KEY REFERENCES attribute ON DELETE CASCADE,
    kind       text NOT NULL CHECK (kind IN ('index', 'unindex', 'delete')),
    after_key  text,
    after_user uuid NOT NULL,
    done       bigint NOT NULL,
    total      bigint NOT NULL,
    started_at timestamptz NOT NULL
);

-- The values of users, each in the column of its type. "search_key" is null unless the attribute is searchable, "origin"
-- if a user or an administrator set the value.
CREATE TABLE user_attribute (
    user_id       uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    attribute     text NOT NULL REFERENCES attribute ON DELETE RESTRICT,
    position      smallint NOT NULL,
    text_value    text,
    number_value  double precision,
    boolean_value boolean,
    date_value    date,
    search_key    text,
    origin        text,
    PRIMARY KEY (user_id, attribute, position),
    CONSTRAINT user_attribute_one_value
        CHECK (num_nonnulls(text_value, number_value, boolean_value, date_value) = 1)
);

-- Users by a value, in the order of their ids, and all values of an attribute.
CREATE INDEX user_attribute_search_key ON user_attribute (attribute, search_key, user_id);

-- Which users may use a client. A client without a row may be used by all.
CREATE TABLE access_policy (
    client_id  text PRIMARY KEY REFERENCES client ON DELETE CASCADE,
    conditions jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Without what it names, a policy would allow more. The roles of a client go with the client.
CREATE TABLE access_policy_group (
    client_id text NOT NULL REFERENCES client ON DELETE CASCADE,
    group_id  uuid NOT NULL REFERENCES groups ON DELETE RESTRICT,
    PRIMARY KEY (client_id, group_id)
);

CREATE INDEX access_policy_group_group_id ON access_policy_group (group_id);

CREATE TABLE access_policy_role (
    client_id text NOT NULL REFERENCES client ON DELETE CASCADE,
    role_id   uuid NOT NULL REFERENCES role ON DELETE NO ACTION,
    PRIMARY KEY (client_id, role_id)
);

CREATE INDEX access_policy_role_role_id ON access_policy_role (role_id);

CREATE TABLE access_policy_organization (
    client_id       text NOT NULL REFERENCES client ON DELETE CASCADE,
    organization_id uuid NOT NULL REFERENCES organization ON DELETE RESTRICT,
    PRIMARY KEY (client_id, organization_id)
);

CREATE INDEX access_policy_organization_organization_id ON access_policy_organization (organization_id);

CREATE TABLE access_policy_attribute (
    client_id text NOT NULL REFERENCES client ON DELETE CASCADE,
    attribute text NOT NULL REFERENCES attribute ON DELETE RESTRICT,
    PRIMARY KEY (client_id, attribute)
);

CREATE INDEX access_policy_attribute_attribute ON access_policy_attribute (attribute);

-- scim --------------------------------------------------------------------------------------------------------------

-- A token with which another system manages users and groups. Its id is the SCIM client: a rotation replaces the value
-- only. "old_token_hash" is the value before, valid until "old_expires_at". One of an organization manages its members
-- and roles only.
CREATE TABLE scim_token (
    id              uuid PRIMARY KEY,
    organization_id uuid REFERENCES organization ON DELETE CASCADE,
    name            text NOT NULL,
    writes          boolean NOT NULL,
    token_hash      bytea NOT NULL UNIQUE,
    expires_at      timestamptz NOT NULL,
    old_token_hash  bytea UNIQUE,
    old_expires_at  timestamptz,
    last_used_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX scim_token_organization_id ON scim_token (organization_id);

-- The "externalId" of a user or a group at a SCIM client, the "origin". The client makes it unique, if it wants.
CREATE TABLE scim_user (
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    origin      text NOT NULL,
    external_id text NOT NULL,
    PRIMARY KEY (user_id, origin)
);

CREATE INDEX scim_user_external_id ON scim_user (origin, external_id);

CREATE TABLE scim_group (
    group_id    uuid NOT NULL REFERENCES groups ON DELETE CASCADE,
    origin      text NOT NULL,
    external_id text NOT NULL,
    PRIMARY KEY (group_id, origin)
);

CREATE INDEX scim_group_external_id ON scim_group (origin, external_id);

-- The "externalId" of a member or a role of an organization, at a SCIM client of the organization.
CREATE TABLE scim_member (
    user_id         uuid NOT NULL,
    organization_id uuid NOT NULL,
    origin          text NOT NULL,
    external_id     text NOT NULL,
    PRIMARY KEY (user_id, organization_id, origin),
    FOREIGN KEY (user_id, organization_id) REFERENCES organization_member (user_id, organization_id) ON DELETE CASCADE
);

CREATE INDEX scim_member_external_id ON scim_member (origin, external_id);

CREATE TABLE scim_role (
    role_id     uuid NOT NULL REFERENCES role ON DELETE CASCADE,
    origin      text NOT NULL,
    external_id text NOT NULL,
    PRIMARY KEY (role_id, origin)
);

CREATE INDEX scim_role_external_id ON scim_role (origin, external_id);


-- provisioning ------------------------------------------------------------------------------------------------------

-- An application with a SCIM server, to which users and groups are sent. "token" is encrypted. "features" is what its
-- ServiceProviderConfig says.
CREATE TABLE provisioning_target (
    id              uuid PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    base_url        text NOT NULL,
    token           bytea NOT NULL,
    users           text NOT NULL,
    groups          uuid[] NOT NULL,
    organization_id uuid,
    client_id       text,
    pushed_groups   uuid[] NOT NULL,
    mapping         jsonb NOT NULL,
    match           text NOT NULL,
    removal         text NOT NULL,
    mends           boolean NOT NULL DEFAULT false,
    features        jsonb,
    features_at     timestamptz,
    failing_since   timestamptz,
    failing_reason  text NOT NULL,
    disabled_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX provisioning_target_created_at ON provisioning_target (created_at, id);

-- A user at a target, or one who may have to be there: also of users who are deleted here. "sent_hash" is null if it is
-- unknown what the target has. "revision" increases with every attempt, which holds the row until "claimed_until".
CREATE TABLE provisioned_user (
    user_id       uuid NOT NULL,
    target_id     uuid NOT NULL REFERENCES provisioning_target ON DELETE CASCADE,
    remote_id     text,
    state         text NOT NULL,
    sent_hash     bytea,
    error         text NOT NULL,
    revision      bigint NOT NULL DEFAULT 0,
    claimed_until timestamptz,
    queued_until  timestamptz,
    queued_urgent boolean NOT NULL DEFAULT false,
    seen_in       uuid,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, target_id),
    CONSTRAINT provisioned_user_of_remote UNIQUE (target_id, remote_id)
);

CREATE INDEX provisioned_user_target_id ON provisioned_user (target_id, user_id);

CREATE TABLE provisioned_group (
    group_id      uuid NOT NULL,
    target_id     uuid NOT NULL REFERENCES provisioning_target ON DELETE CASCADE,
    remote_id     text,
    state         text NOT NULL,
    sent_hash     bytea,
    error         text NOT NULL,
    revision      bigint NOT NULL DEFAULT 0,
    claimed_until timestamptz,
    queued_until  timestamptz,
    queued_urgent boolean NOT NULL DEFAULT false,
    seen_in       uuid,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_id, target_id),
    CONSTRAINT provisioned_group_of_remote UNIQUE (target_id, remote_id)
);

CREATE INDEX provisioned_group_target_id ON provisioned_group (target_id, group_id);

-- A member of a group at a target, as last sent.
CREATE TABLE provisioned_member (
    user_id   uuid NOT NULL,
    target_id uuid NOT NULL REFERENCES provisioning_target ON DELETE CASCADE,
    group_id  uuid NOT NULL,
    PRIMARY KEY (user_id, target_id, group_id)
);

CREATE INDEX provisioned_member_group_id ON provisioned_member (target_id, group_id, user_id);

-- The last job of a kind at a target. "holder" works on it until "next_run_at".
CREATE TABLE provisioning_job (
    target_id   uuid NOT NULL REFERENCES provisioning_target ON DELETE CASCADE,
    kind        text NOT NULL,
    id          uuid NOT NULL,
    state       text NOT NULL,
    phase       text NOT NULL,
    cursor      text NOT NULL,
    done        bigint NOT NULL DEFAULT 0,
    total       bigint,
    counts      jsonb NOT NULL,
    mend        boolean NOT NULL DEFAULT false,
    again       boolean NOT NULL DEFAULT false,
    attempts    integer NOT NULL DEFAULT 0,
    error       text NOT NULL,
    holder      uuid,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    next_run_at timestamptz,
    PRIMARY KEY (target_id, kind)
);

CREATE INDEX provisioning_job_next_run_at ON provisioning_job (next_run_at);

-- A difference that a check has found between a target and this server.
CREATE TABLE provisioning_drift (
    id        uuid PRIMARY KEY,
    target_id uuid NOT NULL REFERENCES provisioning_target ON DELETE CASCADE,
    check_id  uuid NOT NULL,
    kind      text NOT NULL,
    user_id   uuid,
    group_id  uuid,
    remote_id text,
    details   text[] NOT NULL
);

CREATE INDEX provisioning_drift_target_id ON provisioning_drift (target_id, id);


-- branding ----------------------------------------------------------------------------------------------------------

-- What pages and mails show: of a client, of an organization, or of the server if both are null. One row a change: the
-- current one has no "replaced_at". "document" is JSON; null: it was removed. "pictures" are the SHA-256 of those that it
-- refers to.
CREATE TABLE branding_version (
    id              uuid PRIMARY KEY,
    client_id       text REFERENCES client ON DELETE CASCADE,
    organization_id uuid REFERENCES organization ON DELETE CASCADE,
    document        text,
    pictures        text[] NOT NULL,
    actor           text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    replaced_at     timestamptz,
    CONSTRAINT branding_version_owner CHECK (client_id IS NULL OR organization_id IS NULL)
);

CREATE INDEX branding_version_client_id ON branding_version (client_id);
CREATE INDEX branding_version_organization_id ON branding_version (organization_id);
CREATE INDEX branding_version_pictures ON branding_version USING gin (pictures);
CREATE UNIQUE INDEX branding_version_current
    ON branding_version ((coalesce(client_id, '')), (coalesce(organization_id::text, ''))) WHERE replaced_at IS NULL;

-- An uploaded picture, found by its SHA-256 in hexadecimal.
CREATE TABLE branding_picture (
    sha256     text PRIMARY KEY,
    media_type text NOT NULL,
    content    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
