"""The package's docstrings as Markdown: they are written for Sphinx, the site is built by MkDocs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe
from markdown.extensions.toc import slugify

ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`(~?)([\w.]+)`")
SEE_ALSO = re.compile(r"^\.\. seealso:: ", re.MULTILINE)
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


def to_markdown(text: str) -> str:
    """Return a docstring, or a part of one, as Markdown."""
    text = PAGE.sub(_page, ROLE.sub(_link, text))
    return LITERAL.sub(r"`\1`", SEE_ALSO.sub("See also: ", text))


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
