"""Runs scenarios one after the other, and says of each what came of it."""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from caxton_nats import CaxtonError
from chaos.disk import DiskError
from chaos.effects import now
from chaos.namespace import FOLDER, owner
from chaos.oracle import Figures, examine
from chaos.processes import DidNotStart
from chaos.scenario import Casting, Scenario
from chaos.stage import NotResumed, open_stage

log = logging.getLogger("chaos")


class Result(msgspec.Struct, kw_only=True):
    """What came of one scenario."""

    scenario: str
    seed: int
    skipped: str = ""
    """Why it was not played, if it was not."""
    figures: Figures | None = None
    complaints: list[str] = []
    took: float = 0.0
    folder: str = ""
    """Where logs and journals are, if something was wrong."""

    @property
    def good(self) -> bool:
        """Whether it was played, and every promise was kept."""
        return not self.complaints and not self.skipped


def missing(scenario: Scenario) -> str:
    """Return what the machine does not have of what the scenario needs."""
    return "; ".join(filter(None, (need.missing() for need in scenario.needs)))


async def perform(
    scenario: Scenario, seed: int, seconds: float, say: Callable[[str], None]
) -> Result:
    """Play the scenario, and return what the oracle says of it.

    Args:
        scenario: which.
        seed: decides the moments, the victims and the load.
        seconds: how long the fault may go on.
        say: is told what is done.
    """
    if lacks := missing(scenario):
        return Result(scenario=scenario.name, seed=seed, skipped=lacks)
    begun = now()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{owner()}-"))
    casting = Casting(
        folder=folder, rng=random.Random(f"{seed} {scenario.name}"), seconds=seconds, say=say
    )
    result = Result(scenario=scenario.name, seed=seed)
    try:
        with _logged(folder / "programme.log"):
            await _play(scenario, casting, result)
    except (CaxtonError, DidNotStart, DiskError, NotResumed) as error:
        result.complaints = [f"{type(error).__name__}: {error}"]
    except Exception as error:
        log.exception("%s broke", scenario.name)
        result.complaints = [f"the scenario itself broke: {error!r}"]
    finally:
        if result.good:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            result.folder = str(folder)
    result.took = now() - begun
    return result


async def _play(scenario: Scenario, casting: Casting, result: Result) -> None:
    async with open_stage(scenario, casting) as stage:
        await stage.under_load()
    books = stage.closed_books()
    # So that they can be looked at, or examined again.
    (casting.folder / "books.json").write_bytes(msgspec.json.encode(books))
    verdict = examine(books, scenario.promises)
    result.figures, result.complaints = verdict.figures, verdict.complaints


@contextmanager
def _logged(file: Path) -> Iterator[None]:
    """Keep what is logged in this process beside the logs of the others."""
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
