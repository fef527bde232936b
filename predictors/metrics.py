"""What a shard counts besides KServe's own request histograms; KServe's server shows all at /metrics."""

from prometheus_client import Gauge, Histogram

_LABELS = ["model_name"]
BATCH_SIZE = Histogram(
    "shardline_batch_size", "instances that ran as one batch", _LABELS, buckets=[2**power for power in range(9)]
)
QUEUE_SECONDS = Histogram(
    "shardline_queue_seconds",
    "from a frame's arrival to the start of the batch that it is in",
    _LABELS,
    buckets=[0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
)
DEVICE_MEMORY_BYTES = Gauge("shardline_device_memory_bytes", "the most GPU memory that torch has held at once", _LABELS)
