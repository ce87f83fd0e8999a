# SPDX-License-Identifier: Apache-2.0
"""The fixtures of the scenarios; what they are made of is in harness.py."""

import pytest

from harness import WEIR_BIN, Site

SITE = pytest.StashKey()


def pytest_configure():
    if not WEIR_BIN.exists():
        pytest.exit(f"there is no {WEIR_BIN}: ./dev build makes it, WEIR_BIN names another", 2)


@pytest.fixture
def site(tmp_path, request):
    """A temporary folder in which weir runs; everything that runs there ends with the test."""
    site = Site(tmp_path)
    request.node.stash[SITE] = site
    yield site
    problems = site.finish()
    assert not problems, "\n".join(problems)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Adds what the processes printed to the report of a test that failed."""
    report = yield
    site = item.stash.get(SITE, None)
    if report.failed and site and hasattr(report.longrepr, "addsection"):
        report.longrepr.addsection("what ran", site.show())
    return report
