"""The scripts beside the package: what they make of asv's pages and of what it says."""

import importlib.util
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


SAID = """
| Change   | Before [5b7bd3a5] <main>   | After [35f7dd8b]    |   Ratio | Benchmark (Parameter) |
|----------|----------------------------|---------------------|---------|---|
| +        | 112±0.5μs | 159±0.6μs           |    1.42 | bench_rules.Rules.time_step('adagrad', 'cpu', 1000) |
| -        | 1.02±0.01ms | 700±3μs |    0.69 | bench_rules.Rules.time_step('sgd', 'cpu', 1000) |
| +        | 1.20±0s   | 1.60±0s             |    1.33 | bench_startup.Import.timeraw_import_gnumba |
SOME BENCHMARKS HAVE CHANGED SIGNIFICANTLY.
PERFORMANCE DECREASED.
"""


def test_what_asv_finds_slower():
    """Those with a plus, by name and parameters."""
    assert tool("compare").SLOWER.findall(SAID) == [
        "bench_rules.Rules.time_step('adagrad', 'cpu', 1000)",
        "bench_startup.Import.timeraw_import_gnumba",
    ]


@pytest.fixture
def asv_says(monkeypatch):
    """Run compare with an asv that says these things, one a run."""

    def run(*said):
        compare, sayings = tool("compare"), iter(said)

        class Process:
            def __init__(self, *args, **options):
                self.stdout = next(sayings).splitlines(keepends=True)

            def __enter__(self):
                return self

            def __exit__(self, *exception):
                pass

        monkeypatch.setattr(compare.subprocess, "Popen", Process)
        monkeypatch.setattr(compare, "configuration", lambda: "asv.conf.json")
        monkeypatch.setattr("sys.argv", ["compare.py", "main"])
        with pytest.raises(SystemExit) as left:
            compare.main()
        assert next(sayings, None) is None
        return left.value.code

    return run


def test_slower_is_slower_twice(asv_says, capsys):
    """What is slower once is the machine's doing."""
    only_import = SAID.replace("| +        | 112", "| -        | 112")
    assert asv_says("BENCHMARKS NOT SIGNIFICANTLY CHANGED.\n") == 0
    assert asv_says(SAID, "BENCHMARKS NOT SIGNIFICANTLY CHANGED.\n") == 0
    assert asv_says(SAID, only_import) == 1
    assert capsys.readouterr().out.endswith("Slower: bench_startup.Import.timeraw_import_gnumba\n")


def test_nothing_measured_is_no_success(asv_says):
    """asv's own status is 1 then, as for slower."""
    assert asv_says("No benchmarks selected\n") == 2
    assert asv_says("bench_rules.Rules.time_step   12/32 failed\n" + SAID) == 2
