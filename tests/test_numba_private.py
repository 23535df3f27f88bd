"""gnumba on a numba that lacks private names: everything works, slower, and `info` says what is missing."""

import ast
import builtins
import json
import threading
from pathlib import Path

import numba
import numpy as np
import pytest
from processes import output

import gnumba as gn
from gnumba._engine import threads
from gnumba._engine.compile import numba_private
from gnumba._engine.compile.numba_private import FEATURES

TESTS = Path(__file__).parent
PACKAGE = Path(gn.__file__).parent
PRIVATE = Path(numba_private.__file__)
WITHOUT_FILES = {"disk", "symbols"}  # features without which no kernel is kept
ABSENT = {name: [name] for name in FEATURES} | {"all": list(FEATURES)}


def run(arguments, cache, without=""):
    """Output of a Python process of its own with gnumba and the tests on its path."""
    environment = {"GNUMBA_CACHE_DIR": cache, "GNUMBA_TESTS_WITHOUT": without}
    return output(*arguments, PYTHONPATH=TESTS, **environment)


WORK = """
import json, sys
import numpy as np
import gnumba as gn
rng = np.random.default_rng(0)
p = rng.standard_normal(1001).astype("float32")
y = gn.relu(p)
gn.SGD(p).step(y)
found = [p.tolist(), y.tolist()]
if "cores" in sys.argv:
    with gn.use_target("parallel"):
        gn.SGD(y).step(p)
    found += [y.tolist()]
if "rest" in sys.argv:
    matrix = rng.standard_normal((7, 9)).astype("float32")[::2, ::3]
    y = gn.sigmoid(p)
    optimizer = gn.Adam([p, matrix], max_norm=1.0)
    for _ in range(2):
        optimizer.step([np.sin(p), np.cos(matrix)])
    found += [x.tolist() for x in (p, matrix, gn.sigmoid.backward(y, p, y=y), gn.relu.ufunc()(p))]
missing = gn.info()["numba"]
json.dump([found, missing if isinstance(missing, dict) else {}], sys.stdout)
"""


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Results with all private names."""
    cache = tmp_path_factory.mktemp("cache")
    found, missing = json.loads(run(["-c", WORK, "cores", "rest"], cache))
    assert not missing
    assert has_parallel(cache) == (threads.count() > 1)
    return found


def has_parallel(cache):
    """Whether a kernel for all cores is kept."""
    return any("_parallel-" in path.name for path in cache.glob("*.kernel"))


@pytest.mark.parametrize("without", ABSENT)
def test_work_without(without, expected, tmp_path):
    """Equal to the bit, and again from the files that are kept; `info` names what is missing.

    What concerns files is tried on all cores too; norms and strided arrays without all names at once.
    """
    lacking = set(ABSENT[without])
    cores, keeps = bool({*WITHOUT_FILES, "parallel_loops"} & lacking), not WITHOUT_FILES & lacking
    more = [*["cores"] * cores, *["rest"] * (without == "all")]
    script = ["-c", "import without_numba\n" + WORK, *more]
    for _ in range(1 + keeps):
        found, missing = json.loads(run(script, tmp_path, ",".join(lacking)))
        assert found == expected[: len(found)]
        assert len(found) == 2 + cores + 4 * (without == "all")
        assert missing.keys() == lacking
        assert all("not in this numba" in cost for cost in missing.values())
    assert any(tmp_path.glob("*.kernel")) == keeps
    assert not has_parallel(tmp_path)


QUICK = ["test_rule_errors.py", "-k", "fault or results or widening"]


def test_part_of_the_suite_without(tmp_path):
    """A wrong rule is told of all the same; a test of what is lost says so by `needs`."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "without_numba"]
    assert "passed" in run(["-m", "pytest", *options, TESTS / QUICK[0], *QUICK[1:]], tmp_path, "all")


def imported_names():
    """Every private name, with the module that it is imported from and the function that imports it."""
    for part in ast.parse(PRIVATE.read_text()).body:
        for node in ast.walk(part):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba."):
                yield from ((node.module, alias.name, getattr(part, "name", "")) for alias in node.names)


@pytest.mark.parametrize(("module", "name", "finder"), sorted(imported_names()))
def test_a_name_that_numba_no_longer_has(module, name, finder, monkeypatch):
    """Nobody imports it but who looks for a feature, and is without it then: see test_work_without."""
    whole = builtins.__import__

    def without(of, globals=None, locals=None, fromlist=(), level=0):
        if of == module and name in (fromlist or ()):
            raise ImportError("gone")
        return whole(of, globals, locals, fromlist, level)

    found = numba_private.Feature(FEATURES[finder].find, "")
    monkeypatch.setattr(builtins, "__import__", without)
    assert found() is None
    assert found.lack == "ImportError: gone"


def sources(node):
    """The modules, and names with an underscore, that a statement imports from elsewhere."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom) or node.level:
        return []
    inside = [alias.name for alias in node.names if alias.name.startswith("_") or alias.name == "core"]
    return [node.module, *(f"{node.module}.{name}" for name in inside)]


def test_private_names_are_in_one_file():
    """Elsewhere only documented modules of numba and llvmlite are imported."""
    documented = {"numba", "numba.extending", "numba.cuda", "llvmlite", "llvmlite.binding"}
    found = {
        (path.name, name)
        for path in set(PACKAGE.rglob("*.py")) - {PRIVATE}
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in sources(node)
        if name.partition(".")[0] in ("numba", "llvmlite") and name not in documented
    }
    assert found == set()


class TestParallelLoops:
    """numba names them by their hash, which is gnumba's own while it compiles a kernel of its own only."""

    def test_others_keep_their_names(self):
        """Before, within another thread's compilation that waits, and after."""
        from numba.parfors.parfor import Parfor

        plain = Parfor.__hash__
        assert plain.__module__.startswith("numba.")
        order = []

        def compile_users():
            @numba.njit(parallel=True)
            def users(x):
                for i in numba.prange(x.size):
                    x[i] += 1.0

            users(np.zeros(4))
            order.append("users")

        with numba_private.loops_named_apart() as named:
            thread = threading.Thread(target=compile_users)
            thread.start()
            thread.join(0.5)
            assert Parfor.__hash__ is not plain
            assert order == []
        thread.join()
        assert (named, order) == ([], ["users"])
        assert Parfor.__hash__ is plain
        assert "__hash__" not in vars(Parfor)

    def test_after_an_error(self):
        from numba.parfors.parfor import Parfor

        with pytest.raises(ZeroDivisionError), numba_private.loops_named_apart():
            raise ZeroDivisionError
        assert "__hash__" not in vars(Parfor)

    @pytest.mark.skipif(threads.count() == 1, reason="on one CPU there is no work for all cores")
    def test_a_numba_that_names_them_otherwise(self, tmp_path):
        """Their kernels are not kept."""
        code = """
import without_numba
private = without_numba.load()
names = private.parallel_loops.find
def other():
    found = names()
    found.Loop = type("Other", (), {})
    return found
private.parallel_loops.find = other
import numpy as np, gnumba as gn
p = np.ones(300_000)
with gn.use_target("parallel"):
    gn.SGD(p, lr=1.0).step(p.copy())
assert (p == 0).all()
print(gn.info()["numba"])
"""
        assert "does not name them by their hash" in run(["-c", code], tmp_path)
        names = [path.name for path in tmp_path.glob("*.kernel")]
        assert names
        assert not [name for name in names if "_parallel-" in name]
