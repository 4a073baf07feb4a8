"""The public names: few, sorted, documented, and cheap to import."""

from __future__ import annotations

import inspect
import subprocess
import sys

import caxton_nats


def test_the_public_names_are_sorted_and_few() -> None:
    """`caxton_nats.__all__` is sorted and has at most 25 names, and each exists."""
    names = caxton_nats.__all__
    assert list(names) == sorted(names)
    assert len(names) <= 25
    assert all(hasattr(caxton_nats, name) for name in names)


def test_every_public_name_is_documented() -> None:
    """Each public class, its public methods and each public function have a docstring."""
    silent = []
    for name in caxton_nats.__all__:
        thing = getattr(caxton_nats, name)
        if not inspect.getdoc(thing):
            silent.append(name)
        for method, member in vars(thing).items() if inspect.isclass(thing) else ():
            if not method.startswith("_") and callable(member) and not inspect.getdoc(member):
                silent.append(f"{name}.{method}")
    assert not silent


def test_importing_does_not_load_what_is_not_needed_yet() -> None:
    """`import caxton_nats` loads neither the OpenTelemetry SDK nor the command line."""
    code = (
        "import sys, caxton_nats; "
        "print([m for m in ('opentelemetry.sdk', 'typer', 'rich') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
