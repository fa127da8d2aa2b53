"""Metrics for Prometheus (docs/metrics.md).

A metric is declared beside the code that it measures, with a class of :mod:`idp.infra.metrics.declared`. Every worker
counts in files of its own (:mod:`idp.infra.metrics.processes`), and one worker of each server serves the sum of all
(:mod:`idp.infra.metrics.exporter`). Without ``IDP_METRICS_ADDRESS`` nothing is counted and the library is not loaded.
"""
