"""Benchmarks: every figure beside its limit, measured in the same run on the same cores (docs/performance.md)."""
