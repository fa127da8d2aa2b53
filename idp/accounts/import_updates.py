"""Updates of imported users, so that an import follows the other system until applications are switched to this one.

Only users that nobody has changed here: not they themselves, no administrator, and no other system. A user who has a
role of an administrator is never changed, as by SCIM: whoever can edit the export could take over that account. Nobody
is deleted.
"""

from collections.abc import Collection, Mapping
from hmac import compare_digest
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.accounts import passwords
from idp.accounts.attributes import service as attributes
from idp.accounts.attributes.registry import attributes as declared
from idp.accounts.import_models import NewUser, StoreRelated
from idp.accounts.repository import admin_roles, users
from idp.accounts.tables import User
from idp.accounts.users import SignOut, after_change_of_email
from idp.audit.events import record as audit
from idp.infra.db.engine import transaction

#: The reason in the audit trail.
REASON: Final = "import"
TAKEN: Final = "Another user has the address, with another sub."
UNVERIFIED: Final = "A user has the address, and without a sub only a verified address says that it is the same one."


async def identified(found: Collection[NewUser]) -> tuple[list[NewUser], list[tuple[NewUser, str]]]:
    """Give records without a ``sub`` the id of the user with the address, if it is verified here and there.

    Returns:
        the records; and those whose address belongs to another user, or may do so, each with the reason.
    """
    owners = await users.ids_of_emails([one.row["email"] for one in found])
    for email in await users.claimed_emails(list(owners)):
        del owners[email]
    named = [owners[one.row["email"]] for one in found if not one.has_sub and one.row["email"] in owners]
    by_id = await users.users_by_ids(named)
    own: list[NewUser] = []
    others: list[tuple[NewUser, str]] = []
    for one in found:
        owner = owners.get(one.row["email"])
        if owner in (None, one.row["id"]):
            own.append(one)
        elif one.has_sub:
            others.append((one, TAKEN))
        elif one.row["email_verified"] and owner in by_id and by_id[owner].email_verified:
            one.row["id"] = owner
            own.append(one)
        else:
            others.append((one, UNVERIFIED))
    return own, others


async def followed(user_ids: Collection[UUID]) -> tuple[list[User], set[UUID]]:
    """Lock those of the users that an import may change.

    Returns:
        these users; and the ids of administrators, who are not among them.
    """
    untouched = await users.lock_untouched(user_ids)
    # After the lock, so that a role that was granted meanwhile counts.
    administrators = await admin_roles.administrators(user_ids)
    return [user for user in untouched if user.id not in administrators], administrators


async def update(
    found: Collection[NewUser], store: StoreRelated, sign_out: SignOut, *, dry_run: bool
) -> tuple[int, int]:
    """Update the users of records that exist, in one transaction.

    An authenticator app is added, never replaced: it cannot be compared. Identities are added.

    Returns:
        how many change, and how many are administrators, who are left alone.
    """
    by_id = {one.row["id"]: one for one in found}
    async with transaction():
        untouched, administrators = await followed(by_id)
        stored = await attributes.values_of_users([user.id for user in untouched])
        changed = [
            user.id
            for user in untouched
            if await _update(user, by_id[user.id], stored.get(user.id, {}), store, sign_out, dry_run=dry_run)
        ]
        if changed and not dry_run:
            await audit("users_imported", detail={"count": len(changed), "updated": True})
    return len(changed), len(administrators)


async def _update(
    user: User, new: NewUser, before: Mapping[str, Any], store: StoreRelated, sign_out: SignOut, *, dry_run: bool
) -> bool:
    """Returns whether the user changes."""
    wanted, shapes = _wanted(user, new.row), {attribute.name: attribute for attribute in declared.all()}
    is_other = new.row["email"] != user.email or any(wanted[name] != user[name] for name in wanted)
    after = {name: shapes[name].shape(list(values)) for name, values in new.attributes.items() if name in shapes}
    secret = None if user.two_step else new.totp_secret
    has_new_app = secret is not None
    if not dry_run:
        if is_other and await users.update_imported(user.id, new.row["email"], wanted):
            await _tell(user, new.row["email"], wanted, sign_out)
        if after != before:
            await attributes.change(user.id, {name: after.get(name) for name in {*before, *after}}, by_import=True)
        if secret is not None or new.identities:
            has_new_app = await store(user.id, secret, new.identities)
        if has_new_app:
            await users.set_two_step(user.id, True)
    return is_other or after != before or has_new_app


async def _tell(before: User, email: str, after: Mapping[str, Any], sign_out: SignOut) -> None:
    """Record a change of an address, of a password and of whether a user is disabled, and end sessions and tokens.

    The last owner is not among the users: no administrator is.
    """
    if email != before.email:
        await after_change_of_email(before, email, sign_out)
    if not compare_digest(after["password_hash"] or "", before.password_hash or ""):
        await sign_out(before.id, "password_changed")
        await audit("password_changed", user_id=before.id)
    if after["disabled_at"] is not None and before.disabled_at is None:
        await sign_out(before.id, "user_disabled")
        await audit("user_disabled", user_id=before.id, detail={"reason": REASON})
    if after["disabled_at"] is None and before.disabled_at is not None:
        await audit("user_enabled", user_id=before.id)


def _wanted(user: User, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of :data:`idp.accounts.repository.users.IMPORTED` that a user is to have."""
    wanted = {name: row.get(name) for name in users.IMPORTED}
    same_address = user.address is not None and msgspec.json.decode(user.address) == row["address"]
    address = user.address if same_address else row["address"] and msgspec.json.encode(row["address"]).decode()
    # A sign-in has verified the address, or put a hash of ours in the place of the imported one.
    verified = row["email_verified"] or (user.email_verified and user.email == row["email"])
    prefix = passwords.current_prefix()
    is_ours = (user.password_hash or "").startswith(prefix) and not (wanted["password_hash"] or "").startswith(prefix)
    disabled_at = (user.disabled_at or wanted["disabled_at"]) if wanted["disabled_at"] is not None else None
    return wanted | {
        "address": address,
        "email_verified": verified,
        "password_hash": user.password_hash if is_ours else wanted["password_hash"],
        "disabled_at": disabled_at,
    }
