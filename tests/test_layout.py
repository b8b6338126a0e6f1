"""The house as the README draws it: imports run one way, and every file is short enough to be read at one sitting."""
import ast
import io
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "minitx"
FILES = sorted(PACKAGE.rglob("*.py"))

# Lower floors know nothing of those above. data and plots stand beside and import nothing of the engine.
FLOORS = ["kernels", "autograd", "optim", "nn", "models", "run_folder", "decoding", "training", "bench", "cli"]
BESIDE = {"data", "errors", "hooks", "settings", "presets", "diagrams", "plots", "console", "silent"}


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path):
    """First-level parts of minitx that a file imports, anywhere in it."""
    parts = ("minitx", *path.relative_to(PACKAGE).with_suffix("").parts)
    package = parts if path.name == "__init__.py" else parts[:-1]
    package = package[:-1] if path.name == "__init__.py" else package
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            names = [module] if len(module) > 1 else [(*module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            continue
        yield from (name[1] for name in names if name[0] == "minitx" and len(name) > 1)


def code_lines(path):
    """Lines with code on them: without blank lines, comments and docstrings."""
    source = path.read_text(encoding="utf-8")
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            docstrings |= set(range(body[0].lineno, body[0].end_lineno + 1))
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines = {line for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in silent
             for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - docstrings)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    here = room(path)
    for there in imported_rooms(path):
        if here in FLOORS and there in FLOORS:
            assert FLOORS.index(there) <= FLOORS.index(here), f"{here} imports {there}"
        if here in BESIDE:
            assert there in BESIDE, f"{here} imports {there}"
        if here == "kernels":
            assert there == "kernels", f"kernels know of arrays only, not of {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_short(path):
    limit = {"kernels": 250, "models": 300, "training": 300, "decoding": 300}.get(room(path), 400)
    assert code_lines(path) < limit


def test_the_engine_is_small():
    assert sum(code_lines(path) for path in FILES if room(path) == "autograd") < 1800
