"""Handler that serves one part of a bundle inside TorchServe; it is copied into the archive.

Shardline need not be installed there: the modules that this one imports lie beside it, in shardline_parts.zip. A part
takes the same requests as a shard of Shardline: the first shard, and the whole, take the bytes of a picture or v1 JSON;
the other shards take a frame, the response of the shard before. The last shard, and the whole, answer v1 JSON.

TorchServe passes a batch of requests at once. Each gets its own response and status, so that a bad picture does not
spoil its neighbours; valid requests run together where the part can join frames. It computes on the CPU.
"""

# ruff: noqa: E402  # only with the zip on its path does Python find the rest

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

_PARTS = Path(__file__).with_name("shardline_parts.zip")
if _PARTS.is_file():
    sys.path.insert(0, str(_PARTS))

import torch

from shardline.partition.runtime import Golden, LoadedShard
from shardline.predictors.inputs import json_values, read_inputs
from shardline.predictors.picture import fit_pictures
from shardline.storage.bundle import BUNDLE_FILE, STAGE_FILE, load_object, parse_bundle
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request, check_count
from shardline.wire.errors import ForeignFrameError, FrameError, ShardlineError
from shardline.wire.frame import Frame, decode, encode, is_frame
from shardline.wire.v1 import CHAIN_PARAMETERS, check_instances, parse_request

MODEL_FILE = "model.pt"


class PartHandler:
    """TorchServe's handler: it calls `initialize` once, then `handle` for each batch of requests.

    TorchServe finds it as the only class of this module.
    """

    def initialize(self, context: Any) -> None:
        """Load the part and run its golden input; TorchServe's worker fails where the outputs are far off."""
        folder = Path(context.system_properties["model_dir"])
        bundle = parse_bundle((folder / BUNDLE_FILE).read_bytes())
        stage = bundle.stages[load_object((folder / STAGE_FILE).read_bytes(), STAGE_FILE)["stage"]]
        self._shard = LoadedShard(bundle, stage, torch.jit.load(str(folder / MODEL_FILE), map_location="cpu"))
        golden = Golden.load(folder)
        self._shard.warm_up(golden)
        self._joins = self._shard.can_join(golden)

    def handle(self, rows: Sequence[Mapping[str, Any]], context: Any) -> list[bytes | dict[str, Any]]:
        """Answer each row with a frame's bytes, predictions, or an error with its status."""
        requests = [_or_error(self._read, row) for row in rows]
        outputs = iter(self._run([request for request in requests if isinstance(request, Frame)]))
        answers = []
        for index, request in enumerate(requests):
            answer = request if isinstance(request, ShardlineError) else _or_error(self._answer, request, next(outputs))
            if isinstance(answer, ShardlineError):
                context.set_response_status(code=answer.status, phrase=type(answer).__name__, idx=index)
                answer = {"error": str(answer)}
            context.set_response_content_type(
                index, "application/octet-stream" if isinstance(answer, bytes) else "application/json"
            )
            answers.append(answer)
        return answers

    def _read(self, row: Mapping[str, Any]) -> Frame:
        body = _bytes(row)
        frame = decode(body) if is_frame(body) else self._from_pictures(body)
        if (frame.bundle, frame.stage) != (self._shard.digest, self._shard.stage.index):
            raise ForeignFrameError(
                f"the frame is for stage {frame.stage} of bundle {frame.bundle[:80]}, this is stage "
                f"{self._shard.stage.index} of {self._shard.digest}: post the response of a stage to the next stage"
            )
        self._shard.check(frame.tensors)
        return frame

    def _from_pictures(self, body: bytes) -> Frame:
        stage, bundle = self._shard.stage, self._shard.bundle
        if stage.index:
            raise FrameError(
                f"stage {stage.index} takes frames, the responses of stage {stage.index - 1}: post pictures to stage 0"
            )
        names, most_values = [spec.name for spec in bundle.inputs], json_values(bundle.inputs, bundle.max_instances)
        request = parse_request(body, names, most_values=most_values)
        check_instances(len(request.pictures), bundle.max_instances)
        pixels, views = fit_pictures(request.pictures, bundle.picture, bundle.limits)
        further = read_inputs(request, bundle.inputs, bundle.picture, bundle.limits)
        return Frame(
            tensors={stage.inputs[0].name: pixels, **further},
            bundle=self._shard.digest,
            stage=0,
            parameters=request.parameters,
            views=views,
        )

    def _run(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        tensors = [frame.tensors for frame in frames]
        if self._joins and len(tensors) > 1:
            return self._shard.run_joined(tensors)
        return [self._shard.run_joined([frame])[0] for frame in tensors]

    def _answer(self, frame: Frame, outputs: Mapping[str, Any]) -> bytes | dict[str, Any]:
        if not self._shard.is_last:
            return encode(replace(frame, tensors=outputs, stage=frame.stage + 1))
        task, picture = self._shard.bundle.task, self._shard.bundle.picture
        parameters = {key: value for key, value in frame.parameters.items() if key not in CHAIN_PARAMETERS}
        request = Request(
            outputs=outputs,
            labels=task.labels,
            options=task.options,
            parameters=parameters,
            views=frame.views,
            input_size=(picture.height, picture.width),
        )
        predictions = task_reply(task.name)(request)
        check_count(predictions, len(frame.views) or self._shard.instances(frame.tensors))
        return self._shard.bundle.reply(predictions)


def _or_error(function: Any, *arguments: Any) -> Any:
    """Call a function and return its result, or the error that the request caused."""
    try:
        return function(*arguments)
    except ShardlineError as exc:
        return exc


def _bytes(row: Mapping[str, Any]) -> bytes:
    """Body of a request: a form's field is `data`, a raw body is `body`, and JSON is parsed already."""
    body = row.get("data") if row.get("data") is not None else row.get("body")
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
