"""Params: nested containers, iterators, gradients by name, decay masks, groups that are added."""

import copy
import pickle
from typing import NamedTuple

import numpy as np
import pytest

import gnumba as gn


class Layer(NamedTuple):
    w: np.ndarray
    b: np.ndarray


def arrays(count=4, seed=0):
    """Arrays of several shapes, the same for a seed."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in ((3, 2), (2,), (2, 2), (5,), ())[:count]]


NESTED = {
    "dicts of dicts": (
        lambda a, b, c, d: {"fc1": {"w": a, "b": b}, "fc2": {"w": c, "b": d}},
        "fc1/w fc1/b fc2/w fc2/b",
    ),
    "a list of dicts": (lambda a, b, c, d: [{"w": a, "b": b}, {"w": c, "b": d}], "0/w 0/b 1/w 1/b"),
    "a list of lists": (lambda a, b, c, d: [[a], [b, c], d], "0/0 1/0 1/1 2"),
    "a tuple in a dict": (lambda a, b, c, d: {"x": (a, b), 7: [c], "y": d}, "x/0 x/1 7/0 y"),
    "named tuples": (lambda a, b, c, d: [Layer(a, b), Layer(c, d)], "0/w 0/b 1/w 1/b"),
    "three deep": (
        lambda a, b, c, d: {"net": {"head": [a, {"w": b}], "tail": c}, "bias": d},
        "net/head/0 net/head/1/w net/tail bias",
    ),
    "empty ones among them": (
        lambda a, b, c, d: {"none": [], "some": [a, b, {}], "rest": [c, d]},
        "some/0 some/1 rest/0 rest/1",
    ),
}


@pytest.mark.parametrize("case", NESTED, ids=NESTED.keys())
def test_nested_containers_step_as_their_arrays_do(case):
    """Bit for bit; names are paths."""
    build, names = NESTED[case]
    nested, flat = arrays(), arrays()
    optimizer, reference = (gn.Adam(each, lr=0.1, weight_decay=0.1) for each in (build(*nested), flat))
    for seed in range(1, 4):
        grads = arrays(seed=seed)
        if seed == 2:
            grads[1] = None
        optimizer.step(build(*grads))
        reference.step(grads)
    assert list(optimizer.state_dict()["state"]) == names.split()
    for ours, theirs in zip(nested, flat, strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)


def test_nested_gradients_of_another_structure():
    """The sentence says where, and nothing has changed."""
    params = {"fc1": {"w": np.ones(2), "b": np.ones(2)}, "rest": [np.ones(2)]}
    optimizer = gn.SGD(params, lr=1.0)
    g = np.ones(2)
    for grads, kind, words in (
        (
            {"fc1": {"w": g}, "rest": [g]},
            ValueError,
            r"grads\['fc1'\] has unknown names \[\] and lacks \['b'\]",
        ),
        ({"fc1": [g, g], "rest": [g]}, TypeError, r"grads\['fc1'\] is a list of 2, expected a dict"),
        ({"fc1": {"w": g, "b": g}, "rest": [g, g]}, ValueError, r"grads\['rest'\] has 2 entries"),
        ({"fc1": {"w": g, "b": g}, "rest": g}, TypeError, r"grads\['rest'\] is an array of shape \(2,\)"),
        ({"fc1": {"w": g, "b": {"x": g}}, "rest": [g]}, TypeError, r"gradient of fc1/b is of type dict"),
        ({"fc1": None, "rest": [g]}, TypeError, r"grads\['fc1'\] is a NoneType, expected a dict"),
    ):
        with pytest.raises(kind, match=words):
            optimizer.step(grads)
    assert optimizer.t == 0
    np.testing.assert_array_equal(params["fc1"]["w"], np.ones(2))


CHANGES = {
    "an array replaced": (lambda p: p["a"].update(w=np.ones(2)), "parameter a/w is no longer the array"),
    "a dict replaced": (lambda p: p.update(a={"w": np.ones(2), "b": np.ones(2)}), "a/w is no longer"),
    "an array added": (
        lambda p: p["a"].update(c=np.ones(2)),
        r"params\['a'\] has the names \['w', 'b', 'c'\] by now",
    ),
    "an array removed": (lambda p: p["a"].pop("w"), r"params\['a'\] has the names \['b'\] by now"),
    "one appended": (lambda p: p["l"].append(np.ones(2)), r"params\['l'\] has 2 entries by now, expected 1"),
    "an array for a dict": (
        lambda p: p.update(a=np.ones(2)),
        r"params\['a'\] is an array of shape \(2,\) by now, expected a dict",
    ),
    "another name": (lambda p: p.update(z=p.pop("l")), r"params has the names \['a', 'z'\] by now"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("steps", [0, 2])
def test_containers_that_changed_at_any_depth(change, steps):
    """Refused before anything is updated, also by the fast path of a step like the one before."""
    params = {"a": {"w": np.ones(2), "b": np.ones(2)}, "l": [np.ones(2)]}
    kept = [*params["a"].values(), *params["l"]]
    optimizer = gn.SGD(params, lr=1.0)
    for _ in range(steps):
        optimizer.step({"a": {"w": np.zeros(2), "b": np.zeros(2)}, "l": [np.zeros(2)]})
    edit, words = change
    edit(params)
    with pytest.raises(ValueError, match=words):
        optimizer.step({"a": {"w": np.ones(2), "b": np.ones(2)}, "l": [np.ones(2)]})
    assert all((array == 1.0).all() for array in kept)


def two_phases(params):
    """Adam for a step, then gradient descent."""
    return gn.Phases(params, [gn.Phase(gn.Adam, steps=1), gn.Phase(gn.SGD, lr=0.1)])


ITERATORS = {
    "a generator": lambda named: (x for x in named.values()),
    "values of a dict": lambda named: named.values(),
    "a map": lambda named: map(np.asarray, named.values()),
    "pairs": lambda named: iter(named.items()),
    "items of a dict": lambda named: named.items(),
    "a zip": lambda named: zip(named, named.values(), strict=True),
}


@pytest.mark.parametrize("make", ITERATORS.values(), ids=ITERATORS.keys())
@pytest.mark.parametrize("kind", [gn.SGD, gn.Adam, two_phases])
def test_iterators_are_read_once(make, kind):
    """Arrays as a list, (name, array) pairs as a dict; through both phases of a plan."""
    named, flat = dict(zip("abcd", arrays(), strict=True)), dict(zip("abcd", arrays(), strict=True))
    optimizer, reference = kind(make(named)), kind(flat)
    by_name = "a" in getattr(optimizer, "optimizer", optimizer).state_dict()["state"]
    assert by_name == (type(next(iter(make(named)))) is tuple)
    for seed in range(1, 4):
        grads = dict(zip("abcd", arrays(seed=seed), strict=True))
        optimizer.step(grads if by_name else iter(list(grads.values())))
        reference.step(grads)
    for name in flat:
        np.testing.assert_array_equal(named[name], flat[name], strict=True)


def test_iterators_in_groups():
    """Each group's parameters, in two phases."""
    named, flat = dict(zip("abcd", arrays(), strict=True)), dict(zip("abcd", arrays(), strict=True))

    def groups(of, read):
        rows = [(name, of[name]) for name in of]
        return [{"params": read(rows[:2]), "lr": 0.5}, {"params": read(rows[2:]), "name": "tail"}]

    ours, theirs = two_phases(groups(named, iter)), two_phases(groups(flat, dict))
    for seed in range(1, 4):
        grads = dict(zip("abcd", arrays(seed=seed), strict=True))
        parts = [{name: grads[name] for name in part} for part in ("ab", "cd")]
        ours.step(parts)
        theirs.step(parts)
    for name in flat:
        np.testing.assert_array_equal(named[name], flat[name], strict=True)


def test_gradients_by_name_over_groups():
    """One dict, in any order; None is none; names are those of the state dict."""
    a, b, c, _ = arrays()
    groups = [{"params": {"w": a, "b": b}, "name": "body"}, {"params": c, "lr": 0.5}]
    optimizer = gn.SGD(groups, lr=1.0)
    before = [x.copy() for x in (a, b, c)]
    assert list(optimizer.state_dict()["state"]) == ["body/w", "body/b", "1/0"]
    optimizer.step({"1/0": np.ones_like(c), "body/b": None, "body/w": np.ones_like(a)})
    for now, then, step in zip((a, b, c), before, (1.0, 0.0, 0.5), strict=True):
        np.testing.assert_array_equal(now, then - step)
    for grads, words in (
        ({"1/0": c * 0, "body/w": a * 0}, r"grads has unknown names \[\] and lacks \['body/b'\]"),
        ({"1/0": c * 0, "body/w": a * 0, "body/b": b * 0, "w": a * 0}, r"unknown names \['w'\]"),
    ):
        with pytest.raises(ValueError, match=words):
            optimizer.step(grads)
    assert optimizer.t == 1


def matrices(name, array):
    return array.ndim > 1


@pytest.mark.parametrize("kind", [gn.SGD, gn.Momentum, gn.AdaGrad, gn.RMSProp, gn.Adam, gn.AdamW])
def test_decay_mask_is_two_groups(kind):
    """Bit for bit as with and without decay, some gradients missing, a schedule and then a number."""
    masked, grouped, all_of_them = arrays(), arrays(), arrays()
    hyper = {"lr": 0.1, "weight_decay": lambda t: 0.1 * (t + 1)}
    optimizer, plain = kind(masked, decay_mask=matrices, **hyper), kind(all_of_them, **hyper)
    spared = {"params": [grouped[1], grouped[3]], "weight_decay": 0.0}
    reference = kind([{"params": [grouped[0], grouped[2]]}, spared], **hyper)
    for seed in range(1, 8):
        a, b, c, d = arrays(seed=seed)
        b = None if seed in (2, 3) else b
        optimizer.step([a, b, c, d])
        reference.step([[a, c], [b, d]])
        plain.step([a, b, c, d])
        if seed == 4:
            optimizer.weight_decay = reference.groups[0]["weight_decay"] = plain.weight_decay = 0.5
    for ours, theirs in zip(masked, grouped, strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    same = [np.array_equal(ours, others) for ours, others in zip(masked, all_of_them, strict=True)]
    assert same == [True, False, True, False]


def test_decay_mask_is_asked_by_name_and_array():
    """Once for each; of the user's own arrays."""
    asked = []

    def mask(name, array):
        asked.append((name, array))
        return np.bool_(name.endswith("w"))

    params = {"fc": {"w": np.ones(2), "b": np.ones(2)}}
    optimizer = gn.SGD(params, lr=1.0, weight_decay=0.5, decay_mask=mask)
    optimizer.step({"fc": {"w": np.zeros(2), "b": np.zeros(2)}})
    optimizer.step({"fc": {"w": np.zeros(2), "b": np.zeros(2)}})
    assert [name for name, _ in asked] == ["fc/w", "fc/b"]
    assert asked[0][1] is params["fc"]["w"]
    np.testing.assert_array_equal(params["fc"]["w"], 0.25)
    np.testing.assert_array_equal(params["fc"]["b"], 1.0)


def test_decay_masks_that_will_not_do():
    """No function, no bool, nothing that decays."""
    with pytest.raises(
        TypeError, match=r"decay_mask is \[True\], expected a function of a name and an array"
    ):
        gn.SGD(np.ones(2), decay_mask=[True])
    with pytest.raises(TypeError, match=r"decay_mask of parameter 0 is 1, expected True or False"):
        gn.SGD(np.ones(2), decay_mask=lambda name, array: 1)
    with pytest.raises(ValueError, match=r"decay_mask is .*, expected none, as there is no weight_decay"):
        gn.optimizer(gn.rules.sgd, np.ones(2), lr=0.1, plus_decay=0.0, decay_mask=matrices)


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda optimizer: pickle.loads(pickle.dumps(optimizer)),
}


@pytest.mark.parametrize("way", COPIES)
def test_copies_of_nested_and_masked_optimizers(way):
    """They step as the original would; a shallow copy shares the parameters."""
    params = {"fc": {"w": np.ones((2, 2)), "b": np.ones(2)}, "rest": [np.ones(3)]}
    optimizer = gn.AdamW(params, lr=0.1, weight_decay=0.5, decay_mask=matrices)
    grads = {"fc": {"w": np.ones((2, 2)), "b": np.ones(2)}, "rest": [np.full(3, 2.0)]}
    optimizer.step(grads)
    made = COPIES[way](optimizer)
    held = made.groups[0]["params"]
    assert (held is params) == (held["fc"] is params["fc"]) == (way == "copy")
    before = copy.deepcopy(params)
    made.step(grads)
    moved = copy.deepcopy(held)
    for x, y in ((params["fc"]["w"], before["fc"]["w"]), (params["fc"]["b"], before["fc"]["b"])):
        x[...] = y
    params["rest"][0][...] = before["rest"][0]
    optimizer.step(grads)
    for ours, theirs in ((moved["fc"], params["fc"]), (moved["rest"], params["rest"])):
        np.testing.assert_equal(ours, theirs)
    assert not np.array_equal(moved["fc"]["w"], before["fc"]["w"])


@pytest.mark.parametrize("kind", [gn.SGD, gn.Adam])
def test_a_group_that_is_added_begins_with_its_first_update(kind):
    """As an optimizer made then would; the others go on as if alone."""
    a, b, c, _ = arrays()
    x, y, z, _ = arrays()
    optimizer, first = kind([{"params": [a, b], "name": "body"}], lr=0.1), kind([x, y], lr=0.1)
    for seed in range(1, 4):
        grads = arrays(2, seed=seed)
        optimizer.step([grads])
        first.step(grads)
    optimizer.add_group({"params": (p for p in [c]), "name": "head", "lr": 0.5, "weight_decay": 0.25})
    second = kind([z], lr=0.5, weight_decay=0.25)
    assert [group["name"] for group in optimizer.groups] == ["body", "head"]
    for seed in range(4, 8):
        grads = arrays(3, seed=seed)
        optimizer.step({"body/0": grads[0], "body/1": grads[1], "head/0": grads[2]})
        first.step(grads[:2])
        second.step(grads[2:])
    for ours, theirs in zip((a, b, c), (x, y, z), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    counts = {name: of["updates"] for name, of in optimizer.state_dict()["state"].items()}
    assert (optimizer.t, counts) == (7, {"body/0": 7, "body/1": 7, "head/0": 4})
    fresh = kind([{"params": [a.copy(), b.copy()], "name": "body"}, {"params": [c.copy()], "name": "head"}])
    fresh.load_state_dict(optimizer.state_dict())
    again = pickle.loads(pickle.dumps(optimizer))
    for made in (fresh, again):
        made.step([[np.ones((3, 2)), np.ones(2)], [np.ones((2, 2))]])
        np.testing.assert_array_equal(made.groups[1]["params"][0], fresh.groups[1]["params"][0])


def test_a_group_that_is_added_takes_what_all_were_given():
    """Hyperparameters and the mask as the optimizer was made with them, whatever was set since."""
    optimizer = gn.SGD([{"params": np.ones(2)}], lr=0.5, weight_decay=0.5, decay_mask=matrices)
    optimizer.lr = 0.25
    w, b = np.ones((1, 1)), np.ones(1)
    optimizer.add_group({"params": {"w": w, "b": b}})
    assert (optimizer.groups[1]["name"], optimizer.groups[1]["lr"]) == ("1", 0.5)
    optimizer.step([np.zeros(2), {"w": np.zeros((1, 1)), "b": np.zeros(1)}])
    assert (w.item(), b.item()) == (0.75, 1.0)


def test_groups_that_cannot_be_added():
    """Nothing has changed then: the next step is that of the groups there were."""
    p, q = np.ones(2), np.ones(2)
    optimizer = gn.Adam([{"params": p, "name": "a"}], lr=0.5)
    for group, kind, words in (
        ({"params": q, "name": "a"}, ValueError, r"names are \['a', 'a'\], expected each once"),
        ({"params": p[:1], "name": "b"}, ValueError, "a/0 and b/0 share elements"),
        ({"params": q, "name": "b", "lr": -1.0}, ValueError, "lr is -1.0"),
        ({"params": q, "name": "b", "learning_rate": 1.0}, ValueError, "did you mean 'lr'"),
        ({"lr": 1.0}, ValueError, r"params\[1\] is a dict of 1, expected a group"),
        (q, ValueError, r"params\[1\] is an array of shape \(2,\), expected a group"),
        ({"params": [1.0]}, TypeError, "parameter 1/0 is of type float"),
    ):
        with pytest.raises(kind, match=words):
            optimizer.add_group(group)
    assert len(optimizer.groups) == 1
    optimizer.step([np.ones(2)])
    np.testing.assert_array_equal(q, 1.0)
    with pytest.raises(ValueError, match="params was given without groups"):
        gn.Adam(np.ones(2)).add_group({"params": np.ones(3)})


def test_checkpoints_of_nested_params(tmp_path):
    """Names are paths in the file too; an iterator of pairs loads what a dict has saved."""
    from safetensors.numpy import load_file

    params = {"fc": {"w": np.ones((2, 2)), "b": np.ones(2)}, "rest": [np.ones(3)]}
    optimizer = gn.Momentum(params, lr=0.1)
    optimizer.step({"fc": {"w": np.ones((2, 2)), "b": np.ones(2)}, "rest": [np.full(3, 2.0)]})
    gn.save_checkpoint(tmp_path / "run", params, optimizer)
    names = {name for name in load_file(tmp_path / "run") if name.startswith("params/")}
    assert names == {"params/fc/w", "params/fc/b", "params/rest/0"}
    flat = {"fc/w": np.zeros((2, 2)), "fc/b": np.zeros(2), "rest/0": np.zeros(3)}
    gn.load_checkpoint(tmp_path / "run", iter(flat.items()), other := gn.Momentum(flat, lr=0.1))
    np.testing.assert_array_equal(flat["rest/0"], params["rest"][0])
    assert other.t == 1


def test_torch_modules_give_their_parameters():
    """`parameters()` and `named_parameters()`, as PyTorch's optimizers take them."""
    torch = pytest.importorskip("torch")
    results = []
    for make in (
        lambda module: gn.SGD(module.parameters(), lr=0.1),
        lambda module: gn.SGD(module.named_parameters(), lr=0.1),
        lambda module: gn.SGD([{"params": module.named_parameters(), "name": "net"}], lr=0.1),
        lambda module: torch.optim.SGD(module.parameters(), lr=0.1),
    ):
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
        optimizer = make(module)
        for _ in range(3):
            module.zero_grad()
            module(torch.ones(4, 3)).square().sum().backward()
            if isinstance(optimizer, torch.optim.Optimizer):
                optimizer.step()
            elif "0" in optimizer.state_dict()["state"]:
                optimizer.step(p.grad for p in module.parameters())
            elif "0.weight" in optimizer.state_dict()["state"]:
                optimizer.step({name: p.grad for name, p in module.named_parameters()})
            else:
                optimizer.step({f"net/{name}": p.grad for name, p in module.named_parameters()})
        results.append([p.detach().numpy().copy() for p in module.parameters()])
    for result in results[:3]:
        for ours, theirs in zip(result, results[3], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_torch_module_is_told_what_to_give():
    """It is no container, but has one."""
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"of type Linear, expected an array .*named_parameters\(\) will do"):
        gn.Adam(torch.nn.Linear(2, 2))


def test_norms_of_iterators_and_named_tuples():
    """As of the lists and dicts that hold as much."""
    assert gn.global_norm(x for x in (np.array([3.0]), np.array([4.0]))) == 5.0
    assert gn.global_norm(Layer(np.array([3.0]), {"x": np.array([4.0]), "y": None})) == 5.0
    with pytest.raises(TypeError, match=r"grads\['w'\]\[1\] is a float, expected an array"):
        gn.global_norm({"w": [np.ones(2), 1.0]})


# The moving average of parameters.


@pytest.mark.parametrize("warmup", [False, True])
def test_ema_is_its_formula(dtype, warmup, target):
    """a ← δa + (1 − δ)θ, over nested arrays, one of them with gaps."""
    first, second, third, fourth = (x.astype(dtype) for x in arrays())
    params = {"fc": [first, second], "rest": (third, np.zeros((6, 5), dtype)[::2, 1::2], fourth)}
    ema = gn.EMA(params, decay=0.75, warmup=warmup)
    flat = [*params["fc"], *params["rest"]]
    naive = [x.astype("float64") for x in flat]
    rng = np.random.default_rng(5)
    with gn.use_target(target):
        for t in range(6):
            for x in flat:
                x += rng.standard_normal(x.shape).astype(dtype)
            ema.update()
            delta = min(0.75, (1 + t) / (10 + t)) if warmup else 0.75
            naive = [delta * a + (1 - delta) * x for a, x in zip(naive, flat, strict=True)]
    assert ema.t == 6
    assert type(ema.arrays["rest"]) is tuple
    for ours, theirs in zip([*ema.arrays["fc"], *ema.arrays["rest"]], naive, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


def test_ema_against_torch():
    """PyTorch's own average, its tensors, its version counters."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    tools = torch.optim.swa_utils
    theirs = tools.AveragedModel(module, multi_avg_fn=tools.get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(module)  # PyTorch's first update copies
    ema = gn.EMA(module.named_parameters(), decay=0.9)
    optimizer = gn.SGD(module.parameters(), lr=0.1)
    for _ in range(5):
        module.zero_grad()
        module(torch.ones(4, 3)).square().sum().backward()
        optimizer.step(p.grad for p in module.parameters())
        ema.update()
        theirs.update_parameters(module)
    for name, p in theirs.module.named_parameters():
        assert isinstance(ema.arrays[name], torch.Tensor)
        np.testing.assert_allclose(ema.arrays[name].numpy(), p.detach().numpy(), rtol=1e-6)
    before = module.weight._version
    with ema.swapped():
        assert module.weight._version > before
        averages = (linear.weight.detach().numpy() for linear in (module, theirs.module))
        np.testing.assert_allclose(*averages, rtol=1e-6)


def test_swapped_exchanges_and_gives_back():
    """Also where the block fails; what would mix the two up is refused inside."""
    w, b = np.array([1.0, 2.0]), np.array([5.0])
    ema = gn.EMA({"w": w, "b": b}, decay=0.5)
    w += 2.0
    ema.update()
    params = ema._shadow.params.parts[0].container

    def evaluate():
        with ema.swapped():
            np.testing.assert_array_equal(w, [2.0, 3.0])
            np.testing.assert_array_equal(ema.arrays["w"], [3.0, 4.0])
            for call in (ema.update, ema.state_dict, lambda: ema.swapped().__enter__()):
                with pytest.raises(RuntimeError, match=r"inside swapped\(\)"):
                    call()
            params["w"] = np.zeros(2)  # of no use, but no reason to leave w as it is
            raise KeyError("within")

    with pytest.raises(KeyError, match="within"):
        evaluate()
    np.testing.assert_array_equal(w, [3.0, 4.0])
    np.testing.assert_array_equal(ema.arrays["w"], [2.0, 3.0])
    np.testing.assert_array_equal(b, [5.0])
    with pytest.raises(ValueError, match="w is no longer the array"):
        ema.swapped().__enter__()
    np.testing.assert_array_equal(b, [5.0])


@pytest.mark.parametrize("way", [*COPIES, "checkpoint"])
def test_an_ema_goes_on_as_if_it_had_not_been_copied(way, tmp_path):
    """By copy, pickle and in a checkpoint; its averages are its own from then on."""
    params = {"w": np.ones(3), "b": [np.zeros(2)]}
    ema = gn.EMA(params, decay=0.5, warmup=True)
    for x in (params["w"], params["b"][0]):
        x += 1.0
    ema.update()
    if way == "checkpoint":
        gn.save_checkpoint(tmp_path / "run", params, also={"ema": ema})
        made = gn.EMA(params, decay=0.5, warmup=True)
        gn.load_checkpoint(tmp_path / "run", params, also={"ema": made})
    else:
        made = COPIES[way](ema)
    assert (made._shadow.params[0].given is params["w"]) == (way in ("copy", "checkpoint"))
    ours = made.arrays
    np.testing.assert_equal(ours, ema.arrays)
    made.update()
    assert (made.t, ema.t) == (2, 1)
    assert not np.array_equal(made.arrays["w"], ema.arrays["w"])
    ema.update()
    np.testing.assert_equal(made.arrays, ema.arrays)
    assert ours["w"] is made.arrays["w"]


def test_emas_that_will_not_do():
    """Each in a sentence, with nothing changed."""
    w = np.ones(2)
    params = {"w": w}
    with pytest.raises(ValueError, match=r"decay is 1.0, expected a number in \[0, 1\)"):
        gn.EMA(params, decay=1.0)
    with pytest.raises(TypeError, match="warmup is 1, expected True or False"):
        gn.EMA(params, warmup=1)
    with pytest.raises(TypeError, match="parameter w/0 is of type float"):
        gn.EMA({"w": [1.0]})
    ema = gn.EMA(params, decay=lambda t: 0.5 if t < 1 else 2.0)
    ema.update()
    with pytest.raises(ValueError, match=r"decay at step 1 is 2.0"):
        ema.update()
    with pytest.raises(AttributeError, match="did you mean 'decay'"):
        ema.decai = 0.5
    with pytest.raises(AttributeError, match="EMA has no attribute 'array'; did you mean 'arrays'"):
        _ = ema.array
    ema.decay = 0.5
    with pytest.raises(ValueError, match="state"):
        ema.load_state_dict({"t": 1, "average": {"w": np.ones(3)}})
    params["w"] = np.zeros(2)
    with pytest.raises(ValueError, match="parameter w is no longer the array"):
        ema.update()
    assert ema.t == 1
    np.testing.assert_array_equal(ema.arrays["w"], 1.0)
    assert repr(ema) == "EMA(t=1, decay=0.5, 1 arrays)"
