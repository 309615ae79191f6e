"""Processes of the indexer beside the server: each ends when its stdin does, and so never outlives the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from indexer import logs
from search.home import Home

# The modules beside this one, wherever the server was started.
_PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
    "from indexer.child import main; sys.exit(main())"
)


def start_indexer(home: Home, **wanted: Any) -> subprocess.Popen[bytes]:
    """Start `indexer.child` on `home`, which is told what is `wanted` of it; with pipes for its stdin and stdout."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, str(home.path.absolute()), json.dumps(wanted)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **logs.told()},
        # Ctrl+C in the server's terminal is the server's alone.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
