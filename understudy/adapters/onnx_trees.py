"""What the converter leaves out of decision trees, put right in the ONNX model that it made.

Nulls. Each node of a tree has a side to which a null goes. The converter writes it for histogram boosting only, and a
forest would send all nulls to the right.

Thresholds of histogram boosting. scikit-learn compares in float64, ONNX in float32, and a threshold is often a value
that people send: between 35.8 and 35.9 lies 35.85. All float64 numbers near it become one float32 number, which must
go where the shortest of them goes, for that is the one that was written down. (Forests compare in float32 themselves.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from understudy.adapters.estimators import parts_of

SHAPE = ("nodes_treeids", "nodes_truenodeids", "nodes_falsenodeids", "nodes_featureids")

Shape = tuple[tuple[int, int, int], ...]
"""Left child, right child and feature of each node; zeros for a leaf."""


@dataclass(frozen=True)
class _Tree:
    shape: Shape
    leftward: list[int]
    """1 for each node that sends nulls to the left."""
    thresholds: list[float] | None
    """In float32; None: those of the converter are right."""


def mend_trees(onnx: Any, model: Any) -> None:
    """Change an ONNX model in place, by the fitted estimator that it was converted from."""
    ensembles = {tuple(tree.shape for tree in trees): trees for trees in _ensembles(model)}
    for node in onnx.graph.node:
        if node.op_type in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
            attributes = {attribute.name: attribute for attribute in node.attribute}
            trees = ensembles.get(_shapes(attributes))
            if trees is not None:  # else parity will tell whether it matters
                _mend(attributes, trees)


def _shapes(attributes: dict[str, Any]) -> tuple[Shape, ...]:
    rows = zip(*(attributes[name].ints for name in SHAPE), strict=True)
    return tuple(tuple(row[1:] for row in tree) for _, tree in groupby(rows, key=itemgetter(0)))


def _mend(attributes: dict[str, Any], trees: Sequence[_Tree]) -> None:
    _replace(attributes["nodes_missing_value_tracks_true"].ints, [mark for tree in trees for mark in tree.leftward])
    thresholds = [tree.thresholds for tree in trees if tree.thresholds is not None]
    if thresholds:
        _replace(attributes["nodes_values"].floats, [value for tree in thresholds for value in tree])


def _replace(repeated: Any, values: list[Any]) -> None:
    assert len(repeated) == len(values)
    del repeated[:]
    repeated.extend(values)


def _ensembles(model: Any) -> Iterator[list[_Tree]]:
    for part in parts_of(model):
        estimators = getattr(part, "estimators_", None)
        if hasattr(part, "_predictors"):
            yield [_boosted(predictor.nodes) for predictors in part._predictors for predictor in predictors]
        elif isinstance(estimators, list) and all(hasattr(estimator, "tree_") for estimator in estimators):
            yield [_grown(estimator.tree_.__getstate__()["nodes"]) for estimator in estimators]
        elif hasattr(part, "tree_"):
            yield [_grown(part.tree_.__getstate__()["nodes"])]


def _grown(nodes: Any) -> _Tree:
    """A tree of a forest."""
    branch = nodes["left_child"] >= 0
    return _Tree(_shape(nodes, branch, ("left_child", "right_child", "feature")), _leftward(nodes, branch), None)


def _boosted(nodes: Any) -> _Tree:
    """A tree of histogram boosting."""
    branch = nodes["is_leaf"] == 0
    thresholds = [
        as_float32(value) if inside else 0.0 for value, inside in zip(nodes["num_threshold"], branch, strict=True)
    ]
    return _Tree(_shape(nodes, branch, ("left", "right", "feature_idx")), _leftward(nodes, branch), thresholds)


def _shape(nodes: Any, branch: Any, fields: tuple[str, str, str]) -> Shape:
    return tuple(zip(*(np.where(branch, nodes[field], 0).tolist() for field in fields), strict=True))


def _leftward(nodes: Any, branch: Any) -> list[int]:
    return [int(mark) for mark in np.where(branch, nodes["missing_go_to_left"], 0)]


def as_float32(threshold: float) -> float:
    """The float32 threshold that parts numbers as this float64 one does, if they are written with up to 7 digits."""
    nearest = np.float32(threshold)
    shortest = float(str(nearest))
    return float(nearest if shortest <= threshold else np.nextafter(nearest, np.float32(-np.inf)))
