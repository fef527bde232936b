"""Fixtures: photographs, versions of a chain, and a scripted cluster that runs them."""

from pathlib import Path

import pytest
from conftest import made_once
from services.cli import run_command as shardline
from services.scripted_versions import first, make_place, make_version, place, second

__all__ = ["first", "make_place", "make_version", "place", "second"]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the photographs of `shardline samples`."""
    return made_once(tmp_path_factory, "photos", lambda folder: shardline("samples", str(folder)))
