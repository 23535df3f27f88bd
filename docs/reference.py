"""The reference: a page for each public name, made from ``gnumba``'s table of contents.

``gnumba.__doc__`` lists every name under a heading. A page holds the formula, where there is one in
``formulas``, and the docstring. Modules (schedules, init, losses, …) have one page for all their names.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import formulas

import gnumba

OWN_WORDS = {
    "registry": "A dict, name → rule, of all update rules, users' own included. "
    "A rule that is defined again under its name replaces the former one.\n\n"
    ">>> import gnumba as gn\n>>> gn.registry[\"adam\"] is gn.rules.adam\nTrue\n",
    "FAR": "Where exponentials end, by dtype: FAR · exp(−FAR) is 0.\n",
}  # fmt: skip
HOOKS = "constants", "corrections", "scalars"  # of an optimizer's class, for the engine


def sections() -> dict[str, dict[str, str]]:
    """The headings of the table of contents, each with its names and what stands beside them."""
    made: dict[str, dict[str, str]] = {}
    names: list[str] = []
    for line in gnumba.__doc__.splitlines()[4:]:
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if not text:
            continue
        if indent == 0:
            made[text] = section = {}
            names = []
        elif indent == 4:
            names = names if names and not section[names[-1]] else []
            names += text.rstrip(",").split(", ")
            section |= dict.fromkeys(names, "")
        else:
            section |= {name: f"{section[name]} {text}".strip() for name in names}
    return made


def underlined(title: str, line: str = "=") -> str:
    return f"{title}\n{line * len(title)}\n"


def formula(name: str) -> str:
    """The formula of a public name, if it has one."""
    lines = formulas.FORMULAS.get(name)
    if lines is None:
        return ""
    lines = lines.strip().splitlines()
    if len(lines) > 1:
        lines = [r"\begin{gathered}", *lines, r"\end{gathered}"]
    return ".. math::\n\n" + "".join(f"   {line}\n" for line in lines) + "\n"


def directive(path: str, made: object) -> str:
    """Directive that shows one name: signature and docstring."""
    name = path.rpartition(".")[2]
    if name in OWN_WORDS:
        text = "".join(f"   {line}\n" for line in OWN_WORDS[name].splitlines())
        return f".. py:data:: {path}\n\n{text}\n"
    if not inspect.isclass(made):
        return f".. autofunction:: {path}\n\n"
    lines = f".. autoclass:: {path}\n   :members:\n"
    if issubclass(made, gnumba.Optimizer):
        lines += f"   :exclude-members: {', '.join(HOOKS)}\n"
    elif not issubclass(made, gnumba.schedules.Schedule):  # whose methods would stand at each
        lines += "   :inherited-members:\n"
    return lines + "\n"


def page(name: str) -> str:
    """The page of a name of ``gnumba``."""
    made = getattr(gnumba, name)
    if not isinstance(made, ModuleType):
        text = underlined(name) + "\n.. currentmodule:: gnumba\n\n" + formula(name)
        text += directive(f"gnumba.{name}", made)
        if inspect.isclass(made) and made.__name__ in gnumba._optimizers.__all__:
            text += "Methods and attributes: those of :class:`gnumba.Optimizer`.\n"
        elif isinstance(made, gnumba.Activation):
            text += "Methods and attributes: those of :class:`gnumba.Activation`.\n"
        return text
    text = underlined(name) + f"\n.. automodule:: gnumba.{name}\n\n"
    if made is gnumba.schedules:
        text += "Each has ``plot(steps, ax=None)``, which draws its first values.\n\n"
    for each in members(made):
        text += formula(f"{name}.{each}")
        text += directive(f"gnumba.{name}.{each}", getattr(made, each))
    return text


def members(module: ModuleType) -> list[str]:
    """The public names of a module, in the order of their definitions."""
    public = getattr(module, "__all__", None) or module.__dir__()
    return [name for name in vars(module) if name in public]


def pages() -> dict[str, str]:
    """Every page of the reference by its file's name, the index included."""
    made = {}
    index = underlined("Reference") + "\nEvery public name, under the headings of ``help(gnumba)``.\n\n"
    for title, names in sections().items():
        hidden = "".join(f"   {name}\n" for name in names)
        index += f"{underlined(title, '-')}\n.. toctree::\n   :hidden:\n\n{hidden}\n"
        index += ".. list-table::\n   :class: names\n   :widths: 30 70\n\n"
        for name in names:
            index += f"   * - :doc:`{name}`\n     - {first_line(name)}\n"
            made[name] = page(name)
        index += "\n"
    return made | {"index": index}


def first_line(name: str) -> str:
    """The first line of what describes a name."""
    doc = OWN_WORDS.get(name) or getattr(gnumba, name).__doc__
    return doc.strip().partition("\n")[0].replace("*", r"\*").replace("|", r"\|")


def documented() -> Iterator[str]:
    """Every public name that has a place in the reference, those of modules with their dot."""
    for names in sections().values():
        for name in names:
            yield name
            made = getattr(gnumba, name)
            if isinstance(made, ModuleType):
                yield from (f"{name}.{each}" for each in members(made))


def write(folder: Path) -> None:
    """Write the pages that differ, and remove those of names that are gone."""
    folder.mkdir(exist_ok=True)
    made = {f"{name}.rst": text for name, text in pages().items()}
    for path in folder.glob("*.rst"):
        if path.name not in made:
            path.unlink()
    for file, text in made.items():
        path = folder / file
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
