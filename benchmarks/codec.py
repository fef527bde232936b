"""Time to encode and decode a frame of 3.1 MiB: `python -m benchmarks.codec`.

What: encoding and decoding of one float32 [1, 256, 56, 56] with the metadata that a stage sends; encoding in parts,
which a server sends without joining them; and a plain copy of the bytes. In milliseconds, the median of many runs.

Why: every hop encodes one frame and decodes one.

Ceiling: `encode` copies the tensor once (`copy_ms`), `decode` not at all.

The last line is one JSON object; `codec_ms` is encode + decode.
"""

import json
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from shardline.wire.frame import Frame, decode, encode, encode_parts

SHAPE = (1, 256, 56, 56)
TURNS = 400


def main() -> None:
    tensor = np.random.default_rng(0).standard_normal(SHAPE, np.float32)
    frame = Frame(
        tensors={"layer1.2": tensor},
        bundle="sha256:" + "0" * 64,
        stage=1,
        request_id="0" * 32,
        deadline_ms=1,
        timings={"transformer": 5.0, "0": 20.0},
    )
    body = encode(frame)
    times = interleaved_ms(
        {
            "encode_ms": lambda: encode(frame),
            "encode_parts_ms": lambda: encode_parts(frame),
            "decode_ms": lambda: decode(body),
            "copy_ms": lambda: bytearray(body),
        }
    )
    codec_ms = round(times["encode_ms"] + times["decode_ms"], 4)
    print(json.dumps({"benchmark": "codec", "bytes": len(body), "codec_ms": codec_ms, **times}))


def interleaved_ms(jobs: dict[str, Callable[[], object]], turns: int = TURNS) -> dict[str, float]:
    """Median milliseconds of each job. The jobs alternate, so that other load on the machine affects all alike."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(turns):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            taken[name].append((time.perf_counter() - start) * 1000)
    return {name: round(median(times), 4) for name, times in taken.items()}


if __name__ == "__main__":
    main()
