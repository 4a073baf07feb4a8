"""Run schedules without end: python -m tests.model [SECONDS [SEED]].

Every schedule is a seed; the first one is said at the beginning. Of what fails the smallest part is
printed, and where to begin to see it again.
"""

from __future__ import annotations

import secrets
import sys
from time import monotonic

from tests.model.explore import find

_SOME = 50


def main(seconds: float = 300.0, first: int | None = None) -> int:
    """Run schedules for so long; return 1 if one of them failed."""
    seed = secrets.randbelow(10**9) if first is None else first
    print(f"schedules from seed {seed} on, for {seconds:g} s", flush=True)
    end, done = monotonic() + seconds, 0
    while monotonic() < end:
        problem = find(range(seed + done, seed + done + _SOME))
        if problem:
            print(problem)
            print(f"again: make model SEED={problem.split(':')[0].removeprefix('seed ')}")
            return 1
        done += _SOME
        print(f"  {done} schedules", flush=True)
    print(f"{done} schedules, no complaint")
    return 0


if __name__ == "__main__":
    given = [*sys.argv[1:], "", ""]
    sys.exit(main(float(given[0] or 300), int(given[1]) if given[1] else None))
