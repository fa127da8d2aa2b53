"""Bulk jobs: one act on many users, in the background (docs/bulk-operations.md).

A job and its items are rows. One worker at a time acts on a few items in one transaction, which also moves the job on:
a crash at any moment neither repeats nor omits an act. :mod:`idp.admin.bulk.kinds` is the table of the kinds, which
the console, the API and the command line read; :mod:`idp.admin.bulk.service` creates, cancels and resumes jobs;
:mod:`idp.admin.bulk.worker` works on them.
"""
