"""One run at a time in a folder."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from ..errors import MrtransError

#: What file systems answer that know no locks.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def one_run(lock: Path, busy: MrtransError) -> Iterator[None]:
    """Hold a lock meanwhile. One that a killed process left does not count; where the file system knows none, there is
    none.

    Raises:
        MrtransError: ``busy``, for another run holds it.
        OSError: its file cannot be written.
    """
    from filelock import FileLock, Timeout

    # A marker file instead, which newer versions of filelock would write there, outlives a killed process.
    no_marker: dict[str, Any] = {}
    if "fallback_to_soft" in signature(FileLock.__init__).parameters:
        no_marker["fallback_to_soft"] = False
    if lock.is_symlink():  # git-annex put it away with the results; no lock is taken through a link
        lock.unlink()
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(str(lock), timeout=0, **no_marker))
        except Timeout:
            raise busy from None
        except NotImplementedError:  # what older versions of filelock make of ENOSYS
            pass
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
