"""Single values as Kubernetes decodes them."""

from datetime import date
from typing import Any

import pytest

from shardline.manifests.rules.scalars import ENUMS, mistake, shown, type_of


@pytest.mark.parametrize(
    ("value", "type_name"),
    [
        ("text", "str"),
        (2**63 - 1, "int"),
        (1, "float"),
        (True, "bool"),
        (date(2026, 1, 1), "datetime"),
        ("aGk=", "bytes"),
        ("25%", "IntOrString"),
        ("1536Mi", "Quantity"),
        (object(), "SomethingElse"),
    ],
)
def test_valid_values(value: Any, type_name: str) -> None:
    assert mistake(value, type_name) is None


@pytest.mark.parametrize(
    ("value", "type_name", "line"),
    [
        (1, "str", "found 1, allowed is text: put it in quotes"),
        (True, "int", "found true, allowed is a whole number"),
        (2**63, "int", "found a number over 64 bits, allowed is a whole number"),
        ("1", "float", "found '1', allowed is a number"),
        ("yes", "bool", "found 'yes', allowed is true or false"),
        (1, "datetime", "found 1, allowed is a time such as 2026-01-01T00:00:00Z"),
        ("hi!", "bytes", "found 'hi!', allowed is base64; stringData takes plain text"),
        (1.5, "IntOrString", "found 1.5, allowed is a whole number or text"),
        ("2GB", "Quantity", "found '2GB', allowed is a quantity such as 500m, 2 or 1536Mi"),
    ],
)
def test_mistakes(value: Any, type_name: str, line: str) -> None:
    assert mistake(value, type_name) == line


def test_some_strings_and_objects_have_a_type_of_their_own() -> None:
    assert type_of("targetPort", "object") == "IntOrString"
    assert type_of("limits", "dict(str, str)") == "dict(str, Quantity)"
    assert type_of("name", "str") == "str"


def test_long_values_are_cut() -> None:
    assert shown("x" * 100) == "'" + "x" * 79 + "…"
    assert (shown({}), shown([]), shown(None)) == ("a mapping", "a list", "null")


def test_enumerations_name_existing_fields() -> None:
    assert ENUMS["V1alpha1InferenceStep.dependency"] == ("Soft", "Hard")
