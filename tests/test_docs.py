"""The documentation: every name has a page, equal settings are equal, links lead on, pages open."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import gnumba as gn

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def loaded(path):
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


reference, peers, formulas = (loaded(DOCS / f"{name}.py") for name in ("reference", "peers", "formulas"))
pages, browse = (loaded(ROOT / "tools" / f"{name}.py") for name in ("docs", "browse"))


# The reference.


def test_every_public_name_has_a_page():
    """Those of modules too; and nothing is documented that there is not."""
    modules = {name: getattr(gn, name) for name in ("elementary", "init", "losses", "rules", "schedules")}
    public = {*gn.__all__} | {
        f"{name}.{each}" for name, module in modules.items() for each in module.__dir__()
    }
    public = {name for name in public if "__" not in name}
    assert public == set(reference.documented())


def test_a_name_without_a_place_in_the_contents_has_no_page(monkeypatch):
    """The contents are what pages are made from: what is missing there is missing in the reference."""
    monkeypatch.setattr(gn, "__doc__", gn.__doc__.replace("dropout, alpha_dropout", "dropout"))
    assert "alpha_dropout" not in set(reference.documented())
    assert "alpha_dropout" not in reference.pages()


def test_every_formula_is_of_a_name_and_every_rule_has_one():
    """Optimizers, activations, losses; a name that is gone has none left."""
    documented = set(reference.documented())
    assert set(formulas.FORMULAS) <= documented
    things = {name: getattr(gn, name) for name in gn.__all__}
    wanted = {name for name, thing in things.items() if isinstance(thing, gn.Activation)}
    wanted |= set(reference.gnumba._optimizers.__all__)
    wanted |= {f"losses.{name}" for name in gn.losses.__all__ if name != "Loss"}
    assert wanted <= set(formulas.FORMULAS)


def test_a_page_holds_formula_and_docstring():
    made = reference.pages()
    assert r"\hat m" in made["Adam"]
    assert ".. autoclass:: gnumba.Adam" in made["Adam"]
    assert ".. autofunction:: gnumba.relu" in made["relu"]
    assert ".. autofunction:: gnumba.losses.huber" in made["losses"]
    assert all(f":doc:`{name}`" in made["index"] for name in made if name != "index")


def test_pages_of_names_that_are_gone_are_removed(tmp_path):
    (tmp_path / "gone.rst").write_text("gone")
    reference.write(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(reference.pages())


# Settings that are equal.

STEPS = 30


@pytest.fixture
def problem():
    """Parameters, and gradients of many sizes: small ones too, where ε matters."""
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-5, 1, (STEPS, 6, 4))
    return rng.standard_normal((6, 4)), rng.standard_normal(sizes.shape) * sizes


def ours(row, problem):
    """gnumba's parameters after all steps."""
    start, gradients = problem
    params = start.copy()
    optimizer = eval(row.gnumba, {"gn": gn, "params": params})
    for g in gradients:
        optimizer.step(g)
    return params


def assert_equal(made, theirs, start, rtol):
    """Where they moved, they moved alike."""
    assert np.abs(theirs - start).max() > 1e-3
    np.testing.assert_allclose(
        made - start, theirs - start, rtol=rtol, atol=rtol * np.abs(theirs - start).max()
    )


@pytest.mark.parametrize("row", peers.PYTORCH, ids=lambda row: row.theirs)
def test_equal_to_pytorch(row, problem):
    torch = pytest.importorskip("torch")
    start, gradients = problem
    tensor = torch.tensor(start)
    other = eval(row.theirs, {"optim": torch.optim, "params": [tensor]})
    for g in gradients:
        tensor.grad = torch.tensor(g)
        other.step()
    assert_equal(ours(row, problem), tensor.numpy(), start, 1e-6)


@pytest.mark.parametrize("row", peers.OPTAX, ids=lambda row: row.theirs)
def test_equal_to_optax(row, problem):
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    start, gradients = problem
    transform, theirs = eval(row.theirs, {"optax": optax}), jax.numpy.array(start)
    state = transform.init(theirs)
    for g in gradients:
        updates, state = transform.update(g, state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    assert_equal(ours(row, problem), np.asarray(theirs), start, 1e-6)


@pytest.fixture
def keras(monkeypatch):
    """Keras on JAX, computing in float64."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    return pytest.importorskip("keras")


@pytest.mark.parametrize("row", peers.KERAS, ids=lambda row: row.theirs)
def test_equal_to_keras(row, problem, keras):
    """Its rates are of float32."""
    start, gradients = problem
    variable = keras.Variable(start, dtype="float64")
    optimizer = eval(row.theirs, {"keras": keras})
    optimizer.build([variable])
    for g in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g, dtype="float64")], [variable])
    assert_equal(ours(row, problem), np.asarray(variable.value), start, 1e-4)


def test_a_wrong_setting_is_not_equal(problem):
    """ε outside the root and inside are told apart by these gradients."""
    inside = ours(peers.Equal("gn.Adam(params)", ""), problem)
    outside = ours(peers.Equal("gn.Adam(params, eps=1e-8)", ""), problem)
    with pytest.raises(AssertionError):
        assert_equal(inside, outside, problem[0], 1e-4)


def run(path, *names):
    """Run a script of the documentation; return its names."""
    pytest.importorskip(*names)
    return vars(loaded(path))


def test_the_same_loop_in_both():
    """The page's two columns print the same losses."""
    ours, theirs = (
        run(DOCS / "coming_from" / f"loop_{name}.py", name)["losses"] for name in ("gnumba", "torch")
    )
    assert ours[-1] < 0.5 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("library", ["jax", "autograd", "torch"])
def test_gradients_of_others(library):
    losses = run(DOCS / "recipes" / f"with_{library}.py", library)["losses"]
    assert len(losses) == 100
    assert losses[-1] < losses[0]


# Links and anchors.

GOOD = """<html><body><h1 id="top">x</h1><a href="#top">a</a><a href="other.html#there">b</a>
<a href="https://example.org">c</a><img src="p.png" alt="p"><link rel="canonical" href="https://e.org/"></body></html>"""


@pytest.fixture
def site(tmp_path):
    """A folder of two pages without a fault."""
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "other.html").write_text('<p id="there">x</p><a href="index.html">a</a>')
    (tmp_path / "p.png").write_bytes(PIXEL)
    return tmp_path


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63f8cf50"
    "0f0003860180b7d5e9a50000000049454e44ae426082"
)
FAULTS = {
    '<a href="gone.html">x</a>': "gone.html leads nowhere",
    '<a href="#gone">x</a>': "#gone leads to a page without that anchor",
    '<a href="other.html#gone">x</a>': "other.html#gone leads to a page without that anchor",
    '<img src="p.png">': "the image p.png has no text",
    '<img src="gone.png" alt="x">': "gone.png leads nowhere",
    '<script src="https://cdn.example.org/x.js"></script>': "x.js is fetched from another machine",
    '<link rel="stylesheet" href="//fonts.example.org/x.css">': "x.css is fetched from another machine",
}


def test_a_site_without_faults_has_none(site):
    assert pages.check(site) == []
    assert pages.check(site / "nothing") != []


@pytest.mark.parametrize(("html", "said"), FAULTS.items())
def test_faults_of_links_are_found(site, html, said):
    (site / "index.html").write_text(GOOD.replace("</body>", f"{html}</body>"))
    (fault,) = pages.check(site)
    assert fault.startswith("index.html: ")
    assert said in fault


def test_doctests_of_the_pages_can_fail(tmp_path, monkeypatch, capsys):
    """Each page runs in a folder of its own; the number of failures is what is returned."""
    (tmp_path / "a.rst").write_text(">>> 1 + 1\n3\n")
    (tmp_path / "b.rst").write_text(">>> open('made', 'w').close()\n")
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    assert pages.run_doctests() == 1
    assert not (tmp_path / "made").exists()


# In a browser.


@pytest.fixture
def chromium():
    pytest.importorskip("playwright", reason="Playwright is not installed")
    if browse.program() is None:
        pytest.skip("there is no chromium on the PATH")


SHOWN = {
    "<script>console.error('oh')</script>": "oh",
    "<script>nothing()</script>": "nothing is not defined",
    '<img src="http://127.0.0.1:9/x.png">': "asks for http://127.0.0.1:9/x.png",
    '<img src="gone.png">': "has a picture that does not load",
    '<main><p style="width: 3000px">x</p></main>': "scrolls sideways",
    '<span class="math">x^2</span>': "has a formula that is not rendered: x^2",
}


def test_browser_finds_faults(chromium, tmp_path):
    """Each planted one; of what depends on it, at both widths and in both themes."""
    icon = '<link rel="icon" href="data:,">'
    for number, html in enumerate(["<p>fine</p>", *SHOWN]):
        (tmp_path / f"{number}.html").write_text(f"<html><head>{icon}</head><body>{html}</body></html>")
    faults = browse.look(tmp_path)
    assert not [fault for fault in faults if fault.startswith("0.html")]
    for number, said in enumerate(SHOWN.values(), start=1):
        found = {fault for fault in faults if fault.startswith(f"{number}.html") and said in fault}
        assert len(found) == (1 if number <= 3 else 4), said


def test_pages_in_a_browser(chromium):
    """All that are built."""
    if not (browse.HTML / "index.html").exists():
        pytest.skip("the documentation is not built: python tools/docs.py")
    assert browse.look(browse.HTML) == []


@pytest.fixture
def axe(chromium):
    pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")


def test_axe_in_a_browser_finds_faults(axe, tmp_path):
    """An image without text, and grey on grey."""
    html = '<html lang="en"><title>x</title><main><h1>x</h1>{}</main></html>'
    (tmp_path / "fine.html").write_text(html.format("<p>x</p>"))
    (tmp_path / "image.html").write_text(html.format('<img src="data:,">'))
    (tmp_path / "grey.html").write_text(
        html.format('<p style="color: #aaa; background: #bbb">a sentence</p>')
    )
    found = browse.axe(tmp_path, ["fine.html", "image.html", "grey.html"])
    assert [fault.partition(",")[0] for fault in found] == ["image.html"] * 2 + ["grey.html"] * 2


def test_accessibility_in_a_browser(axe):
    """Nothing serious on five pages."""
    if not (browse.HTML / "index.html").exists():
        pytest.skip("the documentation is not built: python tools/docs.py")
    assert browse.axe(browse.HTML) == []
