"""Pictures without end: number i of a seed is always the same one, whoever draws it, and nothing has to be stored.

A data set of a training framework is `Plates.draw` by index, or `Plates.stream` with each worker's own start and step.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.picture import Picture, draw_picture
from shardline.training.plates.scene import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Plates:
    """All the pictures of one seed. It can be pickled: it holds no picture, and each process reads what it needs.

    A picture follows from the seed, its number, the scene, the fonts and the backgrounds' files alone: to the byte on
    one machine with the same versions of numpy, Pillow and the fonts.
    """

    seed: int
    scene: Scene
    fonts: tuple[str, ...]  # families, of fonts.families
    backgrounds: Backgrounds

    def draw(self, index: int) -> Picture:
        """Picture `index`, 0 or above.

        Raises:
            ModelError: a font or a photograph cannot be read.
        """
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, index))))
        return draw_picture(random, self.scene, self.fonts, self.backgrounds)

    def stream(self, start: int = 0, step: int = 1) -> Iterator[Picture]:
        """Pictures start, start + step, … without end: worker w of n draws `stream(w, n)`."""
        return (self.draw(index) for index in itertools.count(start, step))
