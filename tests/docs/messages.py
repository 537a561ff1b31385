"""What the package says: every text in its source, to hold quotations in the docs against."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "airflow_provider_crm"
#: Stands where the source puts a value in.
VALUE = "\0"


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%(\.\d)?[sdrf]", VALUE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or VALUE for part in node.values)
    return None


@cache
def messages() -> frozenset[str]:
    """Return every text of the package, but those of the sandbox."""
    return frozenset(
        text
        for path in PACKAGE.rglob("*.py")
        if "sandbox" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if (text := _text(node))
    )


@cache
def names() -> frozenset[str]:
    """Return the names of the package's classes."""
    return frozenset(
        node.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )


def is_said(quotation: str) -> bool:
    """Return whether one text of the source has what is quoted, in which ``...`` stands for values."""
    parts = [part for piece in quotation.split("...") if len(part := piece.strip()) > 1]
    pattern = ".*".join(map(re.escape, parts))
    return bool(parts) and any(re.search(pattern, text, re.DOTALL) for text in messages())


def quotations(markdown: str, heading: str) -> Iterator[str]:
    """Return what stands as code in the first column of the tables below a heading."""
    _, _, below = markdown.partition(f"\n## {heading}\n")
    for row in re.findall(r"^\| (.+?) \|", re.split(r"^## ", below, flags=re.MULTILINE)[0], re.MULTILINE):
        for one, two in re.findall(r"``(.+?)``(?!`)|`([^`]+)`", row):
            yield (one or two).strip()
