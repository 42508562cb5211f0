"""A full disk without filling one: a limit on the size of files makes each write of a process fail likewise."""

import contextlib
import resource
from collections.abc import Iterator

POSSIBLE = hasattr(resource, "prlimit")
REASON = "only Linux can limit the files of a process that runs"


@contextlib.contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """A process that can write to no file until the block ends (EFBIG where a full disk says ENOSPC)."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
