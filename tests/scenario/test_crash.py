# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost over 200 kills; what is done and compared is in tests/crash/.

Four sites of 50 kills, which the processes of pytest share. They lie in memory: on a disk that
others use too, the flushes are most of the time. Each seed stands for settings of its own.
WEIR_CRASH_SEED names another seed for the first of them.
"""

import os

import pytest

import crash
from harness import GUESTS_DIR, WEIR_BIN

KILLS = 50
SEEDS = [int(os.environ.get("WEIR_CRASH_SEED", "1")), 2, 3, 4]
# The named steps that such a run has to have died at; the others are left to chance.
STEPS_MIN = 4


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_over_kills(quick_path, seed):
    problems, covered, site = crash.crash(quick_path / "site", WEIR_BIN, GUESTS_DIR, KILLS, seed)
    assert not problems, f"--seed {seed}\n" + crash.show(problems, covered, site)
    assert covered["caught up"] > KILLS
    if os.environ.get("WEIR_BUILD") in ("asan", "tsan"):  # they have the steps
        assert len([end for end in covered if end.startswith("ended at ") and
                    end.removeprefix("ended at ") in crash.STEPS]) >= STEPS_MIN
