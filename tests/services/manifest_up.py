"""`up` as a program: python manifest_up.py PATH PORT [ROUTER]. One line on stderr and exit code 1 for an error."""

import sys
from pathlib import Path

from manifests.local import up
from wire.errors import ShardlineError

try:
    up(Path(sys.argv[1]), port=int(sys.argv[2]), router=Path(sys.argv[3]) if sys.argv[3:] else None, grace_s=5)
except ShardlineError as error:
    sys.exit(f"error: {error}")
