"""Text form of a model's further inputs, as options and manifests write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardline.storage.bundle import DTYPE_NAMES, RESERVED_NAMES, InputSpec
from shardline.storage.inputs import parse_input, parse_inputs
from shardline.wire.errors import UsageError

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True).filter(lambda name: name not in RESERVED_NAMES)
TENSORS = st.builds(
    InputSpec,
    name=NAMES,
    kind=st.just("tensor"),
    dtype=st.sampled_from(sorted(DTYPE_NAMES.values())),
    shape=st.lists(st.integers(1, 20), max_size=4).map(tuple),
)


@given(TENSORS)
def test_what_is_written_is_read_back(spec: InputSpec) -> None:
    assert parse_input(str(spec)) == spec


def test_the_three_forms() -> None:
    assert parse_inputs(["mask = float32[1, 32,32]", "scale=float64", "reference=picture"]) == (
        InputSpec(name="mask", kind="tensor", dtype="F32", shape=(1, 32, 32)),
        InputSpec(name="scale", kind="tensor", dtype="F64"),
        InputSpec(name="reference", kind="picture"),
    )


def refusal(text: str) -> UsageError | None:
    try:
        parse_input(text)
    except UsageError as exc:
        return exc
    return None


@given(st.text(max_size=30) | st.from_regex(r"\w*=\w*(\[[0-9,]*\])?", fullmatch=True))
def test_any_text_is_an_input_or_one_line(text: str) -> None:
    error = refusal(text)

    assert error is None or str(error).isprintable()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["mask"], "write NAME=picture or NAME=DTYPE"),
        (["1mask=float32"], "the name must be a parameter of the model's forward"),
        (["image=float32"], "image names the first picture"),
        (["pixels=picture"], "pixels names the first picture"),
        (["mask=float8[2]"], "float8 is no dtype; allowed are picture, bool"),
        (["mask=picture[3]"], "picture is no dtype"),
        (["mask=float32[0]"], "dimensions must be numbers from 1"),
        (["mask=float32[1,,2]"], "dimensions must be numbers from 1"),
        (["mask=float32[60000,60000]"], "3600000000 values in one instance; allowed are 67108864"),
        (["a=float32", "a=picture"], "--input a=… is given twice"),
    ],
)
def test_inputs_that_cannot_be(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_inputs(texts)
