"""The house itself: who imports whom, what an import costs, what the disk keeps, which threads run; and
that code, tests, benchmarks and documentation name the same things."""

import ast
import doctest
import graphlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import (
    ACTIVATIONS,
    GATED,
    OF_MATRICES,
    OPTIMIZERS,
    assert_exported,
    one_a_class,
    one_an_activation,
    rule_of,
)
from processes import output

import gnumba as gn
from gnumba._cli import contenders
from gnumba._engine import threads
from gnumba._nn import activations, gated
from gnumba._optim import moments, optimizers
from gnumba.rules import moments as moment_rules

PACKAGE = Path(gn.__file__).parent
ROOT = PACKAGE.parent
MODULES = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}


# One list of names.


def assert_none(names, what):
    """A sentence that says what they lack and which file to edit."""
    assert not names, f"{', '.join(sorted(names))}: {what}"


def test_every_rule_has_a_class_and_a_case():
    """A scalar function is of no use to anybody without; `cases` compares with the naive formula."""
    registered = {name for name, rule in gn.registry.items() if rule.__module__ == "gnumba.rules"}
    assert registered == {name for family in gn.rules.UPDATES for name in family.__all__}
    assert_none(
        registered - {rule_of(case).name for case in OPTIMIZERS} - {*gn.rules.orthogonal.__all__},
        "expected a class that uses the rule in a module of gnumba/_optim/, with a row in tests/cases.py",
    )
    assert all(gn.registry[name] is getattr(gn.rules, name) for name in registered)


def test_every_optimizer_has_a_case():
    assert_none(
        set(optimizers.__all__) - {case.make.__name__ for case in OPTIMIZERS + OF_MATRICES},
        "expected a row in OPTIMIZERS in tests/cases.py, with a formula in tests/reference.py",
    )
    assert all(getattr(gn, name) is getattr(optimizers, name) for name in optimizers.__all__)


def test_every_activation_has_a_case():
    """swish is another name for silu."""
    made = [getattr(activations, name) for name in activations.__all__]
    gates = [getattr(gated, name) for name in gated.__all__ if name != "Gated"]
    assert_none(
        {act.name for act in made} - {case.act.name for case in ACTIVATIONS},
        "expected a row in ACTIVATIONS in tests/cases.py, with formulas in tests/reference.py",
    )
    assert {act.name for act in gates} == {case.act.name for case in GATED}
    assert all(getattr(gn, act.name) is act for act in made + gates)


@pytest.mark.parametrize(
    ("module", "name"),
    [(moment_rules, "adam"), (moments, "Adam"), (activations, "silu")],
    ids=["rule", "class", "activation"],
)
def test_every_name_is_exported(module, name, monkeypatch):
    """The tables in `cases` could not be read otherwise: it says which file to edit."""
    monkeypatch.setattr(module, "__all__", [each for each in module.__all__ if each != name])
    path = re.escape(str(Path(module.__file__).relative_to(ROOT)))
    with pytest.raises(AssertionError, match=rf"^{name}: expected in __all__ of {path}"):
        assert_exported(module)


def test_the_readme_names_nothing_else():
    """The first cells of its tables are of optimizers and activations that there are."""
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README.md beside the package")
    text = readme.read_text(encoding="utf-8").partition("## Optimizers")[2].partition("## How fast")[0]
    named = set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))
    assert {"SGD", "Adam", "relu"} <= named
    assert_none(
        named - {*optimizers.__all__, *activations.__all__, *gated.__all__},
        "in a table of README.md, but not in gnumba",
    )


def test_benchmarks_name_the_same():
    """Keyed by class and by activation."""
    path = ROOT / "benchmarks" / "common.py"
    if not path.exists():
        pytest.skip("there is no benchmarks/common.py beside the package")
    spec = importlib.util.spec_from_file_location("benchmarks_common", path)
    common = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(common)
    assert set(common.OPTIMIZERS) == {case.make.__name__ for case in OPTIMIZERS}
    assert set(common.ACTIVATIONS) == {case.act.name for case in (*ACTIVATIONS, *GATED)}
    assert set(contenders.OPTIMIZERS) == set(common.OPTIMIZERS)
    assert set(contenders.ACTIVATIONS) == set(common.ACTIVATIONS) | set(common.ALONG_ROWS)
    assert set(contenders.LOSSES) == set(common.LOSSES)
    assert common.MODELS.items() <= contenders.MODELS.items()


@pytest.mark.parametrize(
    "thing",
    [gn.Muon, *(case.make for case in one_a_class()), *(case.act for case in one_an_activation())],
    ids=str,
)
def test_docstrings_say_what_it_is_for(thing):
    """A line each."""
    for word in ("Strengths:", "Weaknesses:", "For:", "Examples\n"):
        assert word in thing.__doc__


@pytest.mark.parametrize(
    "act",
    [*(case.act for case in one_an_activation()), gn.dropout, gn.alpha_dropout],
    ids=lambda act: act.name,
)
def test_examples_in_docstrings_of_activations(act):
    """Those of objects; pytest runs those of functions and classes."""
    parsed = doctest.DocTestParser().get_doctest(act.__doc__, {}, act.name, None, None)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
    said = []
    assert runner.run(parsed, out=said.append).failed == 0, "".join(said)
    assert parsed.examples


@pytest.mark.parametrize(
    "folder",
    [PACKAGE, Path(__file__).parent, *(ROOT / name for name in ("benchmarks", "docs", "examples", "tools"))],
    ids=lambda folder: folder.name,
)
def test_docstrings_begin_with_a_verb_or_a_noun(folder):
    """Neither a headless clause nor a "same" whose other is not in sight."""
    if not folder.exists():
        pytest.skip(f"there is no {folder.name} beside the package")
    found = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                found[path.name, getattr(node, "name", "")] = ast.get_docstring(node) or ""
    assert [where for where, text in found.items() if text.startswith(("What ", "The same"))] == []


def test_cases_have_an_order():
    """Workers that collect other orders refuse to run: no test has its cases from a set."""
    found = []
    for path in Path(__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "parametrize":
                cases = call.args[1].left if isinstance(call.args[1], ast.BinOp) else call.args[1]
                made = cases.func if isinstance(cases, ast.Call) else cases
                if isinstance(made, (ast.Set, ast.SetComp)) or getattr(made, "id", "") == "set":
                    found.append((path.name, call.lineno))
    assert found == []


# Who imports whom.


def imports(path):
    """(module, inside a function) for each import: gnumba's own as ".name", others by their first name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node in inner) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((name, node in inner) for name in sources(path, node))


def sources(path, node):
    """The modules that ``from ... import ...`` reads."""
    if not node.level:
        return [node.module.partition(".")[0]]
    home = path.parent
    for _ in range(node.level - 1):
        home = home.parent
    base = home.joinpath(*(node.module or "").split("."))
    inside = [base / alias.name for alias in node.names]
    found = [each if each.with_suffix(".py").exists() or each.is_dir() else base for each in inside]
    return ["." + ".".join(each.relative_to(PACKAGE).parts) for each in found]


def imported(prefix, nested=False):
    """Names imported by a module or a folder's modules: at the top, or within functions."""
    paths = [path for path, name in MODULES.items() if name == prefix or name.startswith(f"{prefix}.")]
    assert paths
    return {name for path in paths for name, inside in imports(path) if inside == nested}


def standard(names):
    """Those that are none of gnumba's, all of which must be Python's own."""
    others = {name for name in names if not name.startswith(".")}
    return others <= sys.stdlib_module_names


def own(names):
    """gnumba's first-level modules among the names."""
    return {name.split(".")[1] for name in names if name.startswith(".")}


@pytest.mark.parametrize("name", ["_signals", "_suggest", "_rule", "elementary", "words"])
def test_the_ground_floor_is_the_standard_library(name):
    """A rule is plain Python until somebody asks for ufuncs of it: the one import in a function."""
    assert standard(imported(name))
    assert own(imported(name)) == ({"_suggest"} if name in ("_rule", "elementary") else set())
    assert standard(imported(name, nested=True))
    assert own(imported(name, nested=True)) == ({"_engine"} if name == "_rule" else set())


def test_rules_are_maths():
    """math, the decorator, the elementary functions, each other."""
    names = imported("rules") | imported("rules", nested=True)
    outside = {name for name in names if not name.startswith(".rules.")}
    assert outside <= {"math", "._rule", ".elementary", ".words"}


def test_the_engine_knows_no_rule():
    """It imports itself, rules' schema, elementary functions, words, deferred signals and words of errors."""
    names = imported("_engine") | imported("_engine", nested=True)
    assert own(names) <= {"_engine", "_rule", "_signals", "_suggest", "elementary", "words"}
    assert not {name for name in names if name.startswith(".rules")}


DEVICES = {"cuda", "gpu", "stream", "streams", "ordinal", "remote"}
TELL = (
    "_engine.arrays",
    "_engine.memory",
    "_engine.lanes",
    "_typing",
    "_distributed.nccl",
)  # of others; for both
GENERAL = [name for name in MODULES.values() if "_engine.cuda" not in name]


@pytest.mark.parametrize("name", GENERAL)
def test_a_place_is_all_that_is_known_of_devices(name):
    """CUDA's modules are loaded when the first array on a device is seen; nothing else has their words."""
    path = next(path for path, each in MODULES.items() if each == name)
    tree, fields = ast.parse(path.read_text()), ("id", "attr", "arg", "name", "module")
    found = {getattr(node, field, None) for node in ast.walk(tree) for field in fields}
    words = {word for each in found for word in re.split(r"[._]", str(each).lower())}
    cuda = [nested for source, nested in imports(path) if source.startswith("._engine.cuda")]
    assert all(cuda), "imported with the module, expected in the function that has to do with a device"
    assert name in TELL or not words & DEVICES - ({"cuda"} if cuda else set())


def test_modules_of_devices_are_not_loaded_without_one():
    code = """
import sys, numpy as np, gnumba as gn
gn.Adam(np.ones(3), max_norm=1.0).step(gn.relu(np.ones(3)))
print(*sys.modules)
"""
    assert not [name for name in output("-c", code).split() if name.startswith("gnumba._engine.cuda")]


def whole():
    """The modules that each module imports at its top."""
    graph = {name: set() for name in MODULES.values()}
    for path, name in MODULES.items():
        for source, inside in imports(path):
            if source.startswith(".") and not inside:
                target = source[1:] if source[1:] in graph else f"{source[1:]}.__init__".lstrip(".")
                graph[name] |= {target} - {name}
    return graph


def test_the_engine_is_nine_floors_high():
    """No chain of imports within it is longer."""
    graph = {
        name: {each for each in inside if each.startswith("_engine.") and not each.endswith("__init__")}
        for name, inside in whole().items()
        if name.startswith("_engine.")
    }
    floors = {}
    for name in graphlib.TopologicalSorter(graph).static_order():
        floors[name] = 1 + max((floors[each] for each in graph.get(name, ())), default=0)
    assert max(floors.values()) <= 9, {name: floor for name, floor in floors.items() if floor > 9}


def test_nothing_imports_upwards():
    """There is an order in which every module imports only those before it; the top is for programs."""
    graph = whole()
    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(graph)
    reached = transitive(graph, "__init__")
    programs = {name for path, name in MODULES.items() if "gnumba" in dict(imports(path))}
    assert not programs & reached


def transitive(graph, start):
    """All that ``start`` imports, directly or not."""
    found, rest = set(), {start}
    while rest:
        name = rest.pop()
        found.add(name)
        rest |= graph[name] - found
    return found


# New processes.


def test_import_brings_in_nothing_that_numba_does_not():
    """No third-party module."""
    tops = "import sys; print(*{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    texts = [output("-c", f"import {name}; {tops}", fresh=True) for name in ("gnumba", "numba")]
    ours, numbas = (set(text.split()) for text in texts)
    assert ours - numbas == {"gnumba"}


def test_import_compiles_nothing(tmp_path):
    """Nor writes a kernel."""
    code = """
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    import gnumba
print(len(recorder.buffer))
"""
    assert output("-c", code, fresh=True, GNUMBA_CACHE_DIR=tmp_path / "cache") == "0\n"
    assert not list(tmp_path.rglob("*.kernel"))


@pytest.mark.skipif(threads.count() == 1, reason="on one CPU no threads are started: see test_one_cpu")
@pytest.mark.parametrize("layer", ["omp", "workqueue", "tbb"])
def test_any_threading_layer(layer, tmp_path):
    """Parallel steps are right, also from two threads at once, with and without TBB."""
    code = """
import threading
import numba, numpy as np, gnumba as gn
def train(p, target):
    with gn.use_target(target):
        optimizer = gn.Adam(p, lr=0.1)
        for _ in range(20):
            optimizer.step(np.sin(p))
            gn.tanh(p, out=p)
start = np.random.default_rng(0).standard_normal((3, 50_000))
for p in start[1:]:
    p[:] = start[0]
threads = [threading.Thread(target=train, args=(p, "parallel")) for p in start[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
train(start[0], "cpu")
assert (start == start[0]).all()
print(numba.threading_layer(), gn.info()["threading_layer"])
"""
    try:
        used = output("-c", code, NUMBA_THREADING_LAYER=layer)
    except AssertionError as error:
        if "No threading layer could be loaded" in str(error):
            pytest.skip(f"numba has no {layer} here")
        raise
    assert used.split() == [layer, layer]


# What the disk keeps.

RULE = """
import helper
import parts.numbers
import numpy as np
import gnumba as gn

FACTOR = 1.0
TABLE = np.array([1.0, 2.0])

def made_with(number):
    @gn.rule
    def stride(p, g, /, lr):
        return p - lr * (number * FACTOR * TABLE[0] * parts.numbers.UNIT * helper.scaled(g))
    return stride

stride = made_with(1.0)
"""
HELPER = """
def scaled(x, by=1.0):
    return by * x
"""
SCRIPT = """
import json, sys
from numba.core import event
import numpy as np
import gnumba as gn
with event.install_recorder("numba:compile") as recorder:
    from rule import stride
    p = np.zeros(5)
    gn.optimizer(stride, p, lr=1.0).step(np.ones(5))
json.dump({"p": p[0], "compiled": len(recorder.buffer)}, sys.stdout)
"""


class Project:
    """A folder with a rule, a callee in another file, a script that makes a step, and a cache."""

    def __init__(self, folder):
        self.folder, self.cache = folder, folder / "cache"

    def path(self, name):
        return self.folder / f"{name}.py"

    def edit(self, name, old, new):
        text = self.path(name).read_text()
        assert old in text
        self.path(name).write_text(text.replace(old, new))

    def kernels(self):
        return {path.name for path in self.cache.glob("*.kernel")}

    def run(self, **how):
        """The step's result, and whether something was compiled for it."""
        how = {"GNUMBA_CACHE_DIR": self.cache, "PYTHONDONTWRITEBYTECODE": 1} | how
        found = json.loads(output(self.path("script"), **how))
        return found["p"], found["compiled"] > 0


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A project that has run once."""
    made = Project(tmp_path_factory.mktemp("project"))
    made.path("parts/x").parent.mkdir()
    files = {
        "rule": RULE,
        "helper": HELPER,
        "script": SCRIPT,
        "parts/__init__": "",
        "parts/numbers": "UNIT = 1.0\n",
    }
    for name, text in files.items():
        made.path(name).write_text(text)
    assert made.run(fresh=True) == (-1.0, True)
    assert made.kernels()
    return made


@pytest.fixture
def project(compiled, tmp_path):
    """Copy of the compiled project in a folder of its own; where files lie makes no difference."""
    shutil.copytree(compiled.folder, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)


def test_unchanged_is_a_hit(project):
    """Comments, blank lines, time stamps, another folder: nothing is compiled or written."""
    before = project.kernels()
    assert project.run(fresh=True) == (-1.0, False)
    project.edit("rule", "FACTOR = 1.0", "# a comment\n\nFACTOR = 1.0  # another")
    project.edit("helper", "def scaled", "\n\ndef other(x):\n    return x\n\ndef scaled")
    assert project.run() == (-1.0, False)
    assert project.kernels() == before


EDITS = {
    "the rule": ("rule", "return p - lr", "return p - 2.0 * lr"),
    "a global constant": ("rule", "FACTOR = 1.0", "FACTOR = 2.0"),
    "a number closed over": ("rule", "made_with(1.0)", "made_with(2.0)"),
    "a callee in another file": ("helper", "return by * x", "return 2.0 * by * x"),
    "a default of the callee": ("helper", "by=1.0", "by=2.0"),
    "a constant in a module in a package": ("parts/numbers", "1.0", "2.0"),
    "an array": ("rule", "[1.0, 2.0]", "[2.0, 2.0]"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edit_is_another_kernel(project, edit):
    """With another result, once; the former kernel is still there when the edit is taken back."""
    before = project.kernels()
    project.edit(*edit)
    assert project.run() == (-2.0, True)
    assert project.kernels() > before
    if edit is EDITS["the rule"]:
        assert project.run() == (-2.0, False)
        project.edit(edit[0], edit[2], edit[1])
        assert project.run() == (-1.0, False)


def test_a_module_that_was_renamed(project):
    """A kernel names the module that its rule was in; it is compiled again, and found from then on."""
    project.path("rule").rename(project.path("renamed"))
    project.edit("script", "from rule import", "from renamed import")
    assert project.run() == (-1.0, True)
    assert project.run() == (-1.0, False)


def test_a_change_in_the_last_digits_of_an_array(project):
    """More digits than an array prints."""
    project.edit("rule", "[1.0, 2.0]", "[1.000000000001, 2.0]")
    assert project.run() == (-1.000000000001, True)


def test_a_rule_on_the_command_line(tmp_path):
    """``python -c`` has no file, and hits all the same; so do a REPL and a notebook."""
    texts = [output("-c", RULE_IN_PLACE, fresh=fresh, GNUMBA_CACHE_DIR=tmp_path) for fresh in (False, True)]
    first, second = map(json.loads, texts)
    assert first["p"] == second["p"] == -1.0
    assert (first["compiled"] > 0, second["compiled"]) == (True, 0)


RULE_IN_PLACE = SCRIPT.replace(
    "    from rule import stride",
    """
    @gn.rule
    def stride(p, g, /, lr):
        return p - lr * g
""",
)


MEETING = """
import sys
import numpy as np, gnumba as gn
for dtype in sys.argv[1:]:
    dense, strided = np.zeros(1001, dtype), np.zeros((8, 9), dtype)[::2, ::3]
    for target, p in (("cpu", strided), ("parallel", dense)):
        g = np.full(p.shape, 2.0, dtype)
        with gn.use_target(target):
            optimizer = gn.Momentum(p, lr=1.0, momentum=0.5)
            optimizer.step(g)
        v = optimizer.state_dict()["state"]["0"]["v"]
        assert (p == -1.0).all() and (v == 1.0).all(), (dtype, target)
    x = np.linspace(-1, 1, 1000, dtype=dtype)
    if dtype == "float32":
        assert (gn.relu.backward(np.ones_like(x), x) == (x > 0)).all()
    else:
        assert np.allclose(gn.sigmoid.backward(np.ones_like(x), x, y=x), x * (1 - x))
"""


def test_kernels_of_several_processes_meet(tmp_path):
    """float32 compiled in one, float64 in another, both loaded in a third: each does its own work."""
    both = tmp_path / "both"
    for dtype in ("float32", "float64"):
        output("-c", MEETING, dtype, GNUMBA_CACHE_DIR=tmp_path / dtype)
        shutil.copytree(tmp_path / dtype, both, dirs_exist_ok=True)
    for dtypes, fresh in ((["float64", "float32"], False), (["float32", "float64"], True)):
        output("-c", MEETING, *dtypes, fresh=fresh, GNUMBA_CACHE_DIR=both)


def test_racing_processes(project):
    """All right, and one file a kernel at the end."""
    expected = project.kernels()
    for path in project.cache.iterdir():
        path.unlink()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "GNUMBA_CACHE_DIR": str(project.cache),
    }
    racing = [
        subprocess.Popen([sys.executable, project.path("script")], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [json.loads(process.communicate(timeout=120)[0])["p"] for process in racing] == [-1.0] * 3
    assert {path.name for path in project.cache.iterdir()} == expected


DAMAGES = {
    "a bit flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "cut short": lambda data: data[:-1],
    "emptied": lambda data: b"",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_compiled_again(project, damage):
    """And written anew."""
    sound = {path: path.read_bytes() for path in project.cache.glob("*.kernel")}
    for path, data in sound.items():
        path.write_bytes(damage(data))
    assert project.run() == (-1.0, True)
    assert project.run() == (-1.0, False)


def test_something_in_the_way_of_a_file(project):
    """It cannot be read and cannot be written: no cache, no error, nothing left lying about."""
    for path in list(project.cache.iterdir()):
        path.unlink()
        path.mkdir()
    before = set(project.cache.rglob("*"))
    assert project.run() == (-1.0, True)
    assert set(project.cache.rglob("*")) == before


def test_a_folder_that_cannot_be_made(project, tmp_path):
    """A file has its name: a warning, an error here, names it."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    for folder in (in_the_way, in_the_way / "below"):
        with pytest.raises(AssertionError, match="RuntimeWarning: GNUMBA_CACHE_DIR is"):
            project.run(GNUMBA_CACHE_DIR=folder)
    assert in_the_way.read_text() == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(project):
    """It is not used; a kernel in it neither."""
    project.cache.chmod(0o500)
    with pytest.raises(AssertionError, match="Permission denied"):
        project.run()
    project.cache.chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are POSIX's here")
@pytest.mark.parametrize("mode", [0o770, 0o707], ids=oct)
def test_a_folder_that_others_may_write_is_not_used(mode, tmp_path):
    """A cache is code."""
    tmp_path.chmod(mode)
    show = "import gnumba; print(gnumba.info()['cache_folder'])"
    with pytest.raises(AssertionError, match="others own it or may write there"):
        output("-c", show, GNUMBA_CACHE_DIR=tmp_path)
    tmp_path.chmod(0o700)
    assert Path(output("-c", show, GNUMBA_CACHE_DIR=tmp_path).strip()) == tmp_path


def test_a_refused_rule_is_refused_in_every_process(tmp_path):
    """A refused rule leaves nothing in the cache."""
    code = """
import numpy as np, gnumba as gn
@gn.rule
def wide(p, g, /, lr):
    return p - (1 - lr) * g
try:
    gn.optimizer(wide, np.ones(3, np.float32), lr=0.1).step(np.ones(3, np.float32))
except TypeError as error:
    print(error)
"""
    for _ in range(2):
        assert "'wide' would compute in float64" in output("-c", code, GNUMBA_CACHE_DIR=tmp_path)


def test_the_readme_runs(tmp_path, monkeypatch, capsys):
    """Its Python blocks, in their order; the loops learn, and print losses that say so."""
    monkeypatch.chdir(tmp_path)
    scope, limits = {}, {"opt": 0.1, "plan": 0.8}  # mean squared errors; a constant has 1
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL):
        exec(block, scope)
        if limits:
            act, params = gn.relu if "plan" in scope else gn.silu, scope["params"]
            y = act(scope["x"] @ params["w1"]) @ params["w2"]
            assert np.mean((y - scope["target"]) ** 2) < limits.pop("plan" if "plan" in scope else "opt")
            losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
            assert len(losses) >= 3
            assert losses[-1] < losses[0]
    assert not limits
    assert gn.load_checkpoint("run.safetensors", scope["params"], scope["plan"]) == {"epoch": 99}
    assert scope["opt"].rule is gn.registry.pop("lion")


def test_the_readme_installs_from_the_clone():
    """Nothing is on an index yet: every pip command there, and in the examples, names this folder."""
    texts = [path.read_text("utf-8") for path in (ROOT / "README.md", *ROOT.glob("examples/*.py"))]
    commands = [command for text in texts for command in re.findall(r"pip install [^`\n#]*", text)]
    assert len(commands) >= len(texts)
    for command in commands:
        assert re.search(r'"?(\.|/path/to/gnumba)(\[|"| |$)', command.strip()), command
