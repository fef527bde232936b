"""The program: which trials it has, what it reports, and one trial on a real chain."""

import json
from pathlib import Path

import pytest

from benchmarks.chaos.__main__ import TrialResult, main, table, trials


def test_trials_follow_from_the_seed() -> None:
    plan = [trial.name for trial in trials(3, "")]

    assert plan == [trial.name for trial in trials(3, "")]
    assert plan != [trial.name for trial in trials(4, "")]
    assert sorted(plan) == sorted({trial.name for trial in trials(4, "")})
    assert "router, load, file lost" not in plan
    assert {trial.name for trial in trials(3, "stage 1, load")} == {name for name in plan if "stage 1, load" in name}


def test_the_table_has_a_row_for_each_fault() -> None:
    results = [
        TrialResult(trial="a", fault="SIGKILL", counts={"right": 3, "error": 2}, recovery_s=4.0),
        TrialResult(trial="b", fault="SIGKILL", counts={"right": 1, "wrong": 1}, recovery_s=6.0, leaked=["x"]),
        TrialResult(trial="c", fault="SIGSTOP", counts={"hung": 1}, recovery_s=None),
    ]

    assert table(results).splitlines()[2:] == [
        "| SIGKILL | 2 | 4 | 2 | 0 | 0 | 1 | 0 | 0 | 1 | 5.0, 6.0 |",
        "| SIGSTOP | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 1 | 0 | none |",
        "| all | 3 | 4 | 2 | 0 | 0 | 1 | 0 | 1 | 1 | 5.0, 6.0 |",
    ]


@pytest.mark.heavy
def test_a_killed_stage_gives_no_wrong_reply(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a run that goes on has nothing left to do."""
    arguments = ["--only=stage 1, load, SIGKILL", "--requests=50", f"--bundle={small_bundle}", f"--out={tmp_path}"]

    assert main(arguments) == 0

    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (document["trials"], document["leaked"], document["unrecovered"]) == (1, [], [])
    assert document["verdicts"]["right"] >= 50
    assert document["verdicts"]["error"] > 0
