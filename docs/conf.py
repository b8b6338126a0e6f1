"""How the site is built: pip install -e '.[docs]', then one of

    python -m sphinx -W docs site                  # with the lessons in their short form
    python -m sphinx -W -t full docs site          # with the lessons as they are, which takes a while longer
"""
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = map(str, (DOCS, DOCS.parent, DOCS.parent / "examples"))

import minitx  # noqa: E402
import pages  # noqa: E402

project, author, copyright = "minitx", "minitx contributors", "minitx contributors"
version = release = minitx.__version__
extensions = ["sphinx.ext.autodoc", "sphinx_gallery.gen_gallery", "pages"]
exclude_patterns = ["lessons/*.md5", "lessons/*.py"]
html_theme, html_title, html_math_renderer = "furo", "minitx", "mathml"
html_static_path, html_css_files = ["site.css"], ["site.css"]
html_copy_source = html_show_sphinx = False
autodoc_typehints, autodoc_member_order = "none", "bysource"
pygments_style = "friendly"

_drawn = tempfile.TemporaryDirectory()  # where lessons leave their pictures, which the pages take from there
pages.OPTIONS = ["--out", _drawn.name] + ([] if tags.has("full") else ["--quick"])  # noqa: F821: Sphinx puts it there

sphinx_gallery_conf = {
    "examples_dirs": "../examples", "gallery_dirs": "lessons",
    "filename_pattern": r"/\d\d_", "ignore_pattern": r"^(?!\d\d_)", "within_subsection_order": "FileNameSortKey",
    "reset_argv": "pages.options", "image_scrapers": ("pages",), "matplotlib_animations": False,
    "notebook_extensions": set(), "download_all_examples": False, "show_memory": False, "show_signature": False,
    "min_reported_time": 1e9, "write_computation_times": False, "remove_config_comments": True, "only_warn_on_example_error": False,
}
