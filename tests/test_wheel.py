"""What is installed is what is tested: the wheel has all that the package needs at run time."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ASK = """
import json
from pathlib import Path
import caxton_nats
from caxton_nats.jetstream import stream_files, topology
print(json.dumps({
    "package": str(Path(caxton_nats.__file__).parent),
    "streams": str(stream_files._folder()),
    "names": [config["name"] for config in topology.streams(topology.Options(shards=1))],
    "consumers": [topology.consumer(name)["ack_policy"] for name in ("mailbox", "router")],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the build backend that pyproject.toml names, without a network."""
    pytest.importorskip("hatchling", reason="pip install hatchling, or the extra `test`")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (built,) = folder.glob("*.whl")
    return built


def test_installed_package_has_its_streams(wheel: Path, tmp_path: Path) -> None:
    """Outside of a checkout the topology is read from inside the package."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        timeout=60,
    )
    told = json.loads(ran.stdout)
    assert told["package"] == str(tmp_path / "caxton_nats")
    assert told["streams"] == str(tmp_path / "caxton_nats" / "_streams")
    assert {"CAXTON_INGRESS", "CAXTON_DLQ", "CAXTON_MAILBOX_0"} <= set(told["names"])
    assert told["consumers"] == ["explicit", "explicit"]


def test_wheel_holds_the_package_only(wheel: Path) -> None:
    """Every module and every stream is in it, the marker for type checkers, and no test."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "caxton_nats").rglob("*.py")
        if "_streams" not in path.parts
    }
    streams = {f"caxton_nats/_streams/{path.name}" for path in (ROOT / "streams").glob("*.json")}
    assert modules | streams | {"caxton_nats/py.typed"} <= names
    others = {name.split("/")[0] for name in names} - {"caxton_nats"}
    assert [name for name in others if not name.endswith(".dist-info")] == []


def test_wheel_has_the_command(wheel: Path) -> None:
    """Installing it gives the command ``caxton``."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        text = archive.read(path).decode()
    assert "caxton = caxton_nats.cli:main" in text
