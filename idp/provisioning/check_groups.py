"""How the groups at a target differ from what they are to be.

Members whom this server does not know at the target are left alone.
"""

from collections.abc import Sequence
from typing import Final

from idp.directory.repository.groups import group_by_id
from idp.infra.db.engine import transaction
from idp.provisioning import documents
from idp.provisioning.models import Document, Drift, Target
from idp.provisioning.protocol import GoneError, Remote, id_of
from idp.provisioning.repository import members
from idp.provisioning.repository.drift import Found
from idp.provisioning.repository.subjects import Subject, groups, users

GROUPS: Final = "/Groups"
#: Members of a group that are compared; larger groups are left out. Up to so many, no list means no members.
MAX_MEMBERS, MAX_UNLISTED = 200_000, 1000


async def list_groups(target: Target, resources: Sequence[Document]) -> list[Found]:
    """Return the groups that are not ours."""
    ids = [str(id_of(each)) for each in resources]
    known = await groups.of_remotes(target.id, ids)
    return [Found(kind=Drift.GROUP_UNMANAGED, remote_id=each) for each in ids if each not in known]


async def compare_group(target: Target, remote: Remote, subject: Subject, *, mend: bool) -> list[Found]:
    """Return how one of our groups differs.

    Args:
        mend: record the members as the target has them, so that a delivery changes what differs.
    """
    group = await group_by_id(subject.id) if subject.id in target.pushed_groups else None
    try:
        found = await remote.read(GROUPS, subject.remote_id) if subject.remote_id is not None else None
    except GoneError:
        found = None
    if group is None:
        return [_found(subject, Drift.GROUP_EXTRA)] if found is not None else []
    if found is None:
        return [_found(subject, Drift.GROUP_MISSING)]
    paths = documents.differences(found, {"displayName": group.name, "externalId": str(group.id)})
    result = [_found(subject, Drift.GROUP_DIFFERENT, *paths)] if paths else []
    listed = documents.get(found, "members")
    wanted = await members.wanted(target.id, group.id, MAX_MEMBERS + 1)
    if (not isinstance(listed, list) and len(wanted) > MAX_UNLISTED) or len(wanted) > MAX_MEMBERS:
        # Some servers leave long lists out.
        return result
    values = (documents.get(each, "value") for each in documents.elements_of(listed))
    there = {each for each in values if isinstance(each, str)}
    missing = [each for each in wanted if each.remote_id not in there]
    expected = {each.remote_id for each in wanted}
    surplus = list((await users.of_remotes(target.id, there - expected)).values())
    if not missing and not surplus:
        return result
    if mend:
        async with transaction():
            await members.remove(target.id, group.id, [each.user_id for each in missing])
            await members.add(target.id, group.id, [each.id for each in surplus])
    details = (f"{len(missing)} missing", f"{len(surplus)} too many")
    return [*result, _found(subject, Drift.GROUP_MEMBERS, *details)]


def _found(subject: Subject, kind: Drift, *details: str) -> Found:
    return Found(kind=kind, group_id=subject.id, remote_id=subject.remote_id, details=details)
