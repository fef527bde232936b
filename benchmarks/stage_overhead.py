"""Overhead of one stage at 3.1 MiB, without its model: `python -m benchmarks.stage_overhead`.

What: the server of a shard that takes float32 [1, 256, 56, 56], adds 0 and returns it, started with the command line of
`shardline up`, with requests over one persistent connection. The overhead is the round trip less the model's time,
which the stage reports; `stage_cpu_ms` is the processor time of the server's process per request, model included.
`narrow` has the same figures for a tensor of 24.5 KiB.

Why: every further stage costs this much.

Ceiling: two transfers of 3.1 MiB over the loopback device, which `loopback_ms` measures with a bare socket.

The last line is one JSON object; `stage_overhead_ms` is the median.
"""

import socket
import sys
import threading
import time
from pathlib import Path
from statistics import median

from benchmarks.processes import run_benchmark
from benchmarks.stage import MIDDLE, KeptConnection, StageServer, build_wide, model_ms, running_stage

WARM, TURNS = 50, 300


def main(folder: Path) -> dict[str, object]:
    with running_stage(build_wide(folder / "wide"), MIDDLE, _made(folder / "1")) as server:
        figures = measure(server)
        figures["loopback_ms"] = round(loopback_ms(server.frame), 3)
    with running_stage(build_wide(folder / "narrow", 2), MIDDLE, _made(folder / "2")) as server:
        narrow = measure(server)
    return {"benchmark": "stage_overhead", **figures, "narrow": narrow}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def measure(server: StageServer) -> dict[str, float]:
    connection = KeptConnection(server.port, server.path)
    for _ in range(WARM):
        connection.post(server.frame)
    trips_ms, models_ms, cpu_s = [], [], server.tree.cpu_s()
    for _ in range(TURNS):
        start = time.perf_counter()
        reply = connection.post(server.frame)
        trips_ms.append((time.perf_counter() - start) * 1000)
        models_ms.append(model_ms(reply, MIDDLE))
    cpu_ms = (server.tree.cpu_s() - cpu_s) * 1000 / TURNS
    connection.close()
    overheads_ms = [trip - model for trip, model in zip(trips_ms, models_ms, strict=True)]
    return {
        "bytes": len(server.frame),
        "stage_overhead_ms": round(median(overheads_ms), 3),
        "round_trip_ms": round(median(trips_ms), 3),
        "model_ms": round(median(models_ms), 3),
        "stage_cpu_ms": round(cpu_ms, 3),
    }


def loopback_ms(body: bytes) -> float:
    """Round trip between two threads over a bare socket, without HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        echo = threading.Thread(target=_echo, args=(listener, len(body)), daemon=True)
        echo.start()
        with socket.create_connection(listener.getsockname()) as connection:
            taken_ms, block = [], bytearray(len(body))
            for _ in range(TURNS):
                start = time.perf_counter()
                connection.sendall(body)
                _receive(connection, block)
                taken_ms.append((time.perf_counter() - start) * 1000)
        echo.join()
    return median(taken_ms)


def _echo(listener: socket.socket, size_bytes: int) -> None:
    connection, _ = listener.accept()
    block = bytearray(size_bytes)
    with connection:
        while _receive(connection, block):
            connection.sendall(block)


def _receive(connection: socket.socket, block: bytearray) -> bool:
    view = memoryview(block)
    while view:
        count = connection.recv_into(view)
        if not count:
            return False
        view = view[count:]
    return True


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
