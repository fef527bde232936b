"""Load an exported program's archive, after a check that loading it runs no code.

`torch.export.load` was not made for strangers' files. It unpickles weights, constants and example inputs that say so,
loads native code, evaluates the expressions of sizes, imports modules that the outputs' structure names, resolves an
operation's name to any function below `torch`, and writes the names of nodes and weights into Python source that it
runs. So an archive may hold only the members that `torch.export.save` writes for a program without example inputs, and
in them only what such programs have: tensors as plain bytes, ATen operations, arithmetic on sizes, plain names.

Torch and Python each have a zip reader, and the loader may use both: they must agree on what is there. The check
reads the bytes that torch's own reader gives.

This is no sandbox. ATen operations run native code, and one with absurd arguments may take all memory: digests say
whose shard it is.
"""

import ast
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from shardline.partition.program import one_line
from shardline.wire.errors import BundleError
from shardline.wire.limits import MIB

JSON_MEMBER_BYTES = 256 * MIB  # of one description: ten thousand operations with their stack traces need 30 MiB
_MEMBERS = 100_000
_LONGEST_EXPRESSION = 1000  # characters
_LARGEST_NUMBER = 2**63
_LARGEST_POWER = 8

_PROGRAM = "models/model.json"
_PAYLOADS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_NO_FOLDERS = {"", ".", ".."}
_EXAMPLES = "data/sample_inputs/model.pt"
_MEMBER = re.compile(
    r"data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json|archive_format|archive_version|byteorder"
    r"|\.data/(version|serialization_id)"
)

_LIBRARY = re.compile(r"data/aotinductor/model/[\w.-]+\.so")
_PACKAGE_MEMBER = re.compile(
    r"data/aotinductor/model/[\w.-]+\.(so|cpp|cubin|fatbin|json)"
    r"|archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
)

_NAME = re.compile(r"[^\W\d]\w*|")  # what may stand as a variable in the Python source that torch makes of a graph
_PATH = re.compile(r"[\w .:/+-]*")  # what may stand between quotes there
_FOREIGN = re.compile(r"[^\w .:/+-]")
_PAYLOAD = re.compile(r"(weight|tensor)_\d+")
_OPERATION = re.compile(
    r"torch\.ops\.(aten\.(?!from_file\.|save\.)|torchvision\.)\w+\.\w+"  # those two open a file by its name
    r"|_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|sub|truediv)"
    r"|math\.(ceil|floor|trunc)|torch\.sym_[a-z]+"
)
_CONTAINERS = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}

# sympy's constructors for the sizes of tensors, as sympy.srepr writes them; whatever else is called is refused.
_ARITHMETIC = {"Integer", "Rational", "Add", "Mul", "Pow", "FloorDiv", "CeilDiv", "CleanDiv", "Mod", "PythonMod",
               "ModularIndexing", "Max", "Min", "Eq", "Ne", "Le", "Lt", "Ge", "Gt", "Equality", "Unequality",
               "LessThan", "StrictLessThan", "GreaterThan", "StrictGreaterThan"}  # fmt: skip
_SYMBOL = re.compile(r"[a-z]+\d*")


def is_plain_path(name: str) -> bool:
    """Tell whether an archive may hold a weight of this name."""
    return _PATH.fullmatch(name) is not None


def plain_path(name: str) -> str:
    """Turn a weight's name into one that an archive may hold: `k=3.weight` -> `k_3.weight`."""
    return _FOREIGN.sub("_", name)


def load_program(path: Path) -> torch.export.ExportedProgram:
    """Load an exported program whose archive `check_archive` lets pass.

    Not by `torch.export.load`, which tries an older format, with pickles, where this one fails.

    Raises:
        BundleError: it does not, or cannot be loaded.
    """
    from torch.export.pt2_archive._package import load_pt2  # over a second, which a compiled shard starts without

    check_archive(path)
    if needs_torchvision(path):
        import torchvision  # noqa: F401  it registers its operations; a second of start for those that have none
    try:
        program: torch.export.ExportedProgram = load_pt2(str(path)).exported_programs["model"]
        program._guards_code = []  # source code out of the archive
        return program
    except Exception as exc:  # torch's loader raises whatever its many parsers raise
        raise BundleError(f"{path.name} cannot be loaded by torch {torch.__version__}: {one_line(exc)}") from exc


def check_torch_version(built_with: str) -> None:
    """A shard runs on the torch release (major.minor) that made it.

    Raises:
        BundleError: another release is installed.
    """
    if _release(built_with) != _release(torch.__version__):
        raise BundleError(
            f"the shard was built with torch {built_with}, here is {torch.__version__}; torch {_release(built_with)} "
            "is allowed: use the image of that release or build the bundle again"
        )


def _release(version: str) -> str:
    return ".".join(version.split(".")[:2])


def check_archive(path: Path) -> None:
    """Refuse an archive whose loading could run code.

    Raises:
        BundleError: it is not a readable archive, holds something that no shard holds, or asks for pickle.
    """
    with _as_bundle_error(path):
        reader = _open(path)
        if reader.get_record_size(_EXAMPLES):
            raise BundleError(f"{path.name} asks for pickle ({_EXAMPLES}): save it without example inputs")
        for name in _PAYLOADS:
            _check_payloads(path, name, _json(path, reader, name))
        _check_program(path, _json(path, reader, _PROGRAM))


def needs_torchvision(path: Path) -> bool:
    """Return True if a checked archive has operators that only torchvision registers."""
    return b"torch.ops.torchvision." in _open(path).get_record(_PROGRAM)


@contextmanager
def without_examples(path: Path) -> Iterator[Path]:
    """The archive at `path`, or a copy of it without the example inputs that `torch.export.save` pickles.

    Raises:
        BundleError: it is not a readable archive, or has a member that no program has.
    """
    with _as_bundle_error(path):
        has_examples = bool(_open(path).get_record_size(_EXAMPLES))
    if not has_examples:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="shardline-") as folder:
        copy = Path(folder) / path.name
        with _as_bundle_error(path):
            _copy_without_examples(path, copy)
        yield copy


def _copy_without_examples(path: Path, copy: Path) -> None:
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as after:
        for entry in before.infolist():
            with before.open(entry) as source, after.open(entry.filename, "w", force_zip64=True) as target:
                if not entry.filename.endswith(f"/{_EXAMPLES}"):
                    shutil.copyfileobj(source, target)


def unpack_package(path: Path, folder: Path) -> Path:
    """Unpack what a package of AOTInductor needs to run, its library and a GPU's kernels; -> the library.

    Raises:
        BundleError: it is not a readable archive, has a member that no package has, or not one library.
    """
    with _as_bundle_error(path, "a package"):
        names = _open(path, _PACKAGE_MEMBER, "a package").get_all_records()
        libraries = [name for name in names if _LIBRARY.fullmatch(name)]
        if len(libraries) != 1:
            raise BundleError(f"{path.name} has {len(libraries)} libraries, a package has one: build it again")
        folder.mkdir(parents=True)
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                target = folder / Path(entry.filename).name
                if target.suffix in {".so", ".cubin", ".fatbin"}:
                    with archive.open(entry) as source, target.open("xb") as copy:
                        shutil.copyfileobj(source, copy, MIB)
    return folder / Path(libraries[0]).name


@contextmanager
def _as_bundle_error(path: Path, what: str = "an exported program") -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise BundleError(f"{path} does not exist") from exc
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError) as exc:
        reason = str(exc).partition("\n")[0][:200]
        raise BundleError(f"{path.name} is not {what}'s archive ({reason}): build it again") from exc


def _open(path: Path, member: re.Pattern[str] = _MEMBER, what: str = "an exported program") -> Any:
    """Torch's reader of an archive that has the members of an exported program, each once, and no others."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if len(entries) > _MEMBERS:
        raise BundleError(f"{path.name} has {len(entries)} members; allowed are {_MEMBERS}")
    roots = {entry.filename.partition("/")[0] for entry in entries}
    for entry in entries:
        if len(roots) > 1 or roots & _NO_FOLDERS or not member.fullmatch(entry.filename.partition("/")[2]):
            raise BundleError(f"{path.name} holds {entry.filename[:80]!r}, which no {what.split(' ', 1)[1]} has")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise BundleError(f"{path.name} holds {entry.filename[:80]!r} compressed or encrypted; it must be stored")
    names = [entry.filename.partition("/")[2] for entry in entries]
    reader = torch._C.PyTorchFileReader(str(path))
    if len(set(names)) < len(names) or sorted(reader.get_all_records()) != sorted(names):
        raise BundleError(f"{path.name} holds a member twice, or is not the same to every zip reader")
    return reader


def _json(path: Path, reader: Any, name: str) -> Any:
    size = reader.get_record_size(name)
    if size > JSON_MEMBER_BYTES:
        raise BundleError(f"{path.name} has {size} bytes of {name}; allowed are {JSON_MEMBER_BYTES}")
    return json.loads(reader.get_record(name))


def _check_payloads(path: Path, name: str, document: Any) -> None:
    """Weights and constants must be plain bytes under plain names."""
    for target, payload in document["config"].items():
        if payload["use_pickle"] is not False or not _PAYLOAD.fullmatch(payload["path_name"]):
            raise BundleError(f"{path.name} asks for pickle ({name}): save it with plain tensors")
        if not _PATH.fullmatch(target):
            raise BundleError(f"{path.name} has the weight {target[:60]!r}, which is not a name")


def _check_program(path: Path, document: Any) -> None:
    for key, text in _strings(document):
        if not _CHECKS.get(key, _NAME.fullmatch)(text):
            raise BundleError(f"{path.name} has {key} {text[:60]!r}, which no exported program has: build it again")


def _is_anything(_: str) -> bool:
    return True


def _is_tree(text: str) -> bool:
    """The structure of inputs or outputs, as torch.utils._pytree writes it: of plain containers only."""
    version, root = json.loads(text)
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node["type"] not in _CONTAINERS or not _is_plain_context(node["context"]):
            return False
        waiting.extend(node["children_spec"])
    return isinstance(version, int)


def _is_plain_context(context: Any) -> bool:
    """A dict's keys, or nothing; torch imports what a JSON object in it names."""
    keys = None if context is None else json.loads(context)
    return keys is None or (isinstance(keys, list) and all(isinstance(key, str | int) for key in keys))


def _is_arithmetic(text: str) -> bool:
    if len(text) > _LONGEST_EXPRESSION:
        return False
    try:
        return _is_number(ast.parse(text, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        return False


def _is_number(node: ast.AST) -> bool:
    """Is this a number, a symbol, or arithmetic on such, of a value that is quickly computed?"""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _is_number(node.operand)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int) and abs(node.value) < _LARGEST_NUMBER
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    if node.func.id == "Symbol":
        return _is_symbol(node)
    if node.func.id == "Pow" and not _is_small_power(node):
        return False
    return node.func.id in _ARITHMETIC and not node.keywords and all(_is_number(argument) for argument in node.args)


def _is_symbol(call: ast.Call) -> bool:
    """`Symbol('s81', positive=True, integer=True)`"""
    name = call.args[0].value if len(call.args) == 1 and isinstance(call.args[0], ast.Constant) else None
    assumptions = [keyword.value for keyword in call.keywords]
    return (
        isinstance(name, str)
        and bool(_SYMBOL.fullmatch(name))
        and all(isinstance(node, ast.Constant) and isinstance(node.value, bool) for node in assumptions)
    )


def _is_small_power(call: ast.Call) -> bool:
    """Towers of powers are numbers that no machine can hold."""
    powers = sum(isinstance(node, ast.Name) and node.id == "Pow" for node in ast.walk(call))
    exponent = ast.unparse(call.args[-1]) if len(call.args) == 2 else ""
    number = re.fullmatch(r"(?:Integer\()?(-?\d+)\)?", exponent)
    return powers == 1 and number is not None and abs(int(number[1])) <= _LARGEST_POWER


_KEY = "the key"

# What a string may be, by the key that it stands under; under all other keys it is the name of a variable.
_CHECKS: Mapping[str, Callable[[str], object]] = {
    _KEY: _PATH.fullmatch,
    "target": _OPERATION.fullmatch,
    "expr_str": _is_arithmetic,
    "in_spec": _is_tree,
    "out_spec": _is_tree,
    "fqn": _PATH.fullmatch,
    "parameter_name": _PATH.fullmatch,
    "buffer_name": _PATH.fullmatch,
    "tensor_constant_name": _PATH.fullmatch,
    "as_float": {"Infinity", "-Infinity", "NaN"}.__contains__,  # torch.export.save writes them as strings
    "as_floats": {"Infinity", "-Infinity", "NaN"}.__contains__,
    "as_string": _is_anything,  # an operation's argument, written as a literal
    "as_strings": _is_anything,
    "torch_version": _is_anything,
    "guards_code": _is_anything,  # dropped after loading, never run
}


def _strings(document: Any) -> Iterator[tuple[str, str]]:
    """Every key, and every string with the key that it stands under. Left out is `metadata`: stack traces, never run.

    Without recursion: a hostile document may be nested without end.
    """
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        key, item = waiting.pop()
        if isinstance(item, str):
            yield key, item
        elif isinstance(item, list):
            waiting.extend((key, element) for element in item)
        elif isinstance(item, dict):
            yield from ((_KEY, name) for name in item)
            waiting.extend((name, value) for name, value in item.items() if name != "metadata")
