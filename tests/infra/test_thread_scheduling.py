"""The scheduling policies of a worker's threads, also while one of them computes."""

import os
import subprocess
import sys

import msgspec
import pytest

from idp.accounts import passwords
from idp.infra.thread_scheduling import threads

#: The policies of the event loop's thread and of another one, after each step.
PROGRAM = """
import os, threading
from idp.infra.thread_scheduling import threads

end = threading.Event()
other = threading.Thread(target=end.wait)
other.start()
policies = []

def look():
    policies.append([os.sched_getscheduler(thread.native_id) for thread in (threading.main_thread(), other)])

threads.computing(+1)
look()
threads.computing(-1)
threads.let_finish()
look()
for change in (+1, +1, -1, -1):
    threads.computing(change)
    look()
end.set()
print(policies)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux has this policy.")
def test_only_other_threads_preempt_while_one_computes() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, timeout=60)
    normal, batch = os.SCHED_OTHER, os.SCHED_BATCH
    assert msgspec.json.decode(ran.stdout) == [
        [normal, normal],
        [batch, batch],
        [batch, normal],
        [batch, normal],
        [batch, normal],
        [batch, batch],
    ]


async def test_hashing_counts_as_computing_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[int] = []
    monkeypatch.setattr(threads, "computing", changes.append)
    pool = passwords._Pool(threads=1, queue=0)
    assert await pool.run(lambda: list(changes)) == [1]
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    assert changes == [1, -1, 1, -1]
