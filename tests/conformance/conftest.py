"""Both routers, the project's and KServe's, as one fixture; steps for them to call; KServe's models for tests."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from services.processes import ROOT, answers, free_port, kserve_port, running, wait_until
from services.routers import KSERVE_ROUTER, Routers
from services.steps import Steps

NO_ROUTER = pytest.mark.skipif(not KSERVE_ROUTER, reason="SHARDLINE_KSERVE_ROUTER names no router of KServe's")


@pytest.fixture
def steps() -> Iterator[Steps]:
    steps = Steps()
    yield steps
    steps.stop()


@pytest.fixture(params=["local", pytest.param("kserve", marks=NO_ROUTER)])
def router(request: pytest.FixtureRequest) -> Iterator[Routers]:
    """Every test that asks for it is one of the cases in docs/conformance.md, and holds for both."""
    with ExitStack() as stack:
        if request.param == "kserve":
            stack.enter_context(kserve_port())
        routers = Routers(kserve=request.param == "kserve")
        stack.callback(routers.stop)
        yield routers


@pytest.fixture(scope="session")
def success(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of KServe's success-200-isvc."""
    yield from _served("success", tmp_path_factory.mktemp("success") / "log")


@pytest.fixture(scope="session")
def error(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of KServe's error-404-isvc."""
    yield from _served("error", tmp_path_factory.mktemp("error") / "log")


def _served(verdict: str, log: Path) -> Iterator[str]:
    port = free_port()
    program = str(ROOT / "tests" / "services" / "verdict.py")
    arguments = [f"--model_name={verdict}", f"--http_port={port}", "--enable_grpc=false"]
    with running([sys.executable, program, verdict, *arguments], log) as process:
        url = f"http://127.0.0.1:{port}/v1/models/{verdict}"
        wait_until(lambda: process.poll() is not None or answers(url), f"{verdict} ready")
        assert process.poll() is None, log.read_text()
        yield f"{url}:predict"
