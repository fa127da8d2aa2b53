"""Traces for a collector that speaks OpenTelemetry's protocol (docs/tracing.md).

The flow recorder, which keeps the steps of sign-ins in the database for support, is :mod:`idp.trace`.

:mod:`~idp.infra.tracing.spans` is what the rest of the product calls, where it also counts metrics. Without
``IDP_TRACING`` it does nothing, and the library is not loaded.
"""
