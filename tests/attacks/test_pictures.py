"""Small files that cost much to decode: each is refused by its header, with little memory and time."""

import json
import subprocess
import sys
import threading

import pytest
from services.attack_pictures import PICTURES
from services.processes import ROOT

from shardline.predictors.picture_cost import DecodingMemory

MESSAGES = {
    "tile bomb": "the TIFF's tiles have 45984 x 45984",
    "a smaller tile bomb": "the TIFF's tiles have 16384 x 16384",
    "thin": "allowed are 65535 a side",
    "scans": "scans; allowed are 20",
    "scans behind TEM": "scans; allowed are 20",
    "few scans of many pixels": "scans; allowed are 20",
    "lossless WebP": "allowed are 572.2 MiB",
}


@pytest.mark.parametrize("name", PICTURES)
def test_refused_by_its_header(name: str) -> None:
    """The time excludes making the picture; its own bytes are in memory before."""
    command = [sys.executable, str(ROOT / "tests" / "services" / "attack_pictures.py"), name]
    done = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)

    assert MESSAGES[name] in (done["error"] or "decoded")
    assert done["peak_mib"] < 64
    assert done["took_s"] < 2


def test_a_large_picture_waits_for_the_memory_of_another() -> None:
    memory, order = DecodingMemory(), []
    inside, may_leave = threading.Event(), threading.Event()

    def first() -> None:
        with memory.taken(8, 10):
            inside.set()
            may_leave.wait(30)
            order.append("first")

    def second() -> None:
        with memory.taken(3, 10):
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    with memory.taken(2, 10):
        order.append("small")
    may_leave.set()
    for thread in threads:
        thread.join(30)

    assert order == ["small", "first", "second"]


def test_a_picture_over_the_limit_is_alone() -> None:
    """The caller has refused what is over the limit for good; with other limits, nobody waits for ever."""
    memory = DecodingMemory()

    with memory.taken(20, 10):
        pass
    with memory.taken(20, 10):
        pass
