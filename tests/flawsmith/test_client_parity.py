"""The two clients offer the same, and what the contract offers."""

from __future__ import annotations

import inspect
import typing

import pytest

import flawsmith
from flawsmith import AsyncFlawsmith, Flawsmith
from flawsmith.client import AugmentOptions, EvaluateOptions, RetrainOptions, TrainOptions
from flawsmith.contract.augmentations import AugmentationParameters
from flawsmith.contract.evaluations import EvaluationParameters
from flawsmith.contract.trainings import TrainingParameters


def methods(kind: type) -> dict[str, object]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def test_both_clients_have_the_same_methods() -> None:
    assert methods(Flawsmith).keys() == methods(AsyncFlawsmith).keys()


@pytest.mark.parametrize("name", [name for name, value in methods(Flawsmith).items() if callable(value)])
def test_methods_take_the_same_arguments(name: str) -> None:
    sync, awaited = (inspect.signature(methods(kind)[name]) for kind in (Flawsmith, AsyncFlawsmith))
    assert list(sync.parameters.values()) == list(awaited.parameters.values())


def test_options_are_those_of_the_contract() -> None:
    known = set(AugmentationParameters.model_fields) - {"defect_type", "dry_run"}
    assert set(typing.get_type_hints(AugmentOptions)) == known


def test_options_of_a_training_are_those_of_the_contract() -> None:
    known = set(TrainingParameters.model_fields) - {"name", "samples_of", "dry_run"}
    assert set(typing.get_type_hints(TrainOptions)) == known
    assert set(typing.get_type_hints(RetrainOptions)) == known - {"label"} | {"name"}


def test_options_of_an_evaluation_are_those_of_the_contract() -> None:
    known = set(EvaluationParameters.model_fields) - {"defect_type", "dry_run"}
    assert set(typing.get_type_hints(EvaluateOptions)) == known


@pytest.mark.parametrize("name", flawsmith.__all__)
def test_the_package_offers_what_it_lists(name: str) -> None:
    assert getattr(flawsmith, name) is not None


def test_the_package_offers_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = flawsmith.Nonsense  # type: ignore[attr-defined]
