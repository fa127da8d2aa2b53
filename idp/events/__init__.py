"""Events for other systems: webhooks, and the Shared Signals Framework (``ssf/``).

An event is a row of the audit trail. The statement that inserts it also puts its id into a feed, if anyone subscribed
to its kind. :mod:`idp.events.publish` turns the feed into deliveries
(docs/decisions/0063-events-from-the-audit-trail.md).
"""
