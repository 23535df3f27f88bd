"""Sphinx: how the pages are made. ``python tools/docs.py`` makes them."""

import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "examples")]

import peers  # noqa: E402
import reference  # noqa: E402

import gnumba  # noqa: E402

reference.write(HERE / "reference")
peers.write(HERE / "coming_from" / "tables")

project = "gnumba"
author = "the gnumba developers"
copyright = author
version = release = gnumba.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
suppress_warnings = ["toc.empty_glob"]
exclude_patterns = ["_build", "gallery"]
nitpicky = False
rst_prolog = ".. currentmodule:: gnumba\n"
default_role = "py:obj"  # as docstrings write names: a link where there is a page

autodoc_typehints = "none"  # the docstrings say what is taken, in words
autodoc_member_order = "bysource"
add_module_names = False
toc_object_entries = False
python_use_unqualified_type_names = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# MathJax from a package, drawn as SVG: one file, no fonts to fetch, pages open without a network.
mathjax = Path(find_spec("sphinx-mathjax-offline").submodule_search_locations[0]) / "static" / "mathjax"
mathjax_path = "tex-svg.js"
html_static_path = ["_static", str(mathjax / mathjax_path)]
mathjax3_config = {"svg": {"fontCache": "global"}, "options": {"enableMenu": False}}

html_theme = "pydata_sphinx_theme"
html_title = "gnumba"
html_favicon = "_static/icon.svg"
html_context = {"default_mode": "auto"}
html_css_files = ["gnumba.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
    "search_bar_text": "Search",
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {page: [] for page in ("index", "own", "how_it_works", "lab", "search", "genindex")}


def escape_bars(app, what, name, made, options, lines):
    """|x| in a docstring is an absolute value; to reStructuredText it would be a substitution."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("``")
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            lines[i] = "``".join(parts)


def setup(app):
    app.connect("autodoc-process-docstring", escape_bars, priority=100)  # before napoleon


copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

SECTIONS = "start", "paths", "choosing", "activations", "measured"
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"plot_",
    "within_subsection_order": "FileNameSortKey",
    "subsection_order": [f"gallery/{each}" for each in SECTIONS],
    "nested_sections": False,
    "reset_modules": ("gallery_setup.reset",),
    "capture_repr": ("_repr_html_",),
    "image_srcset": ["2x"],
    "min_reported_time": 0,
    "show_memory": False,
    "write_computation_times": False,  # pages that fetch jQuery
    "show_signature": False,
    "download_all_examples": False,
    "only_warn_on_example_error": True,
    "plot_gallery": True,
}
