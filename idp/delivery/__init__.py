"""The outbox of HTTPS deliveries: logout tokens, notifications, events.

:func:`idp.delivery.outbox.queue` and ``queue_many`` store a delivery in the caller's transaction. ``outbox.run``
sends it with the :class:`~idp.delivery.handlers.Handler` of its kind. :mod:`idp.delivery.repository` has what others
may ask: ``states_of_session``, the list for administrators, ``replay``.
"""
