"""Shardline: cut a PyTorch vision model into shards and serve each as its own KServe InferenceService."""

__version__ = "0.1.0"
