"""The scripts beside the package: what they make of asv's pages, of commits and of what is measured."""

import importlib.util
import json
import re
import shutil
import subprocess
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
    """Run compare where these values are measured of base and head, round after round."""

    def run(*rounds, arguments=("main",)):
        compare, taken = tool("compare"), iter([value for each in rounds for value in each])
        asked = []

        def measured(tree, benches):
            asked.append((tree, benches))
            return next(taken)

        monkeypatch.setattr(compare, "measured", measured)
        monkeypatch.setattr(compare, "checked_out", lambda commit, folder: commit)
        monkeypatch.setattr(compare, "last_with_results", lambda: "recorded")
        monkeypatch.setattr("sys.argv", ["compare.py", *arguments, "--rounds", "3"])
        with pytest.raises(SystemExit) as left:
            compare.main()
        assert next(taken, None) is None
        return left.value.code, capsys.readouterr().out.splitlines()[-1], asked

    return run


A, B = (f"bench_rules.OverNumPy.track_over_numpy('{rule}', 'cpu')" for rule in ("adagrad", "sgd"))
EVEN, SLOW = ({A: 1.0, B: 1.0},) * 2, ({A: 1.0, B: 1.0}, {A: 1.5, B: 1.0})


def test_slower_is_named(compared):
    """A benchmark slower in most rounds, and again when measured alone, is named."""
    code, last, asked = compared(SLOW, EVEN, SLOW, *[({A: 1.0}, {A: 1.4})] * 3)
    assert (code, last) == (1, f"Slower: {A}")
    assert [commit for commit, _ in asked] == ["main", "HEAD"] * 6
    assert all(re.search(asked[0][1][0], name) for name in (A, B))
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


def test_the_base_is_the_last_commit_with_results(compared):
    """Unless another is named."""
    code, _, asked = compared(*[EVEN] * 3, arguments=())
    assert code == 0
    assert [commit for commit, _ in asked] == ["recorded", "HEAD"] * 3


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose commits are made by a call that returns the hash; compare, told to look there."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    compare, root = tool("compare"), tmp_path / "repository"

    def at(place):
        monkeypatch.setattr(compare, "ROOT", place)
        monkeypatch.setattr(compare, "RESULTS", place / "benchmarks" / "results")
        return compare

    def git(*arguments):
        names = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        command = ["git", "-C", root, *names, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(text, machine="", of=""):
        (root / "gnumba").mkdir(exist_ok=True)
        (root / "gnumba" / "__init__.py").write_text(text)
        if of:
            folder = root / "benchmarks" / "results" / machine
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{of[:8]}-env.json").write_text(json.dumps({"commit_hash": of}))
            (folder / "machine.json").write_text(json.dumps({"machine": machine}))
        git("add", "-A")
        git("commit", "-q", "-m", text)
        return git("rev-parse", "HEAD")

    root.mkdir()
    git("init", "-q", "-b", "main")
    return commit, at, root


def test_the_last_commit_with_results(repository, tmp_path):
    """Whatever machine measured it, in a fresh clone too; one outside HEAD's history does not count."""
    commit, at, root = repository
    first = commit("1 = 1")
    assert at(root).last_with_results() is None
    second = commit("2 = 2", "old", first)
    commit("3 = 3", "another", second)
    commit("4 = 4", "old", "f" * 40)
    assert at(root).last_with_results() == second
    subprocess.run(["git", "clone", "-q", root, tmp_path / "clone"], check=True)
    assert at(tmp_path / "clone").last_with_results() == second


def test_a_commits_package_is_taken_out(repository, tmp_path):
    """As it was, and nothing beside it: the benchmarks are those of this tree."""
    commit, at, root = repository
    first = commit("old = 1")
    commit("new = 2", "a", first)
    folders = [at(root).checked_out(name, tmp_path) for name in (first, "HEAD")]
    assert [(folder / "gnumba" / "__init__.py").read_text() for folder in folders] == ["old = 1", "new = 2"]
    assert [path.name for path in folders[1].iterdir()] == ["gnumba"]


def test_a_planted_slowdown_is_measured(tmp_path):
    """The package of the folder is what runs, with this tree's benchmarks and NumPy's formulas."""
    compare = tool("compare")
    if not (compare.ROOT / "benchmarks" / "common.py").exists():
        pytest.skip("there are no benchmarks beside the tests")
    slow = tmp_path / "gnumba"
    shutil.copytree(compare.ROOT / "gnumba", slow, ignore=shutil.ignore_patterns("__pycache__"))
    with (slow / "__init__.py").open("a", encoding="utf-8") as module:
        module.write(SLOW_STEP)
    name = "bench_optimizers.OverNumPy.track_over_numpy('SGD', 'default', '4 arrays, 2.4k')"
    assert re.search(compare.ONE_CORE, name)
    before, after = (compare.measured(tree, [f"^{re.escape(name)}$"]) for tree in (compare.ROOT, tmp_path))
    assert set(before) == set(after) == {name}
    assert compare.slower({name: after[name] / before[name]}, 1.3) == [name]


SLOW_STEP = """
def slowed(self, *given, step=Optimizer.step, **named):
    for _ in range(3):
        step(self, *given, **named)
Optimizer.step = slowed
"""


def test_a_baseline_is_moved_with_a_reason():
    """CHANGELOG.md names the last commit that has results, with which speed is compared, by eight digits."""
    compare = tool("compare")
    try:
        base = compare.last_with_results()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no git repository here")
    log = (compare.ROOT / "CHANGELOG.md").read_text("utf-8")
    assert base, "benchmarks/results has none of HEAD's commits: python tools/record.py"
    assert f"`{base[:8]}`" in log, f"say in CHANGELOG.md why speed is compared with `{base[:8]}` from now on"


def test_machines_of_one_kind_have_one_name():
    """The processor as the compiler calls it, and its cores: a folder's name."""
    name, about = tool("record").machine()
    assert re.fullmatch(r"[\w.-]+-\d+", name)
    assert name == f"{about['cpu']}-{about['num_cpu']}"
