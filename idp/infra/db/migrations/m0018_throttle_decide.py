from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from idp.infra.db.engine import execute

ID = "2026-11-29T00:18:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "throttle_decide"

# Decides several limits together and counts all of them or none. A function, because the rows are read again after
# they were locked: a single statement would see them as they were before it waited.
#
# ``events`` is a list of objects: key (hex), rule, escalates, free, seconds. For a rate, ``free`` is the burst and
# ``seconds`` the interval; for an escalation, ``free`` tries have no wait and ``seconds`` is the longest wait.
# ``over`` is the longest wait in seconds of the limits that refuse, 0 if none does; ``counted`` is the number of the
# escalation. Keys are locked in order, so that two calls do not wait for each other.
STATEMENT = r"""
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
            INSERT INTO throttle (key, rule, number, interval, tolerance, refused, free_at)
            VALUES (event.key, event.rule, 0, 0, 0, false, clock_timestamp()) ON CONFLICT DO NOTHING;
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
        -- What is refused leaves nothing behind.
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
END $$
"""


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)

    async def create_function():
        await execute(STATEMENT)

    manager.add_raw(create_function)
    return manager
