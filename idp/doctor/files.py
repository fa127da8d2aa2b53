"""Files with secrets, files that the settings name, and the space for new ones."""

import asyncio
import os
import shutil
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from idp import clock
from idp.doctor.models import Context, Finding, Findings, error, ok, warning
from idp.keys import vault
from idp.settings import ENV_FILE, PREFIX, SECRETS, Settings

#: Free space below which there is a warning, in bytes and as a share of the disk.
MIN_FREE, MIN_FREE_SHARE = 1 << 30, 0.05
#: Days before the end of an authority at which there is a warning.
DAYS = 60


async def check(context: Context) -> Findings:
    """Look at permissions, existence and free space."""
    found = await asyncio.to_thread(_all, context.settings)
    for finding in found:
        yield finding
    if not found:
        yield ok("Files with secrets are closed to others, and there is space.")


def _all(settings: Settings) -> list[Finding]:
    return [*_secrets(settings), *_named(settings), *_authorities(settings), *_space(settings)]


def _secret_files(settings: Settings) -> Iterator[Path]:
    yield settings.master_key_path
    for ending in (".old", ".new"):
        yield settings.master_key_path.with_suffix(ending)
    yield Path(ENV_FILE)
    for name in sorted(SECRETS):
        if path := os.environ.get(f"{PREFIX}{name.upper()}_FILE"):
            yield Path(path)


def _secrets(settings: Settings) -> Iterator[Finding]:
    for path in _secret_files(settings):
        if path.is_file() and vault.readable_by_others(path):
            yield error(
                "secret_file_readable",
                f"Other users of this machine can read {path}, which holds secrets.",
                f"Run: chmod 600 {path}. If others may have read it, replace the secrets.",
            )
    for folder in (settings.keys_dir, settings.data_dir / "mail"):
        if _mode(folder) & stat.S_IWOTH:
            yield error(
                "folder_writable",
                f"Every user of this machine can replace files in {folder}.",
                f"Run: chmod o-w {folder}",
            )
    if settings.master_key is None:
        try:
            vault.load_master_key(settings)
        except vault.SecretsError as failure:
            yield error(
                "master_key_unreadable",
                failure.description,
                "Restore the file from its copy. Only for a new database, create one: idp keys init.",
            )


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _named(settings: Settings) -> Iterator[Finding]:
    if settings.templates_dir is not None and not settings.templates_dir.is_dir():
        yield error(
            "templates_missing",
            f"There is no folder {settings.templates_dir}, so the server does not start.",
            "Correct IDP_TEMPLATES_DIR, or remove it.",
        )
    if settings.geoip_database is not None and not os.access(settings.geoip_database, os.R_OK):
        yield warning(
            "geoip_missing",
            f"{settings.geoip_database} cannot be read, so users do not see the places of sign-ins.",
            "Correct IDP_GEOIP_DATABASE, or remove it.",
        )
    path = settings.audit_checkpoint_file
    if path is not None and not os.access(path if path.exists() else path.parent, os.W_OK):
        yield error(
            "checkpoint_file_not_writable",
            f"{path} cannot be written, so checkpoints of the audit trail do not leave the database.",
            "Give the user of the server the right to append to it, or correct IDP_AUDIT_CHECKPOINT_FILE.",
        )


def _authorities(settings: Settings) -> Iterator[Finding]:
    """Certificates that are trusted for calls to other servers."""
    path = settings.outbound_ca_file
    for certificate in x509.load_pem_x509_certificates(path.read_bytes()) if path is not None else ():
        left = certificate.not_valid_after_utc - clock.now()
        if left < timedelta(days=DAYS):
            level = error if left < timedelta() else warning
            yield level(
                "authority_expires",
                f"The authority {certificate.subject.rfc4514_string()[:100]} in {path} "
                f"{'expired' if level is error else 'expires'} on {certificate.not_valid_after_utc:%Y-%m-%d}.",
                "Add its successor to the file, and remove it when nothing needs it.",
            )


def _space(settings: Settings) -> Iterator[Finding]:
    for folder in (settings.data_dir, settings.keys_dir):
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        if usage.free < MIN_FREE and usage.free < usage.total * MIN_FREE_SHARE:
            yield warning(
                "disk_nearly_full",
                f"The disk of {folder} has {usage.free >> 20} MB left.",
                "Make space, or move the folder to a larger disk.",
            )
            return
