"""Write constraints.txt: `python docker/pins.py`, or `make pins`.

The images hold the versions that the tests ran with: those of this environment. shard.txt, transformer.txt and
client.txt name the packages of each image; pyproject.toml states the allowed versions.
"""

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
IMAGES = ("shard", "transformer", "client")
CONSTRAINTS = HERE / "constraints.txt"
HEADER = "# Versions of the packages in the images, equal to those of the tests; written by `make pins`\n"


def names(image: str) -> list[str]:
    """The packages that an image's modules import."""
    lines = (HERE / f"{image}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def closure(wanted: list[str]) -> dict[str, str]:
    """The installed versions of these packages and of all their dependencies, sorted by name.

    Raises:
        PackageNotFoundError: a package is not installed here.
    """
    waiting = [Requirement(name) for name in wanted]
    seen: set[tuple[str, str]] = set()
    versions: dict[str, str] = {}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                versions[name] = distribution(name).version
                waiting += _required(name, extra)
    return dict(sorted(versions.items()))


def _required(name: str, extra: str) -> Iterator[Requirement]:
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def main() -> int:
    wanted = [name for image in IMAGES for name in names(image)]
    try:
        pins = closure(wanted)
    except PackageNotFoundError as exc:
        print(f"error: {exc.name} is not installed here: make install, then make pins", file=sys.stderr)
        return 1
    lines = [f"{name}=={version.partition('+')[0]}\n" for name, version in pins.items()]
    CONSTRAINTS.write_text(HEADER + "".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
