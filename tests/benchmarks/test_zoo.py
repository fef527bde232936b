"""The table of models that were cut: one result a model, and a page that gives every reason."""

from benchmarks.zoo import TIMM_MODELS, ZooResult, examine, page, references, run_one

RESIDUAL = "services.small_models:residual"


def test_a_model_is_cut_in_two_three_and_five() -> None:
    result = examine(RESIDUAL, "classify")

    assert (result.reason, result.exact, result.size) == ("", (2, 3, 5), 64)
    assert result.positions > 10


def test_a_model_that_cannot_be_loaded_gets_a_reason() -> None:
    assert "no model 'nowhere'" in examine("torchvision:nowhere", "classify").reason


def test_a_process_that_takes_too_long_is_ended() -> None:
    assert run_one("classify", RESIDUAL, 1, 2**36).reason == "not done in 1 s"


def test_every_model_is_named_once() -> None:
    found = references()

    assert len(found) == len(set(found)) > 140
    assert len(TIMM_MODELS) == 50
    assert {group for group, _ in found} == {"timm", "classify", "segment", "detect"}


def test_the_page_gives_figures_and_reasons() -> None:
    text = page(
        [
            ZooResult(reference="timm:a", group="timm", size=64, positions=9, exact=(2, 3, 5)),
            ZooResult(reference="timm:b", group="timm", reason="differs | in 2 shards"),
        ]
    )

    assert "1 of the 2 that were tried are exact." in text
    assert "| timm:a | 64 | 9 | 2, 3, 5 |  |" in text
    assert "| timm:b | - | - | - | differs / in 2 shards |" in text
