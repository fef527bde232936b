"""The embedding network: grey pictures of 28 pixels become vectors of 64 numbers."""

import torch

from shardline.training.embedding.model import SIDE, WIDTH, EmbeddingNet


def test_shapes_and_size() -> None:
    model = EmbeddingNet().eval()

    assert model(torch.zeros(3, 3, SIDE, SIDE)).shape == (3, WIDTH)
    assert sum(weight.numel() for weight in model.parameters()) < 300_000


def test_each_picture_is_embedded_by_itself() -> None:
    torch.manual_seed(0)
    model, pictures = EmbeddingNet().eval(), torch.rand(4, 3, SIDE, SIDE)
    with torch.inference_mode():
        together = model(pictures)
        alone = torch.cat([model(picture[None]) for picture in pictures])

    assert torch.allclose(together, alone, atol=1e-5)
