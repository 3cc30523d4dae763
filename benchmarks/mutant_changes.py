"""Small changes of modules, made by cosmic-ray's operators."""

from __future__ import annotations

import ast
import copy
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiedae.compress.errors import DataError


@dataclass(frozen=True)
class Change:
    """One change of a file: its whole changed source, and `what` it is, wherever the lines move to."""

    file: Path
    what: str
    source: str = field(repr=False)

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.file}\n{self.source}".encode()).hexdigest()[:16]


def files_of(root: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Modules, and those of folders, relative to `root`. Raises DataError for a name that is neither."""
    files: list[Path] = []
    for name in names:
        path = root / name
        found = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        if not found or not path.exists():
            raise DataError(f"{name}: not found, must be a module or a folder of modules")
        files += [file.relative_to(root) for file in found]
    return tuple(files)


def changes_of(root: Path, files: Sequence[Path], excluded: Sequence[str] = ()) -> list[Change]:
    """All changes that Python compiles to other code; `excluded`: expressions for names of operators."""
    return [change for file in files for change in _file_changes(root, file, excluded)]


def _file_changes(root: Path, file: Path, excluded: Sequence[str]) -> Iterator[Change]:
    source = (root / file).read_text("utf-8")
    seen, same = {_evaluated(source)}, Counter[str]()
    for changed in _sources(source, excluded):
        code = _evaluated(changed)
        if code and code not in seen:
            seen.add(code)
            what = f"{file} {_difference(source, changed)}"
            same[what] += 1
            yield Change(file, f"{what} ({same[what]})" if same[what] > 1 else what, changed)


def _sources(source: str, excluded: Sequence[str]) -> Iterator[str]:
    """What `cosmic_ray.mutating.mutate_code` gives for each operator and place; the tree is parsed once."""
    from cosmic_ray.ast import ast_nodes, get_ast  # pyright: ignore[reportMissingImports]
    from cosmic_ray.operators.exception_replacer import ExceptionReplacer  # pyright: ignore[reportMissingImports]
    from cosmic_ray.plugins import get_operator, operator_names  # pyright: ignore[reportMissingImports]

    names = [name for name in operator_names() if not any(re.match(expression, name) for expression in excluded)]
    operators = [get_operator(name)() for name in names if not get_operator(name).arguments()]
    starts = [0, *itertools.accumulate(map(len, source.splitlines(keepends=True)))]
    for node in ast_nodes(get_ast(source)):
        for operator in operators:
            for index, (start, end) in enumerate(operator.mutation_positions(node)):
                place = source[starts[start[0] - 1] + start[1] : starts[end[0] - 1] + end[1]]
                if isinstance(operator, ExceptionReplacer) and not place.isidentifier():
                    continue  # `except module.Error` and `except (*ERRORS, Error)`: it replaces names alone
                changed = operator.mutate(_copied(node), index)
                line, column = node.get_start_pos_of_prefix() if changed is None else node.start_pos
                code = "" if changed is None else changed.get_code(include_prefix=False)
                yield source[: starts[line - 1] + column] + code + source[starts[node.end_pos[0] - 1] + node.end_pos[1] :]


def _copied(node: Any) -> Any:
    """A node of a tree and what is below it, with the same parent."""
    parent, node.parent = node.parent, None
    copied = copy.deepcopy(node)
    node.parent = copied.parent = parent
    return copied


class _Unannotated(ast.NodeTransformer):
    """Leaves out annotations in modules, dataclasses and functions, which `from __future__ import annotations` never evaluates,
    and whether an argument may be given by position or by name."""

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._unannotated(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        values = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
        return self._unannotated(node) if values else self.generic_visit(node)

    def _unannotated(self, node: ast.Module | ast.ClassDef) -> ast.AST:
        for part in node.body:
            if isinstance(part, ast.AnnAssign):
                part.annotation = ast.Constant("")
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        given = node.args
        given.args = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        given.defaults = [*given.defaults, *(default or ast.Constant(...) for default in given.kw_defaults)]
        given.posonlyargs, given.kwonlyargs, given.kw_defaults = [], [], []
        for part in ast.walk(node):
            if isinstance(part, ast.arg):
                part.annotation = None
            elif isinstance(part, ast.AnnAssign):
                part.annotation = ast.Constant("")
        return self.generic_visit(node)


def _evaluated(source: str) -> str:
    """The code without what is never evaluated; empty where Python does not compile it."""
    try:
        compile(source, "changed", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return ""
    tree = ast.parse(source)
    return ast.dump(_Unannotated().visit(tree) if "from __future__ import annotations" in source else tree)


def _difference(old: str, new: str) -> str:
    """`function: line`, in which the change is ⟦old → new⟧."""
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    head -= _token_length(old[:head][::-1])
    tail -= _token_length(old[len(old) - tail :])
    ends = len(old) - tail, len(new) - tail
    start, end = old.rfind("\n", 0, head) + 1, old.find("\n", ends[0])
    line = f"{old[start:head]}⟦{old[head : ends[0]].strip()} → {new[head : ends[1]].strip()}⟧{old[ends[0] : end]}"
    number = old.count("\n", 0, head) + 1
    return f"{_definition(old, number)}: {' '.join(line.split())}"


def _shared(one: str, other: str) -> int:
    """The length of the common prefix."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _token_length(text: str) -> int:
    """Of the word, number or operator that the text begins with."""
    found = re.match(r"[\w.]+|[-+*/%@&|^~<>=!]+", text)
    return len(found[0]) if found else 0


def _definition(source: str, line: int) -> str:
    """The dotted name of the class or function around a line; `module` outside."""
    names, nodes = [], ast.parse(source).body
    while inner := [
        n for n in nodes if isinstance(n, ast.ClassDef | ast.FunctionDef) and _first(n) <= line <= (n.end_lineno or 0)
    ]:
        names.append(inner[0].name)
        nodes = [node for node in ast.walk(inner[0]) if node is not inner[0]]
    return ".".join(names) or "module"


def _first(node: ast.ClassDef | ast.FunctionDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def definition_lines(source: str, change: Change) -> range:
    """The lines of the function that a change of `source` is in; those of the whole file outside of functions."""
    changed = change.source.splitlines()
    lines = source.splitlines()
    number = next((i for i, (a, b) in enumerate(zip(lines, changed, strict=False), 1) if a != b), len(lines))
    found = [
        range(_first(node), (node.end_lineno or 0) + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and _first(node) <= number <= (node.end_lineno or 0)
    ]
    return max(found, key=len, default=range(1, len(lines) + 1))
