"""Throughput of the plate detector with K=1 and K=3, and the time of a large photograph: `python -m benchmarks.plates`.

What: the shipped detector as one stage and as three, each a chain that `shardline up` runs, with requests in turn from
one client and from eight; each photograph has one plate, and a reply with another text ends the benchmark. Then the
client requests the plates of a photograph of 4000 × 3000 pixels, with one pass and with two (client/tiling.py), and of
one that is larger than a request may be: milliseconds from file to plates, by part.

Why: cutting must cost little where the model is small, and a photograph of twelve megapixels takes more than the model.

Ceiling: one stage, for the chain; for the photograph, its decoding, which is most of `transformer_ms`.

The last line is one JSON object; `k3_over_k1_rps` is the median of the rounds' ratios.
"""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.bundles import BundleSpec, ensure
from benchmarks.figures import ALONE, MANY, by_round, ratio
from benchmarks.load import Load, LoadProcess
from benchmarks.pictures import CheckedPictures, write_jpegs
from benchmarks.processes import UnavailableError, WrongReplyError, run_benchmark
from benchmarks.report import say
from benchmarks.rounds import Measurements, measure_rounds, start_all
from benchmarks.systems.shardline import ShardlineChain
from shardline.client.pictures import fit_body
from shardline.client.plates import plates_in
from shardline.client.predictor import Predictor, RequestOptions
from shardline.client.target import Target
from shardline.client.tiling import Tiling
from shardline.tasks.plates.text import random_text
from shardline.training.plates.fonts import families
from shardline.training.plates.picture import draw_onto
from shardline.training.plates.scene import Scene
from shardline.wire.limits import REQUEST_BYTES

_ANSWER = ("predictions", 0, 0, "main_text")  # the four digits of a picture's only plate
_SEED = 12
_NAMES = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket")  # colour photographs with room for a plate
_CLEAN = Scene(rotation_deg=10, tilt_deg=15, wear=0.2)
_PLATE_SHARE = 0.4  # of a photograph's width
_LARGE = (4000, 3000)
_LARGE_PLATES_PX = {"once": 700.0, "twice": 150.0}
_TURNS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A JPEG and the text of its plate."""

    path: Path
    text: str


def main() -> int:
    parser = ArgumentParser(description="Measure the served plate detector.")
    parser.add_argument("--rounds", type=int, default=5, help="Number of rounds")
    parser.add_argument("--compiled", action="store_true", help="Use compiled shards, which take minutes to build")
    arguments = parser.parse_args()
    return run_benchmark(lambda folder: measure(folder, arguments.rounds, compiled=arguments.compiled))


def measure(folder: Path, rounds: int, *, compiled: bool) -> dict[str, object]:
    (folder / "pictures").mkdir()
    originals = {path.stem: path for path in write_jpegs(folder / "pictures")}
    photos = [_drawn(originals[name], folder / f"{name}.jpg") for name in _NAMES]
    pictures = CheckedPictures(files=tuple(photo.path for photo in photos), classes=tuple(map(_main_number, photos)))
    client = LoadProcess(folder / "load.log")
    chains = [_chain(stages, pictures, client, compiled=compiled) for stages in (1, 3)]
    measured = Measurements()
    ready = start_all(chains, folder, measured, say)
    try:
        loads = [Load(clients=1, seconds=3.0), Load(clients=8, seconds=5.0)]
        measure_rounds(ready, loads, rounds, measured, say, warm_s=1.0)
        if measured.left_out:
            raise UnavailableError("; ".join(measured.left_out.values()))
        chains[1].resume()
        large_photos = _large_photos(originals["rocket"], folder)
        large = {name: _predict(chains[1], *photo) for name, photo in large_photos.items()}
    finally:
        for system in ready:
            system.stop()
        client.close()
    whole, chain = (system.key for system in chains)
    rates = {key: by_round(measured.samples, key, MANY, "rps") for key in (whole, chain)}
    waits = {key: by_round(measured.samples, key, ALONE, "p50_ms") for key in (whole, chain)}
    return {
        "benchmark": "plates",
        "k3_over_k1_rps": ratio(rates[chain], rates[whole]),
        "k3_over_k1_p50": ratio(waits[chain], waits[whole]),
        "rps": {key: round(median(rates[key].values()), 2) for key in rates},
        "p50_ms": {key: round(median(waits[key].values()), 1) for key in waits},
        "photograph_4000x3000": large,
    }


def _chain(stages: int, pictures: CheckedPictures, client: LoadProcess, *, compiled: bool) -> ShardlineChain:
    bundle = ensure(BundleSpec(stages=stages, model="plates", batch=1, compiled=compiled), say)
    return ShardlineChain(key=f"k{stages}", pictures=pictures, client=client, bundle=bundle, answer=_ANSWER)


def _drawn(original: Path, path: Path) -> Photo:
    with Image.open(original) as opened:
        photo = opened.convert("RGB")
    return _with_plate(photo, _PLATE_SHARE * photo.width, path, quality=90)


def _with_plate(photo: Image.Image, width_px: float, path: Path, quality: int) -> Photo:
    random = np.random.default_rng((_SEED, *path.stem.encode()))
    text = random_text(random)
    draw_onto(random, photo, text, _CLEAN, families("held-out"), width_px)
    photo.save(path, quality=quality, subsampling=0 if quality > 95 else 2)
    return Photo(path=path, text=str(text))


def _main_number(photo: Photo) -> int:
    return int(photo.text.split()[1])


def _large_photos(original: Path, folder: Path) -> Mapping[str, tuple[Photo, Tiling]]:
    """Photographs with the passes that they need: a large plate, a small one, and a file over the request limit."""
    with Image.open(original) as opened:
        photo = opened.convert("RGB").resize(_LARGE, Image.Resampling.LANCZOS)
    grain = np.random.default_rng(_SEED).normal(0, 6, (_LARGE[1], _LARGE[0], 1))
    photo = Image.fromarray((np.asarray(photo) + grain).clip(0, 255).astype(np.uint8))
    found: dict[str, tuple[Photo, Tiling]] = {}
    tilings: tuple[Tiling, ...] = ("once", "twice")
    for tiling in tilings:
        path = folder / f"large-{tiling}.jpg"
        found[tiling] = _with_plate(photo.copy(), _LARGE_PLATES_PX[tiling], path, quality=85), tiling
    heavy = _with_plate(photo, _LARGE_PLATES_PX["once"], folder / "heavy.jpg", quality=98)
    found["over_6_mb"] = heavy, "once"
    sizes = [large.path.stat().st_size for large, _ in found.values()]
    assert max(sizes[:-1]) < REQUEST_BYTES < sizes[-1], sizes
    return found


def _predict(chain: ShardlineChain, photo: Photo, tiling: Tiling) -> dict[str, float | int]:
    """Median times by part; `other_ms` is the time of client, router and connections.

    Raises:
        WrongReplyError: the reply has another text than the drawn plate.
    """
    assert chain.target is not None
    options = RequestOptions(parameters={"timings": True}, threshold=0.7, tiling=tiling)
    predictor = Predictor(Target(chain.target.url), options)
    rows: list[dict[str, float]] = []
    requests = 0
    for _ in range(_TURNS):
        start = time.perf_counter()
        outcome = predictor.predict(photo.path.read_bytes())
        total_ms = (time.perf_counter() - start) * 1000
        if outcome.reply is None:
            raise UnavailableError(f"{photo.path.name}: {outcome.error}")
        _check(photo, outcome.reply.predictions)
        requests = outcome.reply.requests
        parts = {str(name): float(str(value)) for name, value in (outcome.reply.timings or {}).items()}
        rows.append(parts | {"total": total_ms, "other": total_ms - sum(parts.values())})
    names = {"transformer": "transformer_ms", "total": "total_ms", "other": "other_ms"}
    medians = {names.get(name, f"stage_{name}_ms"): round(median(row[name] for row in rows), 1) for name in rows[0]}
    sent = {"file_bytes": photo.path.stat().st_size, "fit_ms": _fit_ms(photo), "requests": requests}
    return sent | medians


def _fit_ms(photo: Photo) -> float:
    """Time in which the client makes a request of a file; one over 6 MiB is scaled down."""
    data, taken_ms = photo.path.read_bytes(), []
    for _ in range(5):
        start = time.perf_counter()
        fit_body(data, {}, REQUEST_BYTES)
        taken_ms.append((time.perf_counter() - start) * 1000)
    return round(median(taken_ms), 1)


def _check(photo: Photo, predictions: Sequence[object]) -> None:
    read = [plate.text for plate in plates_in(predictions) or ()]
    if read != [photo.text]:
        raise WrongReplyError(f"{photo.path.name}: read {', '.join(read) or 'nothing'}, drawn {photo.text}")


if __name__ == "__main__":
    sys.exit(main())
