"""The scripts beside the package: what they make of asv's pages and of what it measures."""

import importlib.util
import re
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"


def tool(name):
    """A script as a module."""
    path = TOOLS / f"{name}.py"
    if not path.exists():
        pytest.skip(f"there is no tools/{name}.py beside the tests")
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_asvs_page_needs_no_other_server():
    """Everything it loads is vendored, and nothing is vendored that it does not load."""
    asv, publish = pytest.importorskip("asv"), tool("publish")
    page = (Path(asv.__file__).parent / "www" / "index.html").read_text("utf-8")
    made = publish.offline(page)
    assert not publish.ELSEWHERE.search("".join(publish.TAG.findall(made)))
    assert "integrity" not in made
    assert {name for name in publish.MAJOR if f'"vendor/{name}"' in made} == set(publish.MAJOR)
    assert publish.offline(made) == made


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://cdn.example/jquery-4.0.0.min.js"></script>',
        '<script src="//cdn.example/plot/1.0/plot.js"></script>',
        "<link href='https://cdn.example/x.css' rel=stylesheet>",
        '<SCRIPT\n  SRC = "https://cdn.example/jquery.js?v=3.3">',
    ],
)
def test_what_is_not_vendored_is_refused(tag):
    """Another file, or another major version."""
    with pytest.raises(ValueError, match="does not have"):
        tool("publish").offline(tag)


@pytest.mark.parametrize(
    "tag",
    [
        '<a href="https://github.com/x">',
        '<script src="asv.js"></script>',
        '<link href="asv.css" rel="stylesheet"/>',
    ],
)
def test_what_is_here_already_stays(tag):
    """Links that a reader follows, too."""
    assert tool("publish").offline(tag) == tag


@pytest.fixture
def compared(monkeypatch, capsys):
    """Run compare where asv measures these values of base and head, round after round."""

    def run(*rounds, arguments=("main",)):
        pytest.importorskip("asv")
        compare, taken = tool("compare"), iter([value for each in rounds for value in each])
        asked = []

        def measured(commit, benches):
            asked.append((commit, benches))
            return next(taken)

        monkeypatch.setattr(compare, "measured", measured)
        monkeypatch.setattr("sys.argv", ["compare.py", *arguments, "--rounds", "3"])
        with pytest.raises(SystemExit) as left:
            compare.main()
        assert next(taken, None) is None
        return left.value.code, capsys.readouterr().out.splitlines()[-1], asked

    return run


A, B = (f"bench_rules.OverNumPy.track_over_numpy('{rule}', 'cpu')" for rule in ("adagrad", "sgd"))
EVEN, SLOW = ({A: 1.0, B: 1.0},) * 2, ({A: 1.0, B: 1.0}, {A: 1.5, B: 1.0})


def test_slower_is_named(compared):
    """What is slower in most rounds, and is again when only that is measured."""
    code, last, asked = compared(SLOW, EVEN, SLOW, *[({A: 1.0}, {A: 1.4})] * 3)
    assert (code, last) == (1, f"Slower: {A}")
    assert [commit for commit, _ in asked] == ["main", "HEAD"] * 6
    assert asked[0][1] == ["track_over_numpy.*'cpu'"]
    (pattern,) = asked[-1][1]
    assert re.search(pattern, A)
    assert not re.search(pattern, B)


def test_slower_once_is_the_machine(compared):
    """In one round of three; in all rounds, but not again."""
    assert compared(SLOW, EVEN, EVEN)[:2] == (0, "Slower: nothing")
    assert compared(SLOW, SLOW, SLOW, *[({A: 1.0}, {A: 1.1})] * 3)[:2] == (0, "Slower: nothing")


def test_faster_is_not_slower(compared):
    """The quotient is the head's over the base's."""
    assert compared(*[SLOW[::-1]] * 3, arguments=("main", "other"))[:2] == (0, "Slower: nothing")


def test_nothing_measured_is_no_success(compared):
    """No benchmark of that name, or only in one of the commits."""
    assert compared(*[({}, {})] * 3)[0] == 2
    assert compared(*[({A: 1.0}, {B: 1.0})] * 3)[0] == 2


def test_parameters_in_the_order_of_the_values():
    """As asv has it: the last changes fastest."""
    pytest.importorskip("asv")
    assert tool("compare").combinations([["'a'", "'b'"], ["1", "2"]]) == [
        ("'a'", "1"),
        ("'a'", "2"),
        ("'b'", "1"),
        ("'b'", "2"),
    ]
    assert tool("compare").combinations([]) == [()]
