"""The size and the names of things stay within budget; exceptions are named and may only shrink."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "caxton_nats"
CORE_LINES, MODULE_LINES, TEST_LINES, FUNCTION_LINES = 200, 350, 500, 50
PACKAGE_LINES, MEDIAN_LINES, INIT_LINES = 31_000, 150, 60
LARGER_CORE_MODULES = {"errors.py": 310, "validation.py": 215}
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "manager", "base", "misc"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_streams" not in path.parts)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_modules_are_small() -> None:
    """A core module has at most 200 lines, any other 350, an __init__ 60."""
    too_long = []
    for path in modules():
        limit = CORE_LINES if path.parent.name == "core" else MODULE_LINES
        limit = LARGER_CORE_MODULES.get(path.name, limit)
        limit = INIT_LINES if path.name == "__init__.py" else limit
        if lines(path) > limit:
            too_long.append((str(path.relative_to(ROOT)), lines(path), limit))
    assert not too_long


def test_the_package_is_small() -> None:
    """The whole package stays under 31,000 lines, half of its modules under 150."""
    sizes = [lines(path) for path in modules()]
    assert sum(sizes) <= PACKAGE_LINES
    assert statistics.median(sizes) <= MEDIAN_LINES


def test_functions_are_short() -> None:
    """A function has at most 50 lines, its docstring not counted."""
    too_long = []
    for path in modules():
        for function in functions(path):
            start = function.body[0]
            if ast.get_docstring(function) is not None and len(function.body) > 1:
                start = function.body[1]
            length = (function.end_lineno or 0) - start.lineno + 1
            if length > FUNCTION_LINES:
                too_long.append((path.name, function.name, length))
    assert not too_long


def test_test_files_are_readable() -> None:
    """A test file has at most 500 lines."""
    paths = [*(ROOT / "tests").rglob("*.py")]
    assert not [(path.name, lines(path)) for path in paths if lines(path) > TEST_LINES]


def test_no_module_is_a_drawer() -> None:
    """No module is named by what does not say what is in it."""
    assert not [path for path in modules() if path.stem in FORBIDDEN_NAMES]


def test_every_module_says_what_it_is() -> None:
    """Every module of the package begins with a docstring."""
    silent = [path for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent
