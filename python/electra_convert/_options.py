"""Options of functions as options of the program."""

from ._errors import UsageError

# NumPy's and PyTorch's names of the element types, beside the program's.
_DTYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def dtype(value):
    """Returns the program's name of an element type."""
    return _DTYPES.get(value, value)


def _boolean(value):
    return None if value is None else str(bool(value)).lower()


def _labels(value):
    if value is None:
        return None
    if isinstance(value, str):
        raise TypeError("labels must be a list of names, not a string")
    for label in value:
        if "," in label:
            raise UsageError(f"the label {label!r} contains a comma, which separates labels")
    return ",".join(value)


def _language(value):
    if isinstance(value, str):
        raise TypeError('language must be a list of codes such as ["en"], not a string')
    return None if value is None else list(value)


def _rename(value):
    if isinstance(value, str):
        raise TypeError('rename must be a list of "REGEX=REPLACEMENT" strings, not a string')
    return list(value)


def _vocab(value):
    return "none" if value is False else value


# What becomes of the value of an option, where it is not passed on as it is.
_FORMS = {
    "do_lower_case": _boolean,
    "dtype": dtype,
    "labels": _labels,
    "language": _language,
    "rename": _rename,
    "strip_accents": _boolean,
    "vocab": _vocab,
}
# Options that the program only has to switch something off.
_NEGATED = {"graph": "no_graph", "verify": "no_verify"}


def program_options(values):
    """Returns the program's options for the keyword arguments of a function."""
    options = {}
    for name, value in values.items():
        if name in _NEGATED:
            options[_NEGATED[name]] = not value
        else:
            options[name] = _FORMS.get(name, lambda value: value)(value)
    return options
