"""The supervised contrastive loss: pictures of one class near to each other, all others far.

Khosla et al., "Supervised Contrastive Learning", 2020, equation 2 (L_out): for each picture, of the batch's other ones
weighed by a softmax over cosines, the mean logarithm of those of its own class.
"""

import torch
from torch import Tensor

TEMPERATURE = 0.1


def contrastive(vectors: Tensor, classes: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """[batch, width] float and [batch] int -> the loss, a number; 0 where no class is there twice."""
    near = torch.nn.functional.normalize(vectors.float(), dim=1)
    itself = torch.eye(len(near), dtype=torch.bool, device=near.device)
    likeness = (near @ near.T / temperature).masked_fill(itself, -torch.inf)
    logs = likeness - likeness.logsumexp(dim=1, keepdim=True)
    same = (classes[:, None] == classes) & ~itself
    count = same.sum(dim=1)
    each = -logs.masked_fill(~same, 0.0).sum(dim=1) / count.clamp(min=1)
    return each.sum() / (count > 0).sum().clamp(min=1)
