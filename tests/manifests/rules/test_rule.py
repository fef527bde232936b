"""The rules as a whole, and how they write paths and names."""

from services.lint_cases import CASES, GOOD

from shardline.manifests.lint import MODEL, RULES, Problem, Severity, lint
from shardline.manifests.rules.rule import Manifest, key, problem, quoted


def test_the_good_documents_have_no_problem() -> None:
    assert lint(GOOD) == []


def test_every_rule_has_a_case() -> None:
    assert {rule.id for rule in RULES} - {case["rule"] for case in CASES} == {"graph-argument"}


def test_rule_names_are_unique() -> None:
    names = [rule.id for rule in RULES]

    assert len(names) == len({*names, MODEL}) - 1
    assert all(rule.summary.endswith(".") for rule in RULES)


def test_keys_with_dots_stand_in_brackets() -> None:
    assert key("spec.nodes", "root") == "spec.nodes.root"
    assert key("metadata.labels", "a.b/c") == "metadata.labels[a.b/c]"
    assert key("", "kind") == "kind"


def test_names_are_listed_in_a_sentence() -> None:
    assert quoted({"b": 1, "a": 2, "c": 3}) == "'a', 'b' and 'c'"
    assert quoted(["a"]) == "'a'"


def test_a_problem_is_one_printable_line() -> None:
    manifest = Manifest(document={"kind": "Pod\n", "metadata": {"name": "a\x1bb"}}, file="net.yaml")

    found = problem(manifest, "spec.\x07", "found\n nothing", rule="pods", severity=Severity.WARNING)

    assert found == Problem(
        severity=Severity.WARNING,
        message="found nothing",
        rule="pods",
        file="net.yaml",
        document="Pod a\\x1bb",
        path="spec.\\x07",
    )
    assert str(found) == "net.yaml: Pod a\\x1bb: spec.\\x07: found nothing"
