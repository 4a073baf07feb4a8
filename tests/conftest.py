"""Fixtures for every test, one module per kind."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "pytester",
    "tests.plugins.requirements",
    "tests.plugins.servers",
    "tests.plugins.nats_cli",
]

# How fast examples come says how busy the machine is, not whether the code is right.
settings.register_profile(
    "caxton", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("caxton")
