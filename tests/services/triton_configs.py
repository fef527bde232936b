"""A model repository's configs, parsed by Triton's own messages: `python triton_configs.py REPOSITORY` prints JSON.

A process of its own: KServe's and tritonclient's messages have the same names, and one process takes one of the two.
"""

import json
import sys
from pathlib import Path


def main(repository: str) -> None:
    from google.protobuf import json_format, text_format  # type: ignore[import-untyped]  # no stubs installed
    from tritonclient.grpc import model_config_pb2  # type: ignore[import-untyped]  # ships no types

    configs = {}
    for path in sorted(Path(repository).glob("*/config.pbtxt")):
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        configs[path.parent.name] = json_format.MessageToDict(config, preserving_proto_field_name=True)
    print(json.dumps(configs))


if __name__ == "__main__":
    main(sys.argv[1])
