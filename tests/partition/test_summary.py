"""The line that describes a model's preprocessing names each setting and its origin."""

import torch

from shardline.partition.models import Model
from shardline.partition.summary import preprocessing_line
from shardline.storage.bundle import PictureSpec


def test_the_line_names_each_setting_and_its_origin() -> None:
    model = Model(
        reference="x",
        weights="y",
        module=torch.nn.Identity(),
        picture=PictureSpec(height=32, width=48, resize=40),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        origins={"size": "an option", "mean": "the model's", "std": "the model's", "scores": "seen on 8 pictures"},
    )

    assert preprocessing_line(model) == (
        "pictures: 32x48 (an option), crop from 40, bilinear, RGB (assumed), mean 0.5,0.5,0.5, std 0.25,0.25,0.25 "
        "(the model's), scores logits (seen on 8 pictures)"
    )
