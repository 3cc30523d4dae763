"""What a benchmark needs beside its checkout, said in one line before it trains or measures anything."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tiedae.base.packages import missing, require_installed
from tiedae.data.data_sets import DATA_SETS


def require(
    *, data: Sequence[str] = (), packages: Sequence[str] = (), programs: Sequence[str] = (), files: Sequence[Path] = ()
) -> None:
    """Raise DataError for a data set of `tiedae data` that is not here, UnavailableError for a missing package or program.

    `files`: headers and others that a package of the system installs.
    """
    for name in data:
        DATA_SETS[name].located()
    require_installed(*packages)
    for name in programs:
        if shutil.which(name) is None:
            raise missing(name)
    for path in files:
        if not path.exists():
            raise missing(path.name)
