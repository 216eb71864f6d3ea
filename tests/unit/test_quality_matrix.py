"""docs/quality.md says what the code checks."""

from expectations import catalogue
from expectations.matrix import PAGE, with_matrix


def test_the_matrix_in_the_docs_is_that_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_matrix(page) == page, "run `python -m expectations.matrix`"


def test_there_are_forty_expectations_on_eight_relations_with_names_of_their_own() -> None:
    names = [expectation.name for _, expectation in catalogue.named()]
    assert len(set(names)) == len(names) >= 40
    assert len({suite.relation for suite in catalogue.SUITES}) >= 8
