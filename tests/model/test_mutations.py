"""The model is not vacuous: every broken recipe makes it complain, and of the right thing."""

from __future__ import annotations

import pytest

from tests.model.recipes import RECIPES, Recipe, found

SCHEDULES = 250


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.apply.__name__)
def test_broken_recipe(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that does it this way is found out within the budget."""
    recipe.apply(monkeypatch)
    after = found(recipe.complaint, range(recipe.first, recipe.first + SCHEDULES))
    assert after, f"{SCHEDULES} schedules have not found out: {recipe.apply.__doc__}"
    print(f"found after {after} schedules")
