"""What an ONNX file must not contain.

ONNX can name other files for its tensors, and libraries have followed such names out of their folder again and again,
each time by a kind of tensor that a check had forgotten. So this walks every message of the file by reflection,
whatever its kind.

ONNX can also compute for ever, or ask for any amount of memory, for some rows and not for others. A trial would not
notice. So the operators are a list, without loops, branches and functions, and no size may come from the values of a
row: what a request costs then depends on how many rows it has, and on nothing else that a trial has not seen.

Imports onnx: run it in the trial's child, not in the API.
"""

from collections.abc import Iterator
from typing import Any

from understudy.errors import BundleRefused

#: Operators that we serve: what the converter makes of scikit-learn's models, by their domain.
_ARITHMETIC = (
    "Abs Add Ceil Clip Cos Div Erf Exp Floor Log Max Mean Min Mod Mul Neg Pow Reciprocal Round Sign Sin Sqrt Sub Sum"
)
_LOGIC = "And Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Not Or Where Xor"
_ACTIVATIONS = "LogSoftmax Relu Sigmoid Softmax Softplus Tanh"
_SUMMARIES = "ArgMax ArgMin CumSum LpNormalization TopK"
_REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"
_SHAPES = (
    "Cast CastLike Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements Identity Reshape "
    "ScatterElements Shape Size Slice Split Squeeze Tile Transpose Unsqueeze"
)
_ENCODERS = "ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LabelEncoder Normalizer OneHotEncoder Scaler"
_MODELS = (
    "LinearClassifier LinearRegressor SVMClassifier SVMRegressor TreeEnsemble TreeEnsembleClassifier "
    "TreeEnsembleRegressor"
)
_ONNX = frozenset(
    {
        *f"{_ARITHMETIC} {_LOGIC} {_ACTIVATIONS} {_SUMMARIES} {_SHAPES} Gemm MatMul".split(),
        *(f"Reduce{name}" for name in _REDUCTIONS.split()),
    }
)
OPERATORS = {"": _ONNX, "ai.onnx": _ONNX, "ai.onnx.ml": frozenset(f"{_ENCODERS} {_MODELS}".split())}

#: Operators with inputs that say how large the output is: the number is that of the first one.
SIZED_BY = {
    "ConstantOfShape": 0,
    "Expand": 1,
    "Reshape": 1,
    "Slice": 1,
    "Split": 1,
    "Squeeze": 1,
    "Tile": 1,
    "TopK": 1,
    "Unsqueeze": 1,
    **{f"Reduce{name}": 1 for name in _REDUCTIONS.split()},
}

#: What starts a file in ONNX Runtime's own format, at byte 4; it would be loaded without any of these checks.
OWN_FORMAT = b"ORTM"
MAX_NODES = 50_000


def check_onnx(data: bytes) -> None:
    """Raises BundleRefused for external data, operators that are not served, and what is no ONNX at all."""
    import onnx

    if data[4:8] == OWN_FORMAT:
        raise _refused("is in another format than ONNX")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        messages = list(_messages(model))
        for message in messages:
            _check_message(message)
        for message in messages:
            _check_operator(message, model.graph)
        onnx.checker.check_model(model)
        _check_sizes(model.graph)
    except BundleRefused:
        raise
    except Exception as error:
        raise BundleRefused("The ONNX form is damaged or breaks ONNX's own rules.", remedy=REMEDY) from error


def _messages(message: Any) -> Iterator[Any]:
    waiting = [message]
    while waiting:
        current = waiting.pop()
        yield current
        for field, value in current.ListFields():
            if field.type == field.TYPE_MESSAGE:
                waiting.extend(_values(field, value))


def _values(field: Any, value: Any) -> list[Any]:
    if not field.is_repeated:
        return [value]
    if field.message_type.GetOptions().map_entry:
        return [item for item in value.values() if hasattr(item, "ListFields")]
    return list(value)


def _check_message(message: Any) -> None:
    from google.protobuf.unknown_fields import UnknownFieldSet

    kind = message.DESCRIPTOR.name
    if kind == "TensorProto" and (message.external_data or message.data_location):
        raise _refused("wants to read its data from another file")
    if kind in ("NodeProto", "OperatorSetIdProto", "FunctionProto") and message.domain not in OPERATORS:
        raise _refused("uses operators that are not ONNX's own")
    if kind == "TrainingInfoProto":
        raise _refused("holds parts for training")
    if len(UnknownFieldSet(message)):  # ONNX Runtime may know what we do not
        raise _refused("holds fields that are not known here")


def _check_operator(message: Any, graph: Any) -> None:
    kind = message.DESCRIPTOR.name
    if kind == "NodeProto" and message.op_type not in OPERATORS[message.domain]:
        raise _refused(f"uses the operator {message.op_type[:40]!a}, which is not served")
    if kind == "FunctionProto" or (kind == "GraphProto" and message is not graph):
        raise _refused("holds graphs within its graph")
    if kind == "GraphProto" and len(message.node) > MAX_NODES:
        raise _refused(f"has more than {MAX_NODES} nodes")


def _check_sizes(graph: Any) -> None:
    """Follow what depends on the values of a row from node to node; nodes stand in the order of their use."""
    by_row = {given.name for given in graph.input}
    for node in graph.node:
        sizes = node.input[SIZED_BY.get(node.op_type, len(node.input)) :]
        if by_row.intersection(sizes):
            raise _refused("takes a size from the values of a row")
        if node.op_type not in ("Shape", "Size") and by_row.intersection(node.input):
            by_row.update(node.output)


def _refused(what: str) -> BundleRefused:
    return BundleRefused(f"The ONNX form {what}.", remedy=REMEDY)


REMEDY = "Convert the model again with skl2onnx, in one file and with the operators of ONNX and ai.onnx.ml only."
