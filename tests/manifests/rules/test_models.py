"""Documents against the typed models of kserve and kubernetes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from services.lint_cases import cases_named, check_case

from shardline.manifests.lint import lint

ROOT = Path(__file__).parents[3]


def test_kinds_without_a_model_need_no_more_than_metadata() -> None:
    knative = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"x": 1}}
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "a", "labls": {}}}

    assert lint([knative]) == []
    assert [str(problem) for problem in lint([route])] == [
        "HTTPRoute a: metadata.labls: unknown field 'labls': did you mean 'labels'?"
    ]


@pytest.mark.slow
def test_the_typed_models_come_without_what_import_kserve_does() -> None:
    """Which is two seconds, and the command line parsed for a server's options."""
    lines = [
        "import sys, yaml",
        "from shardline.manifests.lint import lint",
        "assert lint([{'kind': 'InferenceService', 'apiVersion': 'serving.kserve.io/v1beta1', 'spec': {'x': 1}}])",
        "assert not {'kserve', 'fastapi', 'uvicorn', 'torch'} & set(sys.modules)",
        "import kserve",
        "assert kserve.Model and kserve.V1beta1InferenceService().openapi_types",
    ]

    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), "--http_port=no number"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert "invalid int value: 'no number'" in done.stderr  # of `import kserve`, in the last lines but one


CASES = cases_named("typed-model")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_field_that_its_model_does_not_allow_is_reported(case: dict[str, Any]) -> None:
    check_case(case)
