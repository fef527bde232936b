"""A small embedding network for grey or coloured pictures of 28 pixels a side: similar pictures, near vectors.

`shardline train embedding` trains it on MNIST; `shardline build embedding --weights FILE` serves it.
"""

from collections.abc import Sequence

from torch import Tensor, nn

SIDE = 28  # pixels: MNIST's own, so that a transformer changes nothing
WIDTH = 64  # of the embedding
CHANNELS = (16, 32, 64, 64)
MEAN = STD = (0.5, 0.5, 0.5)


class EmbeddingNet(nn.Module):
    """float32 [batch, 3, 28, 28] -> float32 [batch, WIDTH], of any length: only the direction carries meaning."""

    def __init__(self, width: int = WIDTH, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        one, two, three, four = channels
        self.blocks = nn.Sequential(
            _block(3, one, stride=2), _block(one, two), _block(two, three, stride=2), _block(three, four)
        )
        self.embed = nn.Linear(four * (SIDE // 4) ** 2, width)

    def forward(self, pictures: Tensor) -> Tensor:
        """float32 [batch, 3, 28, 28] -> float32 [batch, WIDTH]."""
        vectors: Tensor = self.embed(self.blocks(pictures).flatten(1))
        return vectors


def _block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())
