"""The audit events of one user, as the user sees them.

Of what others did, neither their names nor where they did it leave the database.
"""

from idp.infra.db.listing import Filter, Listing, Sort

#: Whether the user did it, or a person who had not signed in yet.
IS_OWN = "a.actor IN ('', 'user:' || a.user_id::text)"

#: ``by``: the kind of the actor, such as ``user`` or ``cli``; empty: the user.
OWN_EVENTS = Listing(
    source="audit_event AS a",
    columns=f"""a.at, a.event, a.client_id, a.detail ->> 'slug' AS organization,
    CASE WHEN a.detail ->> 'restarted' = 'true' THEN 'restarted' ELSE a.outcome END AS outcome,
    CASE WHEN {IS_OWN} THEN '' ELSE split_part(a.actor, ':', 1) END AS by,
    CASE WHEN {IS_OWN} THEN a.ip_address ELSE '' END AS ip_address,
    CASE WHEN {IS_OWN} THEN coalesce(a.detail ->> 'user_agent', '') ELSE '' END AS user_agent""",
    key=Sort("a.id", "uuid"),
    sorts={"at": Sort("a.at")},
    default_sort="-at",
    filters={
        "user_id": Filter("a.user_id = {}", "uuid", "Of this user."),
        "events": Filter("a.event = ANY (({})::text[])", help="Of these kinds, as an array of PostgreSQL."),
    },
    # Administrators also change attributes that the user does not see.
    where="(a.event <> 'attributes_changed' OR a.actor = '')",
)
