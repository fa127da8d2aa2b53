"""Workload identity: clients that authenticate by a token of a trusted issuer, and have neither a secret nor a key.

A rule says which tokens authenticate a client: issuer, subject and audience. The issuer is a Kubernetes cluster, a
build service such as GitHub Actions, or a SPIFFE trust domain (docs/workload-identity.md).
"""
