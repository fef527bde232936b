"""Options of the command: what is refused, and what comes from the environment."""

from pathlib import Path

import pytest

from shardline.client.arguments import parse
from shardline.client.request import main, make_parser


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder with a picture and an empty folder, and no variables of ours."""
    for name in ("URL", "INGRESS", "TOKEN", "CA_FILE"):
        monkeypatch.delenv(f"SHARDLINE_{name}", raising=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.jpg").write_bytes(b"...")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo.jpg", "--top", "0"], "argument --top: 0 is not 1 or more"),
        (["photo.jpg", "--jobs", "x"], "argument --jobs: invalid"),
        (["photo.jpg", "--retries", "-1"], "argument --retries: -1 is not 0 or more"),
        (["photo.jpg", "--limit-mib", "nan"], "argument --limit-mib: nan is not a positive number"),
        (["photo.jpg", "--header", "Host"], "is not of the form 'Name: value'"),
        (["photo.jpg", "--threshold", "1.5"], "argument --threshold: 1.5 is not over 0 and at most 1"),
        (["photo.jpg", "--tiling", "thrice"], "argument --tiling: invalid choice: 'thrice'"),
        (["photo.jpg", "--name", "x"], "--name is for --kserve: give that, too"),
        (["photo.jpg", "--ingress", "http://x"], "--ingress is for --kserve: give that, too"),
        (["photo.jpg", "--kserve", "--url", "http://x"], "--url and --kserve exclude each other"),
        (["photo.jpg", "--token", "a", "--token-file", "b"], "not allowed with argument"),
        (["photo.jpg", "--kserve", "--wait", "-1"], "-1 is not 0 or more"),
        ([], "the following arguments are required: PICTURE"),
        (["--video", "a.mp4", "photo.jpg"], "--video excludes pictures and --track"),
        (["photo.jpg", "--fps", "3"], "--fps is for --video: give --every N for a folder of frames"),
        (["photo.jpg", "--every", "3"], "--every is for --video and --track"),
        (["photo.jpg", "--json", "--preview"], "--preview prints a picture between the lines of --json"),
        (["photo.jpg", "--crops", "3", "--tiling", "once"], "--crops is for --tiling twice"),
        (["photo.jpg", "--track", "--show"], "--show is for single pictures"),
        (["--video", "a.mp4", "--every", "2", "--fps", "3"], "not allowed with argument"),
        (["--known", "k.txt"], "the following arguments are required: PICTURE"),
    ],
)
def test_wrong_options_are_refused_by_the_parser(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        parse(make_parser(), arguments)

    assert raised.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.jpg"], "error: nope.jpg: no such file or folder\n"),
        (["empty"], "error: no pictures in empty: looked for .bmp"),
        (["empty", "--save", "out"], "error: no pictures in empty: looked for .bmp"),
        (["photo.jpg", "--url", "ftp://host"], "error: 'ftp://host' is not a URL; allowed is http://HOST:PORT"),
        (["photo.jpg", "--url", "http://"], "is not a URL"),
        (["photo.jpg", "--url", "http://host:99999"], "is not a URL"),
        (["photo.jpg", "photo.jpg", "--save", "b.png"], "error: --save b.png: 2 pictures need a folder: give one\n"),
        (["photo.jpg", "--token", "a b"], "--token: not a token: it must be one word"),
        (["photo.jpg", "--token-file", "nowhere"], "nowhere: cannot be read (No such file or directory)"),
        (["photo.jpg", "--ca-file", "nowhere"], "nowhere: cannot be read (No such file or directory)"),
        (["photo.jpg", "--known", "nowhere"], "nowhere: cannot be read (No such file or directory)"),
    ],
)
def test_values_that_cannot_be_used_end_with_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err


def test_the_environment_fills_options_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"URL": "http://a", "INGRESS": "http://b", "TOKEN": "t", "CA_FILE": "ca.pem"}.items():
        monkeypatch.setenv(f"SHARDLINE_{name}", value)
    options = parse(make_parser(), ["photo.jpg"])
    given = parse(make_parser(), ["photo.jpg", "--url", "http://c", "--token-file", "f"])

    assert (options.url, options.ingress, options.token) == ("http://a", "http://b", "t")
    assert options.ca_file == Path("ca.pem")
    assert (given.url, given.token) == ("http://c", None)


def test_every_help_is_a_phrase_of_its_own() -> None:
    helps = [action.help or "" for action in make_parser()._actions]

    assert all(helps)
    assert [text for text in helps if text.split()[0].lower() in {"of", "that", "to", "by", "likewise"}] == []
