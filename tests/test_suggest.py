"""Did you mean: names, keyword arguments, attributes."""

import inspect

import pytest

from gnumba import _suggest
from gnumba._suggest import nearest, no_attribute, suggesting


@pytest.mark.parametrize(
    ("name", "among", "found"),
    [
        ("learning_rate", ["lr", "betas"], "lr"),
        ("learning_rate", ["max_lr", "steps"], "max_lr"),
        ("alpha", ["negative_slope"], "negative_slope"),
        ("eta_min", ["lr", "steps", "final"], "final"),
        ("gamma", ["lr", "every", "factor"], "factor"),
        ("gamma", ["lr", "decay_rate"], "decay_rate"),
        ("T_max", ["lr", "steps"], "steps"),
        ("seed", ["shape", "rng"], "rng"),
        ("weight_deacy", ["lr", "weight_decay"], "weight_decay"),
        ("WeightDecay", ["lr", "weight_decay"], "weight_decay"),
        ("xyz", ["lr", "weight_decay"], None),
    ],
)
def test_nearest(name, among, found):
    """Habits first, then spelling; nothing where nothing is near."""
    assert nearest(name, among) == ("" if found is None else f"; did you mean {found!r}?")


def test_no_attribute():
    """An AttributeError for whoever refuses it."""
    error = no_attribute(1.0, "learning_rate", ["lr"])
    assert isinstance(error, AttributeError)
    assert str(error) == "float has no attribute 'learning_rate'; did you mean 'lr'?"


def test_a_call_with_arguments_that_are_not_taken():
    """Names that there are not, and too many by position; what is raised within is left as it is."""

    @suggesting
    def scaled(x, lr=0.1, *, betas=(0.9, 0.999), eps=0.0):
        """Docstring."""
        if lr < 0:
            raise TypeError("of its own")
        return x * lr

    assert scaled(2.0, lr=0.5) == 1.0
    assert scaled.__doc__ == "Docstring."
    assert list(inspect.signature(scaled).parameters) == ["x", "lr", "betas", "eps"]
    with pytest.raises(TypeError, match=r"scaled\(\) has no argument 'learning_rate'; did you mean 'lr'\?"):
        scaled(1.0, learning_rate=0.5)
    with pytest.raises(TypeError, match=r"given 3 arguments by position, expected betas, eps by name"):
        scaled(1.0, 0.5, (0.9, 0.999))
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'x'"):
        scaled()
    with pytest.raises(TypeError, match=r"^of its own$"):
        scaled(1.0, lr=-1.0)


def test_a_class_with_arguments_that_are_not_taken():
    """By the class's name."""

    class Thing:
        @suggesting
        def __init__(self, lr, *, decay=0.9):
            self.lr = lr

    assert Thing(0.5).lr == 0.5
    with pytest.raises(TypeError, match=r"Thing\(\) has no argument 'rho'; did you mean 'decay'\?"):
        Thing(0.5, rho=0.1)
    with pytest.raises(
        TypeError, match=r"Thing\(\) was given 2 arguments by position, expected decay by name"
    ):
        Thing(0.5, 0.9)


def test_no_habit_is_a_name_of_ours_alone():
    """A row whose candidates are all the habit itself would say nothing."""
    for table in (_suggest.ARGUMENTS, _suggest.NAMES):
        assert all(set(here) != {name} for name, here in table.items())
