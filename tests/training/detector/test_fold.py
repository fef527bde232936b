"""A detector says the same without its normalisation, and learns what it is shown."""

import numpy as np
import pytest
import torch

from shardline.samples import sample_files
from training.detector.course import DetectorCourse, Recipe, normalised
from training.detector.fold import fold
from training.detector.measure import Measure, overlap
from training.detector.model import PlateDetector

CPU = torch.device("cpu")


def test_folding_changes_nothing_but_rounding() -> None:
    torch.manual_seed(0)
    model = PlateDetector(normed=True).train()
    with torch.no_grad():
        for _ in range(3):
            model.maps(torch.randn(4, 3, 64, 64) * 2 + 1)  # statistics that are not 0 and 1
        for each in model.modules():
            if isinstance(each, torch.nn.BatchNorm2d):
                each.weight.uniform_(0.5, 1.5)
                each.bias.normal_(std=0.2)
    model.eval()
    pictures = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for before, after in zip(model.maps(pictures), fold(model).maps(pictures), strict=True):
            assert torch.allclose(before.heat, after.heat, atol=1e-4)
            assert torch.allclose(before.shape, after.shape, atol=1e-4)
            assert before.heat.std() > 1e-3


@pytest.mark.slow
def test_it_learns_a_few_pictures_by_heart() -> None:
    course = DetectorCourse(Recipe(pictures=80, size=256), sample_files())
    samples = [course.draw.pictures.draw("crops", 128, index) for index in (1, 7)]
    model = course.model().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(60):
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack(list(course.losses(model, samples, CPU).values())).sum())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
    measure = Measure()
    with torch.no_grad():
        outputs = fold(model)(normalised([each.pixels for each in samples], CPU))
    measure.add([each.numpy() for each in outputs], samples)

    assert measure.scores() == {"score": 1.0, "found": 1.0, "false": 0.0}


def test_overlap() -> None:
    ones = np.array([[0, 0, 2, 2], [0, 0, 4, 4]], np.float32)
    others = np.array([[1, 1, 3, 3], [8, 8, 9, 9]], np.float32)

    assert np.allclose(overlap(ones, others), [[1 / 7, 0], [4 / 16, 0]])
