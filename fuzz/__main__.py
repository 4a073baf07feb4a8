"""``python -m fuzz [TARGET …] [--seconds N]``: feed the targets with what atheris thinks up.

Each target runs in a process of its own, from the small corpus that is kept beside it. Bytes that
break one are kept in fuzz/crashes/<target>, and from then on a test feeds them to it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.targets import TARGETS

FOLDER = Path(__file__).parent
CORPUS, CRASHES = FOLDER / "corpus", FOLDER / "crashes"
LARGEST = 4_096
"""Bytes of one input: more finds nothing that less does not, and takes longer."""


def main() -> int:
    """Run the targets one after the other; 1 if one broke, 2 if atheris is not here."""
    if importlib.util.find_spec("atheris") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        print(
            f"fuzz: atheris is not installed, or has no wheel for Python {version}: nothing was"
            " fuzzed.\nThe suite feeds the same targets by hypothesis: pytest tests/fuzz."
        )
        return 0 if "--if-there" in sys.argv else 2
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"of {', '.join(TARGETS)}; by default all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer; 0 is another each time")
    parser.add_argument("--if-there", action="store_true", help="no error without atheris")
    asked = parser.parse_args()
    unknown = [name for name in asked.target if name not in TARGETS]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    broken = [name for name in asked.target or TARGETS if not _run(name, asked.seconds, asked.seed)]
    if broken:
        print(f"fuzz: broken: {', '.join(broken)}; see {CRASHES}")
    return bool(broken)


def _run(name: str, seconds: int, seed: int) -> bool:
    crashes = CRASHES / name
    crashes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as found:
        command = [
            *(sys.executable, "-m", "fuzz.worker", name, found, str(CORPUS / name)),
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-max_len={LARGEST}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            f"-artifact_prefix={crashes}/",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=FOLDER.parent, check=False
        )
    tries = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    number = f"{int(tries[1]):,} inputs" if tries else "stopped"
    print(f"fuzz: {name}: {number}, {'BROKEN' if done.returncode else 'ok'}", flush=True)
    if done.returncode:
        print(done.stdout[-4_000:], *done.stderr.splitlines()[-6:], sep="\n")
    with contextlib.suppress(OSError):
        # Nothing is in it, unless something broke once.
        crashes.rmdir()
    return not done.returncode


if __name__ == "__main__":
    sys.exit(main())
