"""The flow recorder: what was asked and decided in a sign-in or token request, and why, for support.

:func:`idp.trace.recorder.step` records a step of the current request, of a kind in :mod:`.kinds`. A request is written
with its steps as one row, off the hot path (:mod:`.buffer`, :mod:`.worker`). The id of the request that began a flow is
the id of the flow: it is stored with what continues it. :mod:`.reading` finds a flow by any of its ids
(docs/decisions/0092-flow-recorder.md).
"""
