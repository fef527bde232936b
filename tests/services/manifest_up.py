"""`up` as a program: python manifest_up.py PATH PORT GRACE_S [ROUTER]. One line and exit code 1 for an error."""

import sys
from pathlib import Path

from shardline.manifests.local import up
from shardline.wire.errors import ShardlineError

path, port, grace_s, *router = sys.argv[1:]
try:
    up(Path(path), port=int(port), grace_s=float(grace_s), router=Path(router[0]) if router else None)
except ShardlineError as error:
    sys.exit(f"error: {error}")
