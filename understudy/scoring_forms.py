"""The four forms of MLflow's scoring protocol, as rows in the order of a signature.

`dataframe_split` has columns and data, `dataframe_records` a list of records; `inputs` is a column by its name, or
rows in signature order; `instances` are records, or such rows. Where MLflow would fill what is missing or drop what is
too much, this refuses: a model that silently answers to other columns than were sent is wrong, and nobody sees it.

Unlike pandas, nothing here guesses a type: what a value must be says the signature.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from understudy.errors import BadInput, BadRow
from understudy.foreign_rows import check_count, excerpt, read_json
from understudy.parity import Answer
from understudy.signature import Signature

Record = dict[str, Any]
Rows = list[Sequence[Any]]


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """What `DataFrame.to_dict(orient="split")` gives; the index says nothing to a model."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | msgspec.UnsetType = msgspec.UNSET


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """One of the four, and what MLflow calls parameters."""

    dataframe_split: Split | msgspec.UnsetType = msgspec.UNSET
    dataframe_records: list[Record] | msgspec.UnsetType = msgspec.UNSET
    inputs: list[Any] | dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    instances: list[Any] | msgspec.UnsetType = msgspec.UNSET
    params: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET


FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
ONE_OF = f"Send one of {', '.join(FORMS[:-1])} or {FORMS[-1]}; see /docs for an example."


def read(body: bytes, signature: Signature) -> Rows:
    """Rows of a request, values in signature order, not yet checked against its types.

    Raises BadInput where it is none of the forms, BadRow where a row has other columns than the signature, TooLarge.
    """
    asked = read_json(body, Body, form="MLflow's scoring protocol", remedy=ONE_OF)
    given = [name for name in FORMS if getattr(asked, name) is not msgspec.UNSET]
    if len(given) != 1:
        raise BadInput(f"The body holds {len(given)} of the known forms.", remedy=ONE_OF)
    if asked.params:
        raise BadInput("The models that are served here take no `params`.", remedy="Leave them out.")
    form = getattr(asked, given[0])
    if isinstance(form, Split):
        return _split(form, signature)
    if isinstance(form, dict):
        return _columns(form, signature)
    check_count(len(form))
    if given[0] == "dataframe_records" or isinstance(form[0], dict):
        return _records(form, signature)
    return _listed(form, signature)


def written(answer: Answer) -> bytes:
    """What MLflow's own server answers."""
    return msgspec.json.encode({"predictions": answer.predictions})


def _split(form: Split, signature: Signature) -> Rows:
    check_count(len(form.data))
    _check_names(form.columns, signature, row=None)
    places = [form.columns.index(name) for name in signature.names]
    _check_widths(form.data, len(places))
    if places == list(range(len(places))):
        return list(form.data)
    return [[row[i] for i in places] for row in form.data]


def _columns(form: Mapping[str, Any], signature: Signature) -> Rows:
    """A list of values, or one value in a list of its own, a column: {"x": [1, 2]} or {"x": [[1], [2]]}."""
    _check_names(list(form), signature, row=None)
    columns = [form[name] if isinstance(form[name], list) else [form[name]] for name in signature.names]
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise BadRow("The columns differ in length.", remedy="Send one value a row in each column.")
    check_count(max(lengths, default=0))
    return list(zip(*map(_flat, columns), strict=True))


def _flat(column: list[Any]) -> list[Any]:
    """A column of a tensor (n, 1) as its n values."""
    if all(isinstance(value, list) and len(value) == 1 for value in column):
        return [value[0] for value in column]
    return column


def _records(form: Sequence[Any], signature: Signature) -> Rows:
    names, expected = signature.names, frozenset(signature.names)
    rows: Rows = []
    for i, record in enumerate(form):
        if not isinstance(record, dict):
            raise BadRow(f"Row {i}: there should be a record.", remedy="Send records only, or rows of values only.")
        if record.keys() != expected:
            _check_names(list(record), signature, row=i)
        rows.append([record[name] for name in names])
    return rows


def _listed(form: Sequence[Any], signature: Signature) -> Rows:
    """Rows of values in signature order; plain values are rows of a model of one column."""
    width = len(signature.columns)
    if width == 1 and not any(isinstance(row, list) for row in form):
        return [[value] for value in form]
    _check_widths(form, width)
    return list(form)


def _check_widths(rows: Sequence[Any], width: int) -> None:
    wrong = next((i for i, row in enumerate(rows) if not isinstance(row, list) or len(row) != width), None)
    if wrong is not None:
        raise BadRow(f"Row {wrong}: there should be {width} values.", remedy="Send one value a column in each row.")


def _check_names(given: Sequence[str], signature: Signature, *, row: int | None) -> None:
    """Raises BadRow where a column is missing, unknown or given twice."""
    known, present = set(signature.names), set(given)
    missing = next((name for name in signature.names if name not in present), None)
    unknown = next((name for name in given if name not in known), None)
    if missing is not None:
        found = f"the column `{missing}` is missing"
    elif unknown is not None:
        found = f"there is no column `{excerpt(unknown)}`"
    elif len(given) > len(known):
        found = "a column is given twice"
    else:
        return
    listed = ", ".join(signature.names[:20]) + (", …" if len(signature.names) > 20 else "")
    where = "" if row is None else f"Row {row}: "
    problem = f"{where}{found}." if where else f"{found[0].upper()}{found[1:]}."
    raise BadRow(problem, remedy=f"Send exactly these columns: {listed}.")
