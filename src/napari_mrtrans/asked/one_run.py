"""One run at a time in a folder."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

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

    with ExitStack() as held:
        try:
            held.enter_context(FileLock(str(lock), timeout=0))
        except Timeout:
            raise busy from None
        except NotImplementedError:  # what older versions of filelock make of ENOSYS
            pass
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
