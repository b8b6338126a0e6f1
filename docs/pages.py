"""What the site needs besides Sphinx: docstrings as they are written here, the public names of a module, pictures of lessons, formulas."""
import importlib
import inspect
import os
import re
import shutil
import sys
import textwrap
from types import ModuleType

from docutils import nodes
from docutils.statemachine import StringList
from docutils.utils.math import latex2mathml
from sphinx.util.docutils import SphinxDirective

OPTIONS = []  # with which lessons run; conf.py knows them
SECTIONS = ("Args", "Raises", "Returns", "Attributes", "Yields")


def setup(app):
    app.add_directive("public", Public)
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))
    app.connect("autodoc-process-docstring", lambda app, what, name, thing, options, lines: lines.__setitem__(slice(None), to_rst(lines)))
    app.connect("source-read", without_paths)
    return {"parallel_read_safe": True}


# Docstrings are plain text with `code`, indented formulas, and sections such as "Args:".

def to_rst(lines):
    """The lines of a docstring as reStructuredText that says the same."""
    rst = []
    for block in re.split(r"\n\s*\n", textwrap.dedent("\n".join(lines)).strip("\n")):
        for part in _parts(block.split("\n")):
            if part[0].rstrip(":") in SECTIONS:
                rst += [f"**{part[0].rstrip(':')}**", "", *_entries(part[1:])]
            elif part[0][:1] == " " or part[0].startswith(">>>") or re.search(r"\S {3,}\S", "".join(part)):
                rst += ["::", "", *textwrap.indent(textwrap.dedent("\n".join(part)), "    ").split("\n"), ""]
            elif re.match(r"[-*] ", part[0]):
                rst += [*("* " + _inline(entry) for entry in re.split(r"\n[-*] ", "\n".join(part)[2:])), ""]
            else:
                rst += [_inline("\n".join(part)), ""]
    return "\n".join(rst).split("\n")


def _parts(lines):
    """A block cut where the indentation begins or ends; a section keeps its indented lines."""
    parts = []
    for line in lines:
        inside = parts and (line[:1] == " ") == (parts[-1][-1][:1] == " ")
        if parts and (inside or parts[-1][0].rstrip(":") in SECTIONS and line[:1] == " "):
            parts[-1].append(line)
        else:
            parts.append([line])
    return parts


def _entries(lines):
    """The entries of a section as a list; what is indented further goes on with the entry before it."""
    entries = []
    for line in textwrap.dedent("\n".join(lines)).split("\n"):
        if line.startswith(" ") and entries:
            entries[-1] += " " + line.strip()
        else:
            entries.append(line)
    return [text for entry in entries for text in ("* " + _inline(entry), "")]


def _inline(text):
    """One paragraph: `code` as code, all else as it stands."""
    text = " ".join(text.split())
    pieces = re.split(r"`+([^`]+)`+", text)
    plain = (re.sub(r"([\\*|_`])", r"\\\1", piece) for piece in pieces[::2])
    joined = next(plain)
    for code, after in zip(pieces[1::2], plain):
        joined += "\\ " * joined[-1:].isalnum() + f"``{code}``" + "\\ " * after[:1].isalnum() + after
    return re.sub(r"^([-+•—]|\w{1,3}[.)]) ", r"\\\1 ", joined)  # a sentence, and no list


class Public(SphinxDirective):
    """`.. public:: minitx.nn`: what the module says of itself, then each of its names, grouped by where it is written.

    `:own:` for only what is written in the module itself.
    """

    required_arguments, option_spec = 1, {"own": lambda argument: True}

    def run(self):
        module = importlib.import_module(self.arguments[0])
        groups = {}
        for name in getattr(module, "__all__", vars(module)):
            thing = getattr(module, name)
            home = getattr(thing, "__module__", None) or ""  # SciPy's functions have none
            documented = callable(thing) and getattr(thing, "__doc__", None) and not isinstance(thing, ModuleType)
            if not name.startswith("_") and documented and home.startswith("minitx" if "own" not in self.options else module.__name__):
                groups.setdefault(home, []).append(name)
        rst = to_rst((module.__doc__ or "").split("\n"))
        for home, names in groups.items():
            if home != module.__name__:
                rst += ["", f".. rubric:: {home}", "", *to_rst((sys.modules[home].__doc__ or "").split("\n")[:1])]
            for name in names:
                thing = getattr(module, name)
                kind = "autoclass" if inspect.isclass(thing) else "autofunction"
                rst += ["", f".. {kind}:: {module.__name__}.{name}"] + ["   :members:"] * (kind == "autoclass")
        return self.parse_text_to_nodes(StringList(rst, self.arguments[0]))


# Lessons, as sphinx-gallery runs them

def options(gallery_conf, script):
    """The command line of a lesson."""
    return OPTIONS


def _get_sg_image_scraper():
    return pictures


def pictures(block, block_vars, gallery_conf):
    """The pictures that a cell has saved with `lesson.picture`, with their captions."""
    taken, rst = sys.modules["lesson"].PICTURES if "lesson" in sys.modules else [], []
    for path, caption in taken:
        place = next(block_vars["image_path_iterator"])
        shutil.copyfile(path, place)
        source = os.path.relpath(place, gallery_conf["src_dir"]).replace(os.sep, "/")
        rst += [f".. figure:: /{source}", f"   :alt: {caption}", "", f"   {_inline(caption)}", ""]
    taken.clear()
    return "\n".join(rst)


def without_paths(app, docname, content):
    """A page shows the picture, so it need not print where the file went."""
    if docname.startswith("lessons/"):
        text = re.sub(r"^ +picture +\| .*\n(?: +\| .*\n)*(?:\s*\n)?", "", content[0], flags=re.M)
        content[0] = re.sub(r"^\.\. rst-class:: sphx-glr-script-out\n\s*\.\. code-block:: none\n\s*\n(?=\S)", "", text, flags=re.M)


def formula(writer, node):
    """A formula as MathML, which browsers draw without any script."""
    block = isinstance(node, nodes.math_block)
    writer.body.append(latex2mathml.tex2mathml(node.astext(), as_block=block))
    raise nodes.SkipNode
