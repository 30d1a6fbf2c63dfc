"""The tree of errors in the docstring of errors.py is the tree in the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from gputel import errors

PACKAGE = Path(__file__).parents[2] / "gputel"
LINE = re.compile(r"^ {4}( *)([A-Z]\w+)(?: (\d{3}))?", re.MULTILINE)
Tree = dict[str, tuple[str, str]]
"""By name: the parent, and the HTTP status or "" if it is the parent's."""


def tree_of_the_docstring() -> Tree:
    found: Tree = {}
    parents: list[str] = []
    for indent, name, status in LINE.findall(errors.__doc__ or ""):
        parents[len(indent) // 2 :] = [name]
        found[name] = (parents[-2] if len(parents) > 1 else "Exception", status)
    return found


def tree_of_the_code() -> Tree:
    classes: Tree = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.bases:
                classes[node.name] = (ast.unparse(node.bases[0]), status_of(node))
    found: Tree = {"GputelError": ("Exception", "")}
    while True:
        more = {name: tree for name, tree in classes.items() if tree[0] in found} | found
        if more == found:
            return found
        found = more


def status_of(node: ast.ClassDef) -> str:
    for statement in node.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "status":
            return ast.unparse(statement.value)
    return ""


def test_the_docstring_names_every_error_its_parent_and_its_status() -> None:
    assert tree_of_the_docstring() == tree_of_the_code()


def test_the_docstring_says_which_errors_can_be_retried() -> None:
    said = re.findall(r"^ +([A-Z]\w+).*\(retried\)$", errors.__doc__ or "", re.MULTILINE)
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    retriable = [each.__name__ for each in classes if vars(each).get("retriable") is True]
    assert sorted(said) == sorted(retriable)
