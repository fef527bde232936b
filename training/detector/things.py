"""The things in a picture that the detector finds, of three kinds, as rows of numbers."""

from enum import IntEnum

from shardline.tasks.plates.text import CLASSES

BOARDS, GROUPS, CHARACTERS = CLASSES[:2], CLASSES[2:6], CLASSES[6:]
KINDS = (BOARDS, GROUPS, CHARACTERS)
PLACES = 7  # of a plate's characters: two digits, a letter, four digits


class Column(IntEnum):
    """What `Sample.things` says of each."""

    KIND = 0  # 0 board, 1 group, 2 character
    CLASS = 1  # within its kind
    X = 2  # of the box's middle
    Y = 3
    WIDTH = 4
    HEIGHT = 5
    COSINE = 6  # of the plate's direction
    SINE = 7
    PLATE = 8  # which of the picture's
    KNOWN = 9  # 0: it cannot be told what it is, so the detector may say what it likes
    VISIBLE = 10  # share of its box that is in the picture and not covered
