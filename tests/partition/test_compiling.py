"""Compilation of shards: the compiler that is needed, and the names of CPU features."""

from pathlib import Path

import pytest
import torch

from shardline.partition.compiling import check_targets, feature_of
from shardline.wire.errors import CompileError


@pytest.mark.parametrize(
    ("flag", "feature"),
    [
        ("avx2", "avx2"),
        ("fma", "fma3"),
        ("f16c", "f16c"),
        ("avx512f", "avx512_f"),
        ("avx512bf16", "avx512_bf16"),
        ("amx-tile", "amx_tile"),
        ("sve", "sve"),
    ],
)
def test_flags_are_named_as_torch_names_what_a_cpu_has(flag: str, feature: str) -> None:
    assert feature_of(flag) == feature


class TestCompiler:
    def test_none(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)

        with pytest.raises(CompileError, match=r"g\+\+ is not on PATH: install g\+\+"):
            check_targets(("cpu",))

    def test_one_that_fails(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        compiler = tmp_path / "c++"
        compiler.write_text("#!/bin/sh\necho 'fatal error: omp.h: No such file' >&2\necho stop >&2\nexit 1\n")
        compiler.chmod(0o755)
        monkeypatch.setenv("CXX", str(compiler))

        with pytest.raises(CompileError, match=r"fails: fatal error: omp\.h: No such file; install g\+\+"):
            check_targets(("cpu",))

    def test_none_is_asked_for(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

        check_targets(())

    def test_no_such_target(self) -> None:
        with pytest.raises(CompileError, match="allowed are cpu, cuda"):
            check_targets(("tpu",))

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
    def test_no_gpu(self) -> None:
        with pytest.raises(CompileError, match="has no GPU that torch sees"):
            check_targets(("cuda",))
