"""KServe's two models for tests of graphs, as python/test_resources/graph has them: one succeeds, one says 404.

python tests/services/verdict.py {success,error} --model_name=NAME --http_port=PORT --enable_grpc=false
"""

import argparse
from typing import Any, NoReturn

from fastapi import HTTPException
from kserve.model import Model
from kserve.model_server import ModelServer
from kserve.model_server import parser as kserve_parser


class Success(Model):  # type: ignore[misc]  # kserve ships no types
    def predict(self, *_: object) -> dict[str, Any]:
        return {"predictions": [{"message": "SUCCESS"}]}


class Error(Model):  # type: ignore[misc]  # kserve ships no types
    def predict(self, *_: object) -> NoReturn:
        raise HTTPException(status_code=404, detail="Intentional 404 code")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[kserve_parser])
    parser.add_argument("verdict", choices=["success", "error"])
    options = parser.parse_args()
    model: Any = {"success": Success, "error": Error}[options.verdict](options.model_name)
    model.ready = True
    ModelServer(workers=1).start([model])
