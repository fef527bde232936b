"""What pictures are to be like: the ranges and shares within which each is drawn by lot."""

from dataclasses import dataclass

from shardline.tasks.plates.text import KINDS, Kind, PlateText
from shardline.wire.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the pictures are to be like; each is drawn by lot within this.

    Raises:
        ModelError: a value that no picture can have.
    """

    size: tuple[int, int] = (512, 512)  # width, height
    plates: tuple[int, int] = (1, 3)  # fewest and most, where there are any
    empty: float = 0.1  # share of pictures without plates
    kinds: tuple[Kind, ...] = KINDS
    text: PlateText | None = None  # on every plate; None: each its own
    least_width_px: float = 48  # of a plate
    most_width: float = 0.9  # of the picture's width
    rotation_deg: float = 20.0
    tilt_deg: float = 40.0  # about the upright axis; about the level one three quarters of it
    wear: float = 1.0  # 0: new plates in even light; 1: up to what can just be read
    camera: float = 1.0  # 0: the camera adds nothing
    covered: float = 0.12  # share of plates of which something is hidden
    cut_off: float = 0.04  # share of plates that may reach out of the picture
    signs: float = 0.3  # share of pictures with boards that are no plates
    most_signs: int = 2  # in one picture
    writing: float = 0.0  # share of those with any letters and digits; on the others nothing looks like a character

    def __post_init__(self) -> None:
        shares = {
            name: getattr(self, name) for name in ("empty", "wear", "camera", "covered", "cut_off", "signs", "writing")
        }
        wrong = [f"{name} {value:g}" for name, value in shares.items() if not 0 <= value <= 1]
        if wrong:
            raise ModelError(f"{', '.join(wrong)}: allowed is 0 to 1")
        if min(self.size) < 32:
            raise ModelError(f"pictures of {self.size[0]} x {self.size[1]}: 32 pixels a side are the least")
        if not 8 <= self.least_width_px <= self.most_width * self.size[0]:
            raise ModelError(
                f"plates of {self.least_width_px:g} pixels or more: allowed is 8 to "
                f"{self.most_width * self.size[0]:g}, {self.most_width:g} of the picture's width"
            )
        if not 0 <= self.plates[0] <= self.plates[1]:
            raise ModelError(f"{self.plates[0]} to {self.plates[1]} plates: the first must not be above the second")
        if not (0 <= self.rotation_deg <= 180 and 0 <= self.tilt_deg <= 70):
            raise ModelError("rotation may be 0 to 180 degrees and tilt 0 to 70, beyond which nothing can be read")
