"""CPU, memory and timeouts of a chain's pods, computed from the measurements of the plan.

KServe's defaults (1 CPU, 2Gi: inference_service_defaults.go setResourceRequirementDefaults) kill a large shard and
waste memory on a small one. So every number is set here, with the measurement that it is based on.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shardline.manifests.quantities import format_cpu
from shardline.storage.bundle import Bundle, Stage, stage_folder
from shardline.tasks.index import ENTRIES_FILE, INDEX_FILE
from shardline.wire.limits import MIB

if TYPE_CHECKING:
    from shardline.manifests.options import Overrides


MAX_QUEUE = 32  # requests that may wait at one stage; the next gets a 503

PROCESS_BYTES = 832 * MIB  # Python, torch and kserve; a process with a shard of 22 MB was measured at 821 MB
TRANSFORMER_PROCESS_BYTES = 192 * MIB  # Python, kserve, numpy and Pillow; measured: 155 MB
WEIGHT_COPIES = 2.5  # while loading: the archive, the tensors read from it, and what the allocator keeps
INDEX_COPIES = {
    INDEX_FILE: 1,
    ENTRIES_FILE: 8,
}  # in memory against on disk: vectors are the same, ids and labels become Python strings
ACTIVATION_FACTOR = 16  # tensors inside a stage against the larger of its input and output; ResNet's first layers: 11
BODY_COPIES = 3  # received, decoded, sent on
LIMIT_FACTOR = 1.5  # limit against request: an out-of-memory kill costs more than idle memory
MEMORY_STEP_MIB = 64

TRANSFORMER_CPU_REQUEST_M = 250
TRANSFORMER_CPU_LIMIT_M = 1000
MIN_CPU_REQUEST_M = 100

ROUTER_PROCESS_BYTES = 64 * MIB  # KServe's router without requests; measured: 52 MB
ROUTER_BODY_COPIES = 6  # copies of a request's body; measured: 189 MB at eight requests of 3 MB
ROUTER_REQUESTS = 8  # concurrent requests covered by the memory request; the limit covers a stage's full queue
ROUTER_CPU_REQUEST_M = 100
ROUTER_CPU_LIMIT_M = 1000

SLOWER = 4  # a pod's CPU against the machine of the measurement
MIN_REQUEST_S = 30
MAX_REQUEST_S = 600  # KServe's own --predictor_request_timeout_seconds
READ_S = 60  # 32 MB at 4.5 Mbit/s
IDLE_S = 180  # KServe's own
MARGIN_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Requests and limits of one container, in thousandths of a CPU and in MiB."""

    cpu_request_m: int
    cpu_limit_m: int
    memory_request_mib: int
    memory_limit_mib: int

    def overridden(self, by: "Overrides") -> "Compute":
        """Apply the user's numbers; a given limit lowers a computed request, and a given request raises a limit."""
        cpu = _pair(self.cpu_request_m, self.cpu_limit_m, by.cpu_request_m, by.cpu_limit_m)
        memory = _pair(self.memory_request_mib, self.memory_limit_mib, by.memory_request_mib, by.memory_limit_mib)
        return Compute(
            cpu_request_m=cpu[0], cpu_limit_m=cpu[1], memory_request_mib=memory[0], memory_limit_mib=memory[1]
        )

    def to_resources(self) -> dict[str, Any]:
        """Write them as a container's `resources`."""
        return {
            "requests": {"cpu": format_cpu(self.cpu_request_m), "memory": f"{self.memory_request_mib}Mi"},
            "limits": {"cpu": format_cpu(self.cpu_limit_m), "memory": f"{self.memory_limit_mib}Mi"},
        }


def _pair(request: int, limit: int, wanted_request: int | None, wanted_limit: int | None) -> tuple[int, int]:
    if wanted_limit is not None:
        return min(request, wanted_limit) if wanted_request is None else wanted_request, wanted_limit
    return (request, limit) if wanted_request is None else (wanted_request, max(limit, wanted_request))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTimeouts:
    """Timeouts of a chain, in ascending order: the stages' deadline, the router's client, the router's server.

    With this order a late request gets a stage's 504, and a stage that hangs causes the router's 500, which names its
    address. The router's server, which closes the connection without a response (TestServerTimeout), comes last.
    """

    request_ms: int
    service_client_s: int
    server_read_s: int
    server_write_s: int
    server_idle_s: int


def stage_compute(bundle: Bundle, stage: Stage) -> Compute:
    """Compute a stage's CPU from its share of the measured time, its memory from weights, activations and bodies.

    The CPU limit is the number of threads of the measurement: a shard runs as many threads as its limit has CPUs, and
    the plan's times and the bit equality with the whole hold for that number only. The requests of all stages add up to
    what the whole model would request, since one request occupies one stage at a time.
    """
    threads_m = 1000 * max(1, bundle.threads)
    total_ms = sum(measured.model_ms for measured in bundle.stages)
    share = stage.model_ms / total_ms if total_ms > 0 else 1 / len(bundle.stages)
    return _compute(
        cpu_request_m=min(threads_m, max(MIN_CPU_REQUEST_M, math.ceil(threads_m * share / 10) * 10)),
        cpu_limit_m=threads_m,
        memory_bytes=PROCESS_BYTES
        + stage.weight_bytes * WEIGHT_COPIES
        + _index_bytes(bundle, stage)
        + _activation_bytes(bundle, stage)
        + _waiting_bytes(bundle),
    )


def transformer_compute(bundle: Bundle) -> Compute:
    """Compute the transformer's resources, which hold the largest pictures while they are decoded, and their bodies."""
    return _compute(
        cpu_request_m=TRANSFORMER_CPU_REQUEST_M,
        cpu_limit_m=TRANSFORMER_CPU_LIMIT_M,
        memory_bytes=TRANSFORMER_PROCESS_BYTES + bundle.limits.decoding_bytes + _waiting_bytes(bundle),
    )


def router_compute(bundle: Bundle) -> Compute:
    """Compute the router's resources, which hold the body sent and the body received of each running request.

    A request's largest body is the frame at the largest cut. The limit covers a full queue of the first stage and one
    client that sends the largest body that a server reads, since the death of the router ends all requests.
    """
    frame_bytes = bundle.max_instances * max(stage.output_bytes for stage in bundle.stages)
    return Compute(
        cpu_request_m=ROUTER_CPU_REQUEST_M,
        cpu_limit_m=ROUTER_CPU_LIMIT_M,
        memory_request_mib=_mebibytes(ROUTER_PROCESS_BYTES + ROUTER_BODY_COPIES * ROUTER_REQUESTS * frame_bytes),
        memory_limit_mib=_mebibytes(
            ROUTER_PROCESS_BYTES
            + ROUTER_BODY_COPIES * (MAX_QUEUE * bundle.limits.request_bytes + bundle.limits.body_bytes)
        ),
    )


def timeouts(bundle: Bundle) -> ChainTimeouts:
    """Compute timeouts for the largest request behind a full queue of such requests, on pods `SLOWER` times slower.

    serverWrite starts at the end of the request's headers and covers reading the body and all steps (Go's
    http.Server.WriteTimeout); the last step may start just before the deadline and then hang.
    """
    runs = math.ceil(bundle.max_instances / bundle.batch)  # batches of the largest request
    slowest_ms = runs * max(stage.model_ms for stage in bundle.stages)
    total_ms = runs * sum(stage.model_ms for stage in bundle.stages)
    needed_s = math.ceil(SLOWER * (total_ms + MAX_QUEUE * slowest_ms) / 1000)
    request_s = min(MAX_REQUEST_S, max(MIN_REQUEST_S, needed_s))
    client_s = request_s + math.ceil(SLOWER * slowest_ms / 1000) + MARGIN_S
    return ChainTimeouts(
        request_ms=1000 * request_s,
        service_client_s=client_s,
        server_read_s=READ_S,
        server_write_s=READ_S + request_s + client_s,
        server_idle_s=IDLE_S,
    )


def _activation_bytes(bundle: Bundle, stage: Stage) -> int:
    values = sum(math.prod(shape) for shape in (bundle.picture.shape, *(spec.shape for spec in bundle.inputs)))
    input_bytes = bundle.stages[stage.index - 1].output_bytes if stage.index else values * 4  # fp32 once inside
    return ACTIVATION_FACTOR * bundle.batch * max(input_bytes, stage.output_bytes)


def _index_bytes(bundle: Bundle, stage: Stage) -> int:
    """Memory of the index from which the last stage of a retrieval chain replies (docs/retrieval.md)."""
    copies = {f"{stage_folder(stage.index)}/{name}": count for name, count in INDEX_COPIES.items()}
    return sum(copies[path] * file.size_bytes for path, file in bundle.files.items() if path in copies)


def held_bytes(bundle: Bundle) -> int:
    """Bound of all request bodies in one server's memory: a full queue, and one large body more."""
    return MAX_QUEUE * bundle.limits.request_bytes + bundle.limits.body_bytes


def _waiting_bytes(bundle: Bundle) -> int:
    return held_bytes(bundle) + (BODY_COPIES - 1) * bundle.limits.body_bytes


def _compute(*, cpu_request_m: int, cpu_limit_m: int, memory_bytes: float) -> Compute:
    return Compute(
        cpu_request_m=cpu_request_m,
        cpu_limit_m=cpu_limit_m,
        memory_request_mib=_mebibytes(memory_bytes),
        memory_limit_mib=_mebibytes(memory_bytes * LIMIT_FACTOR),
    )


def _mebibytes(size_bytes: float) -> int:
    return math.ceil(size_bytes / MIB / MEMORY_STEP_MIB) * MEMORY_STEP_MIB
