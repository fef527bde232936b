"""A stage that runs waiting frames together, as a real process: nobody can tell who was beside whom.

Where a test needs a batch to be full, the delay is longer than the test may take: it goes on only because it is.
"""

import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import requests
from services.processes import free_port, server, stop, wait_until

from shardline.partition.build import BuildOptions, build
from shardline.partition.models import load_model
from shardline.partition.verify import LocalChain
from shardline.predictors.shard import parse
from shardline.predictors.worker import now_ms
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.frame import Frame, decode, encode

pytestmark = pytest.mark.slow

CLIENTS = 16
BATCH = 8
FOR_EVER_MS = 600_000


@dataclass(frozen=True, slots=True)
class Stage:
    """A served stage."""

    base: str
    name: str
    stop: Callable[[], int]

    def post(self, frame: Frame) -> requests.Response:
        return requests.post(f"{self.base}/v1/models/{self.name}:predict", data=encode(frame), timeout=60)

    def post_all(self, frames: Sequence[Frame]) -> list[requests.Response]:
        """All at once, each on a connection of its own."""
        with ThreadPoolExecutor(len(frames)) as pool:
            return list(pool.map(self.post, frames))

    def metric(self, name: str) -> float:
        text = requests.get(f"{self.base}/metrics", timeout=10).text
        found = re.search(rf'^{name}{{model_name="{self.name}"}} (\S+)$', text, re.MULTILINE)
        return float(found[1]) if found else 0.0


Serve = Callable[..., Stage]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve(bundle, stage, *arguments)`: that stage as a process."""
    with ExitStack() as stack:

        def start(bundle: Path, stage: int, *arguments: str) -> Stage:
            name, port = f"{bundle.name}-{stage}", free_port()
            options = (f"--model_dir={bundle}/stages/{stage}", *arguments)
            process = stack.enter_context(
                server("shardline.predictors.shard", *options, log=tmp_path / f"{name}.log", name=name, port=port)
            )
            return Stage(f"http://127.0.0.1:{port}", name, lambda: stop(process, signal.SIGTERM))

        yield start


def full_batches(size: int = BATCH) -> tuple[str, str]:
    return f"--max_batch_size={size}", f"--max_batch_delay_ms={FOR_EVER_MS}"


def pictures(count: int, size: int = 32) -> list[np.ndarray]:
    return [
        np.random.default_rng(seed).integers(0, 256, (1, 3, size, size), dtype=np.uint8) // (1 + seed % 5)
        for seed in range(count)
    ]


def first_frames(bundle: Path, pixels: Sequence[np.ndarray]) -> list[Frame]:
    """Each with an id, timings and parameters of its own."""
    digest = open_bundle(bundle).digest
    return [
        Frame(
            tensors={"pixels": each},
            bundle=digest,
            stage=0,
            request_id=f"r{index}",
            timings={"transformer": float(index)},
            parameters={"top": 1 + index % 4, "timings": index % 2 == 0},
        )
        for index, each in enumerate(pixels)
    ]


def test_sixteen_clients_at_once_each_get_what_the_whole_says_of_their_picture(
    serve: Serve, small_bundle: Path
) -> None:
    """Through three stages, each in two full batches: the same top-1 and scores within 1e-4 of the whole's."""
    pixels = pictures(CLIENTS)
    chain = LocalChain(small_bundle)
    stages = [serve(small_bundle, index, *full_batches()) for index in range(3)]

    frames = first_frames(small_bundle, pixels)
    for stage in stages[:2]:
        frames = [decode(reply.content) for reply in stage.post_all(frames)]
    replies = [reply.json() for reply in stages[2].post_all(frames)]

    assert [frame.request_id for frame in frames] == [f"r{index}" for index in range(CLIENTS)]
    for index, (each, reply) in enumerate(zip(pixels, replies, strict=True)):
        logits = chain.run_reference(each)[-1]["output"][0].astype(np.float64)
        scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        [prediction] = reply["predictions"]
        assert prediction["index"] == scores.argmax()
        assert len(prediction["top"]) == 1 + index % 4
        assert all(abs(top["score"] - scores[top["index"]]) < 1e-4 for top in prediction["top"])
        assert ("timings" in reply) == (index % 2 == 0)
        assert reply.get("timings", {"transformer": index})["transformer"] == index
    for stage in stages:
        assert (stage.metric("shardline_batch_size_count"), stage.metric("shardline_batch_size_sum")) == (2, CLIENTS)
        assert stage.metric("shardline_queue_seconds_count") == CLIENTS


def test_bad_frames_among_good_ones_get_their_own_answer(serve: Serve, small_bundle: Path) -> None:
    """The batch becomes full of the good ones alone."""
    pixels, chain = pictures(BATCH), LocalChain(small_bundle)
    outputs = [chain.run_stages(batch) for batch in pixels]
    good = [
        replace(frame, tensors=each[0], stage=1)
        for frame, each in zip(first_frames(small_bundle, pixels), outputs, strict=True)
    ]
    name, value = next(iter(outputs[0][0].items()))
    not_a_number = replace(good[0], tensors={**outputs[0][0], name: np.full_like(value, np.nan)})
    foreign = replace(good[1], bundle="sha256:" + "0" * 64)
    late = replace(good[2], deadline_ms=now_ms() - 1)
    stage = serve(small_bundle, 1, *full_batches())

    replies = stage.post_all([not_a_number, *good[:4], foreign, late, *good[4:]])

    assert [reply.status_code for reply in replies] == [400, *[200] * 4, 409, 504, *[200] * 4]
    assert f"{name} holds NaN" in replies[0].json()["error"]
    assert (stage.metric("shardline_batch_size_count"), stage.metric("shardline_batch_size_sum")) == (1, BATCH)
    for reply, each in zip([*replies[1:5], *replies[7:]], outputs, strict=True):
        assert_close(decode(reply.content).tensors, each[1])


def assert_close(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-4)


def test_a_frame_that_makes_the_batch_fail_fails_alone(serve: Serve, tmp_path: Path) -> None:
    """A number that the stage's table does not have: nothing is wrong with the frame before the shard runs."""
    folder = tmp_path / "lookup"
    pixels = pictures(4)
    model = load_model("services.small_models:lookup", size=32)
    build(model, "lookup", np.concatenate(pixels), BuildOptions(cuts=("pick",)), folder)
    chain = LocalChain(folder)
    outputs = [chain.run_stages(batch) for batch in pixels]
    frames = [
        replace(frame, tensors=each[0], stage=1)
        for frame, each in zip(first_frames(folder, pixels), outputs, strict=True)
    ]
    frames[2] = replace(frames[2], tensors={name: value + 999 for name, value in frames[2].tensors.items()})
    stage = serve(folder, 1, *full_batches(4))

    replies = stage.post_all(frames)

    assert [reply.status_code for reply in replies] == [200, 200, 500, 200]
    assert re.fullmatch(r"lookup-1: internal error \(\w+\); its log says more", replies[2].json()["error"])
    for index in (0, 1, 3):
        assert replies[index].json()["predictions"][0]["index"] == outputs[index][1]["output"].argmax()


def test_a_large_frame_among_small_ones(serve: Serve, small_bundle: Path) -> None:
    """Twenty instances in a stage that runs eight at a time: all in order, and the small ones their own."""
    pixels = [np.concatenate(pictures(20)), *pictures(4)]
    stage = serve(small_bundle, 0, f"--max_batch_size={BATCH}")

    replies = stage.post_all(first_frames(small_bundle, pixels))

    for each, reply in zip(pixels, replies, strict=True):
        assert_close(decode(reply.content).tensors, LocalChain(small_bundle).run_stages(each)[0])
    assert stage.metric("shardline_batch_size_sum") == 24
    assert stage.metric("shardline_queue_seconds_count") == 5


def slow_frame(slow_bundle: Path, count: int = 1) -> Frame:
    [frame] = first_frames(slow_bundle, [np.concatenate(pictures(count, size=128))])
    return frame


def keep_busy(stage: Stage, slow_bundle: Path, pool: ThreadPoolExecutor) -> "Future[requests.Response]":
    """Have the stage compute four pictures, and come back when it has begun: nobody waits."""
    reply = pool.submit(stage.post, slow_frame(slow_bundle, 4))
    wait_until(lambda: stage.metric("request_preprocess_seconds_count") >= 1, "the first frame is there")
    return reply


def test_what_waits_while_the_stage_is_busy_goes_together_without_a_delay(serve: Serve, slow_bundle: Path) -> None:
    pixels = pictures(7, size=128)
    stage = serve(slow_bundle, 0, f"--max_batch_size={BATCH}")

    replies = stage.post_all(first_frames(slow_bundle, pixels))

    assert [reply.status_code for reply in replies] == [200] * 7
    assert stage.metric("shardline_batch_size_sum") == 7
    assert stage.metric("shardline_batch_size_count") <= 4
    whole = LocalChain(slow_bundle)
    for each, reply in zip(pixels, replies, strict=True):
        assert reply.json()["predictions"][0]["index"] == whole.run_reference(each)[-1]["output"].argmax()


def test_a_deadline_that_passes_in_the_queue_is_answered_and_not_computed(serve: Serve, slow_bundle: Path) -> None:
    frame = slow_frame(slow_bundle)
    stage = serve(slow_bundle, 0, f"--max_batch_size={BATCH}")
    with ThreadPoolExecutor(4) as pool:
        busy = keep_busy(stage, slow_bundle, pool)
        hasty = replace(frame, deadline_ms=now_ms() + 300)
        replies = list(pool.map(stage.post, [hasty, frame, hasty]))

    assert [reply.status_code for reply in replies] == [504, 200, 504]
    assert "nothing was computed" in replies[0].json()["error"]
    assert busy.result().status_code == 200
    assert stage.metric("shardline_batch_size_sum") == 4 + 1


def test_a_full_queue_is_503_and_sigterm_lets_the_rest_finish(serve: Serve, slow_bundle: Path) -> None:
    stage = serve(slow_bundle, 0, f"--max_batch_size={BATCH}", "--max_queue=2")
    with ThreadPoolExecutor(4) as pool:
        busy = keep_busy(stage, slow_bundle, pool)
        others = [pool.submit(stage.post, slow_frame(slow_bundle)) for _ in range(3)]
        wait_until(lambda: any(future.done() for future in others), "one is refused, two wait")
        code = stage.stop()
        replies = [future.result() for future in others]

    assert sorted(reply.status_code for reply in replies) == [200, 200, 503]
    [refused] = [reply for reply in replies if reply.status_code == 503]
    assert refused.headers["retry-after"] == "1"
    assert "2 requests wait already" in refused.json()["error"]
    assert busy.result().status_code == 200
    assert code in {0, -signal.SIGTERM}


def test_at_one_nothing_is_joined_and_answers_are_equal_to_the_bit(serve: Serve, small_bundle: Path) -> None:
    """However many wait, a delay or not."""
    pixels, chain = [*pictures(11), np.concatenate(pictures(3))], LocalChain(small_bundle)
    stage = serve(small_bundle, 0, *full_batches(1))

    replies = stage.post_all(first_frames(small_bundle, pixels))

    for each, reply in zip(pixels, replies, strict=True):
        found = decode(reply.content).tensors
        alone = [chain.run_stages(each[index : index + 1])[0] for index in range(len(each))]
        assert all(np.array_equal(found[name], np.concatenate([outputs[name] for outputs in alone])) for name in found)
    assert (stage.metric("shardline_batch_size_count"), stage.metric("shardline_batch_size_sum")) == (14, 14)


@pytest.mark.parametrize("argument", ["--max_batch_size=0", "--max_batch_delay_ms=-1", "--max_batch_delay_ms=nan"])
def test_a_number_that_makes_no_sense_is_wrong_usage(
    argument: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["shard", "--model_name=x", "--model_dir=x", argument])

    with pytest.raises(SystemExit) as caught:
        parse()

    assert caught.value.code == 2
    assert "--max_batch_size must be at least 1" in capsys.readouterr().err
