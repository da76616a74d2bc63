"""Which worker of pytest-xdist takes which test: a pair's platform is started once, its tests stay together, in their order."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

from simway_testing.pairs import REAL, SQLITE


class PairScheduling(LoadScopeScheduling):
    """Tests of one pair of log and store go to one worker, all others file by file.

    The groups of ``xdist_group`` would say the same, but pytest-xdist 3.8 puts them into an attribute of the test that pytest 9.2
    does not read any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, rest = nodeid.partition("::")
        parameters = rest.partition("[")[2]
        return next((pair for pair in (REAL, SQLITE) if pair in parameters), file)
