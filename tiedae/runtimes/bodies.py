"""Finds which bodies of control flow a run enters: the branches of `If`, and the bodies of loops."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiedae.export.tflite.graph import TfliteGraph, name_of
from tiedae.export.tflite.schema import Op, unpack_model

from .ort import Unoptimized
from .session import Values


class OnnxBodies:
    """An .onnx file; the outputs of a call are True or False for each nested graph, by its path.

    A copy of the model has a name for each node; ONNX Runtime's profile, without optimizations, lists those that ran.
    """

    def __init__(self, path: Path) -> None:
        self.provider = "CPUExecutionProvider"
        self._path = path
        self._bodies, self._copy = _marked(path)

    def call(self, signature: str, inputs: Values) -> Values:
        with tempfile.TemporaryDirectory() as folder:
            session = Unoptimized(self._path, self._copy, profile=f"{folder}/profile")
            session.call(signature, inputs)
            events = json.loads(session.end_profile().read_text(encoding="utf-8"))
        ran = {int(found[1]) for event in events if (found := _MARK.search(event["name"]))}
        return {name: np.array(i in ran) for i, name in self._bodies.items()}


_MARK = re.compile(r"tiedae_body(\d+)_\d+")


def _marked(path: Path) -> tuple[dict[int, str], bytes]:
    """(path of each nested graph by its number, a copy of the model whose nodes have the number of their graph as name)."""
    import onnx
    from onnx import helper

    from tiedae.export.onnx.scopes import bodies, kind

    model = onnx.load(path, load_external_data=False)
    names: dict[int, str] = {}
    nested = [(i, proto, prefix) for i, (proto, prefix, _, _) in enumerate(bodies(model)) if prefix.endswith("/")]
    for i, proto, prefix in nested:
        if isinstance(proto, onnx.FunctionProto):
            continue
        names[i] = prefix.rstrip("/")
        if all(kind(node) == "Constant" for node in proto.node):
            result = f"tiedae_output{i}"
            proto.node.append(helper.make_node("Identity", [proto.output[0].name], [result]))
            proto.output[0].name = result
        for at, node in enumerate(proto.node):
            node.name = f"tiedae_body{i}_{at}"
    return names, model.SerializeToString()


@dataclass(frozen=True, eq=False)
class _If:
    """An IF: its subgraph, the tensor of its condition, and the subgraphs of its branches by the condition."""

    subgraph: int
    condition: int
    name: str
    branches: Mapping[bool, int]

    @property
    def chooses(self) -> bool:
        """Whether it has two branches: ours run one subgraph either way, which is a call."""
        return len(set(self.branches.values())) > 1

    @property
    def place(self) -> tuple[int, int]:
        return self.subgraph, self.condition

    def branch(self, taken: bool) -> str:
        return f"{self.name}/{'then' if taken else 'else'}"


class TfliteBodies:
    """A .tflite file; the outputs of a call are True or False for each branch of an IF, by the first output of its operator.

    The branch follows from the condition, which the reference kernels keep.
    """

    def __init__(self, path: Path) -> None:
        from .litert import LiteRTSession

        model = unpack_model(path.read_bytes())
        graphs = [TfliteGraph(model, table) for table in model.subgraphs]
        self._ifs = [found for i, graph in enumerate(graphs) for found in _ifs(i, graph)]
        self._starts = {each.signatureKey.decode(): each.subgraphIndex for each in model.signatureDefs or []}
        self._session = LiteRTSession("litert-reference", {"": path})
        self.provider = self._session.provider

    def call(self, signature: str, inputs: Values) -> Values:
        conditions = self._session.kept(signature, inputs, [each.place for each in self._ifs])
        entered = set(self._entered(self._starts.get(signature, 0), conditions))
        choices = ((each, taken) for each in self._ifs if each.chooses for taken in (True, False))
        return {each.branch(taken): np.array((each, taken) in entered) for each, taken in choices}

    def _entered(self, subgraph: int, conditions: Mapping[tuple[int, int], np.ndarray]) -> Iterator[tuple[_If, bool]]:
        """The branches that the last run entered: of the IFs of a subgraph that ran, and of those inside."""
        for each in self._ifs:
            if each.subgraph == subgraph and each.place in conditions:
                taken = bool(conditions[each.place].item())
                yield each, taken
                yield from self._entered(each.branches[taken], conditions)


def _ifs(subgraph: int, graph: TfliteGraph) -> Iterator[_If]:
    for operator in graph.table.operators or []:
        if graph.code(operator) == Op.IF:
            options = operator.builtinOptions
            branches = {True: options.thenSubgraphIndex, False: options.elseSubgraphIndex}
            yield _If(subgraph, int(operator.inputs[0]), name_of(graph.tensor(int(operator.outputs[0]))), branches)
