"""Options of `shardline evaluate` as the values that an evaluation takes."""

from pathlib import Path

from shardline.options.evaluate import evaluation_options, picture_arguments


def test_a_run_has_the_options_and_the_model() -> None:
    options = evaluation_options(against=[Path("b")], program="auto", threads=2, out=Path("report"), as_json=True)
    run = options.run(model=Path("m"), url=None)

    assert (run.model, run.url, run.against, run.program) == (Path("m"), None, (Path("b"),), "auto")
    assert (run.threads, run.out) == (2, Path("report"))
    assert options.as_json
    with run.bar(1) as advance:
        advance()


def test_without_options_nothing_is_compared_or_written() -> None:
    run = evaluation_options().run(model=None, url="http://h")

    assert (run.against, run.threads, run.out, run.program) == ((), None, None, "portable")


def test_labelled_pictures() -> None:
    assert picture_arguments("digits", mistakes=3) == {"data": "digits", "count": None, "most_mistakes": 3}
