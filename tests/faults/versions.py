"""Versions that tell which they are: number k answers x + k, in a few kilobytes of ONNX written by hand."""

from functools import cache

from onnx import helper

from tests.bundles import by_hand, number, onnx_of
from understudy.adapters.bundle import Golden
from understudy.signature import Value

GOLDEN_ROWS = (1.0, 2.0, 5.0)


@cache
def bundle(k: int) -> bytes:
    """The bundle of version k of `rain`; the same bytes each time."""
    add = helper.make_node("Add", ["numbers", "k"], ["out"])
    rows: list[list[Value]] = [[x] for x in GOLDEN_ROWS]
    golden = Golden(rows, [x + k for x in GOLDEN_ROWS], None, 1.0)
    return by_hand({"model.onnx": onnx_of([add], constants=[number(float(k), "k")])}, golden=golden, model="rain")


DEFINITION = {
    "definition": {
        "name": "rain",
        "description": "x + k, for version k",
        "target": "y",
        "schedule": {"every_s": 86_400},
        "promotion": {"mode": "propose"},
        "ranges": {},
    },
    "source": {"rain.py": "# promoted by hand"},
}
