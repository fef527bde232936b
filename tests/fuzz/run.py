"""Coverage-guided fuzzing of one parser by atheris: `python tests/fuzz/run.py PARSER [--seconds 1800]`.

It starts from the parser's corpus in tests/fuzz/corpus and prints libFuzzer's lines, the last of which have the count
of runs and the coverage. A crash ends it and leaves `crash-*` in the present folder. `--seeds` writes the corpus.
"""

import argparse
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def write_seeds() -> None:
    """Write the valid inputs of all parsers into the corpus."""
    from fuzz.parsers import CORPUS, made_seeds

    for parser, name, data in made_seeds():
        (CORPUS / parser).mkdir(parents=True, exist_ok=True)
        (CORPUS / parser / name).write_bytes(data)


def fuzz(name: str, seconds: int, most_bytes: int) -> None:
    """Fuzz until the time is over or a crash; does not return."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install '.[fuzz]'")
    warnings.simplefilter("ignore")  # of decoders, about what they refuse
    with atheris.instrument_imports(include=["shardline", "aiohttp", "uvicorn"]):
        from fuzz.parsers import CORPUS, PARSERS
    found = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
    shutil.copytree(CORPUS / name, found, dirs_exist_ok=True)
    arguments = [sys.argv[0], found, f"-max_total_time={seconds}", f"-max_len={most_bytes}", "-print_final_stats=1"]
    atheris.Setup([*arguments, "-timeout=20", "-rss_limit_mb=4096"], PARSERS[name])
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz one parser.")
    parser.add_argument("parser", nargs="?", help="Name of the parser")
    parser.add_argument("--seconds", type=int, default=1800, help="Duration in seconds (default: %(default)s)")
    parser.add_argument("--most-bytes", type=int, default=32768, help="Longest input in bytes (default: %(default)s)")
    parser.add_argument("--seeds", action="store_true", help="Write the corpus of valid inputs and end")
    options = parser.parse_args()
    if options.seeds:
        write_seeds()
    else:
        fuzz(options.parser, options.seconds, options.most_bytes)


if __name__ == "__main__":
    main()
