"""The package's docstrings as Markdown: they are written for Sphinx, the site is built by MkDocs."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import griffe
from markdown.extensions.toc import slugify

ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`(~?)([\w.]+)`")
SEE_ALSO = re.compile(r"^\.\. seealso:: ", re.MULTILINE)
CODE = re.compile(r"^\.\. code-block:: (\w+)\n\n((?: {4}.*\n?|\n(?= {4}))+)", re.MULTILINE)
PAGE = re.compile(r"``docs/([\w/-]+\.md)``")
FIELD = re.compile(r"^:\w+[^:]*:", re.MULTILINE)
LITERAL = re.compile(r"``([^`]+)``")


def _link(role: re.Match[str]) -> str:
    short, target = role.groups()
    shown = target.rpartition(".")[2] if short else target
    # Optional: what is not in the reference is named without a link.
    return f'<autoref identifier="{target}" optional><code>{shown}</code></autoref>'


def _page(found: re.Match[str]) -> str:
    title = Path(__file__).parents[1].joinpath(found[1]).read_text().partition("\n")[0].removeprefix("# ")
    return f'<autoref identifier="{slugify(title, "-")}">{title}</autoref>'


def _fence(found: re.Match[str]) -> str:
    return f"```{found[1]}\n{dedent(found[2]).rstrip()}\n```\n"


def to_markdown(text: str) -> str:
    """Return a docstring, or a part of one, as Markdown."""
    text = PAGE.sub(_page, ROLE.sub(_link, text))
    return LITERAL.sub(r"`\1`", SEE_ALSO.sub("See also: ", CODE.sub(_fence, text)))


def fields_last(text: str) -> str:
    """Return a docstring with what stands after its fields, such as ``:param ...:``, before them.

    Griffe takes it for a part of the last one otherwise.
    """
    paragraphs = re.split(r"\n\s*\n", text)
    return "\n\n".join(sorted(paragraphs, key=lambda paragraph: bool(FIELD.match(paragraph))))


class SphinxToMarkdown(griffe.Extension):
    """Turns each docstring into Markdown, once its object is read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Translate the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(fields_last(obj.docstring.value))

    def on_function_instance(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """Show what a parameter is, without how it is checked."""
        for parameter in func.parameters:
            parameter.annotation = _unchecked(parameter.annotation)


def _unchecked(annotation: Any) -> Any:
    """Return the type in an ``Annotated``."""
    match annotation:
        case griffe.ExprSubscript(
            left=griffe.ExprName(name="Annotated"), slice=griffe.ExprTuple(elements=[kind, *_])
        ):
            return _unchecked(kind)
        case griffe.ExprBinOp():
            annotation.left, annotation.right = map(_unchecked, (annotation.left, annotation.right))
    return annotation
