"""A small network that gives like pictures like vectors: for grey or coloured pictures of 28 pixels a side.

Trained on MNIST by `shardline train embedding`. `shardline build embedding --weights …` serves it.
"""

from collections.abc import Sequence

from torch import Tensor, nn

SIDE = 28  # pixels: MNIST's own, so that a transformer changes nothing
WIDTH = 64  # of the embedding
CHANNELS = (16, 32, 64, 64)
MEAN = STD = (0.5, 0.5, 0.5)


class EmbeddingNet(nn.Module):
    """float32 [batch, 3, 28, 28] -> [batch, WIDTH], of any length: only directions are learned."""

    def __init__(self, width: int = WIDTH, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        one, two, three, four = channels
        self.blocks = nn.Sequential(
            _block(3, one, stride=2), _block(one, two), _block(two, three, stride=2), _block(three, four)
        )
        self.embed = nn.Linear(four * (SIDE // 4) ** 2, width)

    def forward(self, pictures: Tensor) -> Tensor:
        vectors: Tensor = self.embed(self.blocks(pictures).flatten(1))
        return vectors


def _block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())
