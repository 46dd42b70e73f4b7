"""Counting the tests that an engine passed."""

from __future__ import annotations

from bench.engine_tests import count

JUNIT = """
<testsuites><testsuite timestamp="2026-11-30T21:00:00+00:00">
    <testcase classname="tests.page.test_errors" name="a" />
    <testcase classname="tests.engines.test_lacks" name="b" />
    <testcase classname="tests.page.test_errors" name="c"><failure message="no" /></testcase>
    <testcase classname="tests.page.test_phones" name="d"><error message="no" /></testcase>
    <testcase classname="tests.app.test_codes" name="e" />
</testsuite></testsuites>
"""


def test_tests_of_the_page_are_counted() -> None:
    assert count([JUNIT]) == {"passed": 2, "failed": 2, "date": "2026-11-30T21:00:00+00:00"}


def test_the_last_run_of_a_test_counts() -> None:
    again = """
    <testsuites><testsuite timestamp="2026-11-30T22:00:00+00:00">
        <testcase classname="tests.page.test_errors" name="c" />
    </testsuite></testsuites>
    """
    assert count([JUNIT, again]) == {"passed": 3, "failed": 1, "date": "2026-11-30T21:00:00+00:00"}
