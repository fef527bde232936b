"""Small models that are awkward to cut, for tests: each is a factory without arguments."""

from typing import NamedTuple

import torch
from torch import nn
from torchvision.models import VisionTransformer


class Residual(nn.Module):
    """Two skip connections that span every cut in the middle, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.one = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.three = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.stem(x)
        second = self.one(first)
        third = self.two(second)
        fourth = self.three(third)
        output: torch.Tensor = self.head((first + second * third + fourth).mean((2, 3)))
        return output


class Tuples(nn.Module):
    """Operations that give tuples, and two outputs of which one is made early."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 9, 3, stride=2)
        self.norm = nn.BatchNorm2d(9)
        self.head = nn.Linear(9, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        x = self.norm(self.conv(x))
        left, middle, right = x.chunk(3, dim=1)
        values, indices = left.flatten(1).topk(3, dim=1)
        mixed = torch.cat([middle.relu(), right, left.sigmoid()], dim=1)
        return self.head(mixed.mean((2, 3))), {"values": values, "indices": indices}


class SharedBuffer(nn.Module):
    """One buffer and one parameter that are used at the start and at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.scale: torch.Tensor
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 6).view(1, 6, 1, 1))
        self.bias = nn.Parameter(torch.linspace(-1, 1, 6).view(1, 6, 1, 1))
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.middle = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x) * self.scale + self.bias
        x = torch.tanh(self.middle(x))
        output: torch.Tensor = self.head((x * self.scale + self.bias).mean((2, 3)))
        return output


class Windows(nn.Module):
    """Attention in windows: between the windows' making and merging nothing has the batch as a dimension of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x).permute(0, 2, 3, 1)
        batch, height, width, channels = x.shape
        x = x.view(batch, height // 2, 2, width // 2, 2, channels).transpose(2, 3)
        x = x.reshape(batch * (height // 2) * (width // 2), 4, channels)
        mask = x.new_zeros(4, 4).masked_fill(torch.eye(4, dtype=torch.bool), -1.0)
        x, _ = self.attention(x, x, x, need_weights=False, attn_mask=mask)
        output: torch.Tensor = self.head(x.reshape(batch, -1, channels).mean(1))
        return output


class Strided(nn.Module):
    """Tensors whose memory is not in the order of their dimensions, and one that is a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.LayerNorm(8)
        self.mlp = nn.Linear(8, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        x = self.mlp(self.norm(x)).permute(0, 3, 1, 2)
        x = x[:, :, 1:, ::2]
        output: torch.Tensor = self.head(x.mean((2, 3)))
        return output


class Derived(nn.Module):
    """A bias that is looked up in a table, as Swin's are: weights that no operation on the picture reads itself."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.linspace(-1, 1, 7))
        self.places: torch.Tensor
        self.register_buffer("places", torch.tensor([6, 0, 3, 3]))
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = self.table[self.places].sigmoid().view(1, 4, 1, 1)
        output: torch.Tensor = (self.conv(x) + bias).relu().mean((2, 3))
        return output


class Spectrum(nn.Module):
    """Complex numbers and bfloat16 on the way: neither crosses a cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.fft.rfft2(self.conv(x)).abs()
        return x.to(torch.bfloat16).float().mean((2, 3))


class Complex(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = torch.fft.rfft2(x)
        return output


class Features(nn.Module):
    """Gives a map of features and no classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2)
        self.last = nn.Conv2d(4, 4, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.last(self.first(x).relu())
        return output


class Masked(nn.Module):
    """Numbers that are not finite among an operation's arguments, as attention masks have them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shares = x.mean(2).masked_fill(x.mean(2) < 0, -torch.inf).softmax(2)
        return torch.nan_to_num(shares, nan=0.0).sum(2).clamp(max=torch.inf)


class TurnedOutput(nn.Module):
    """An output that lies in memory as [batch, 3, places] and has the shape [batch, places, 3]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu().flatten(2).transpose(1, 2)


class Mutating(nn.Module):
    """Counts its calls: a shard must not."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: torch.Tensor
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x.mean((2, 3)) + self.calls


class FixedBatch(nn.Module):
    """Decides by the batch size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) if len(x) == 2 else x.sum((2, 3))


class InPlace(nn.Module):
    """Changes its own intermediate tensors, also through views of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        kept = x.clone()
        x.relu_()
        x[:, 0] = 0.5
        x += kept
        x[:, 1:].mul_(2)
        output: torch.Tensor = self.head(x.mean((2, 3)))
        return output


class Named(NamedTuple):
    logits: torch.Tensor
    features: torch.Tensor


class NamedOutputs(nn.Module):
    """Outputs in a named tuple, in a dict, and the same one twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> tuple[Named, dict[str, torch.Tensor]]:
        features = self.conv(x).relu()
        logits = self.head(features.mean((2, 3)))
        return Named(logits, features), {"mean": features.mean((1, 2, 3)), "again": features}


class Reused(nn.Module):
    """One ReLU called three times and one convolution called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.same = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.relu(self.stem(x))
        second = self.relu(self.same(first))
        third = self.relu(self.same(second))
        output: torch.Tensor = self.head((first + third).mean((2, 3)))
        return output


class Pick(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.argmax(1)


class Lookup(nn.Module):
    """Looks numbers up in a table. The second stage, cut after `pick`, fails for one that the table does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.pick = Pick()
        self.table = nn.Embedding(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.table(self.pick(self.conv(x))).mean((1, 2))
        return output


class Mixing(nn.Module):
    """What one picture gets depends on those beside it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) - x.mean((0, 2, 3))


class Random(nn.Module):
    """Drops values outside of training too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, training=True).mean((2, 3))


class NotATensor(nn.Module):
    """Gives the batch size beside a tensor."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, int]:
        return x.mean((2, 3)), x.shape[0]


class Nothing(nn.Module):
    """Gives None beside a tensor."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return x.mean((2, 3)), None


class Broken(nn.Module):
    def forward(self, _: torch.Tensor) -> torch.Tensor:
        raise ValueError("this model never runs")


def residual() -> nn.Module:
    return _seeded(Residual)


def tuples() -> nn.Module:
    return _seeded(Tuples)


def shared_buffer() -> nn.Module:
    return _seeded(SharedBuffer)


def windows() -> nn.Module:
    return _seeded(Windows)


def strided() -> nn.Module:
    return _seeded(Strided)


def derived() -> nn.Module:
    return _seeded(Derived)


def spectrum() -> nn.Module:
    return _seeded(Spectrum)


def complex_output() -> nn.Module:
    return Complex()


def features() -> nn.Module:
    return _seeded(Features)


def masked() -> nn.Module:
    return Masked()


def turned_output() -> nn.Module:
    return TurnedOutput()


def mutating() -> nn.Module:
    return Mutating()


def fixed_batch() -> nn.Module:
    return FixedBatch()


def in_place() -> nn.Module:
    return _seeded(InPlace)


def named_outputs() -> nn.Module:
    return _seeded(NamedOutputs)


def reused() -> nn.Module:
    return _seeded(Reused)


def lookup() -> nn.Module:
    return _seeded(Lookup)


def mixing() -> nn.Module:
    return Mixing()


def random() -> nn.Module:
    return Random()


def not_a_tensor() -> nn.Module:
    return NotATensor()


def nothing() -> nn.Module:
    return Nothing()


def broken() -> nn.Module:
    return Broken()


def not_a_module() -> int:
    return 3


def _seeded(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind()


class Slow(nn.Module):
    """Takes about half a second a picture at 128 × 128 pixels, so that a test can act while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 64, 3, padding=1)
        self.again = nn.Conv2d(64, 64, 3, padding=1)
        self.head = nn.Linear(64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for _ in range(40):
            x = torch.tanh(self.again(x))
        output: torch.Tensor = self.head(x.mean((2, 3)))
        return output


def slow() -> nn.Module:
    return _seeded(Slow)


def vision_transformer() -> VisionTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VisionTransformer(
            image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10
        )
        nn.init.normal_(model.heads.head.weight)  # torchvision starts it at zero
    return model


def failing() -> nn.Module:
    raise KeyError("no such thing")
