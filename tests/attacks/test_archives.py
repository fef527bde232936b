"""Hostile .pt2 files: what a stranger could put into a shard's archive, and that nothing of it runs.

Each attack rewrites a sound shard. Where torch itself falls for it, a second test shows that the attack is live.
"""

import io
import json
import os
import pickle
import re
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from shardline.partition.archive import JSON_MEMBER_BYTES, check_archive, load_program, without_examples
from shardline.partition.models import load_model
from shardline.partition.program import runnable
from shardline.storage.bundle import SHARD_FILE, stage_folder
from shardline.wire.errors import BundleError, ModelError

SECONDS = 10.0  # far above what a busy machine needs: it catches what grows without bound
PEAK_BYTES = 64 * 1024**2
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
EXAMPLES = "data/sample_inputs/model.pt"
SYMBOL = "Symbol('s0', positive=True, integer=True)"


class Touch:
    """Pickled, it makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (touch(self.marker),)


def touch(marker: Path) -> str:
    return f"touch '{marker}'"


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def pickled(marker: Path) -> bytes:
    return saved(Touch(marker))


class Archive:
    """A shard's members, to be changed and written again."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}

    def document(self, name: str) -> Any:
        return json.loads(self.members[name])

    def put(self, name: str, document: object) -> None:
        self.members[name] = json.dumps(document).encode()

    def write(self, path: Path, root: str = "shard") -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in self.members.items():
                archive.writestr(f"{root}/{name}", data)
        return path


def member(name: str, data: Callable[[Path], bytes] = pickled) -> Callable[[Archive, Path], None]:
    def change(archive: Archive, marker: Path) -> None:
        archive.members[name] = data(marker)

    return change


def payload(
    config: str, target: str, pickle_object: Callable[[Touch], bytes] = saved, **fields: object
) -> Callable[[Archive, Path], None]:
    """A weight or constant whose description says `fields`, with a pickle where it points."""

    def change(archive: Archive, marker: Path) -> None:
        document = archive.document(config)
        sound = next(iter(archive.document(WEIGHTS)["config"].values()))
        document["config"][target] = {**sound, **fields}
        archive.put(config, document)
        archive.members[f"{Path(config).parent}/{document['config'][target]['path_name']}"] = pickle_object(
            Touch(marker)
        )

    return change


def program(change: Callable[[Any, Path], None]) -> Callable[[Archive, Path], None]:
    def change_program(archive: Archive, marker: Path) -> None:
        document = archive.document(PROGRAM)
        change(document, marker)
        archive.put(PROGRAM, document)

    return change_program


def size(expression: str | Callable[[Path], str]) -> Callable[[Archive, Path], None]:
    """The first size of the first tensor is `expression`."""

    def change(document: Any, marker: Path) -> None:
        tensors = document["graph_module"]["graph"]["tensor_values"].values()
        found = next(dim for tensor in tensors for dim in tensor["sizes"] if "as_expr" in dim)
        found["as_expr"]["expr_str"] = expression if isinstance(expression, str) else expression(marker)

    return program(change)


def number(text: str) -> Callable[[Archive, Path], None]:
    """The first operation is called with a number that is written as this text."""

    def change(document: Any, _: Path) -> None:
        document["graph_module"]["graph"]["nodes"][0]["inputs"] = [{"name": "", "arg": {"as_float": text}, "kind": 1}]

    return program(change)


def operation(target: str, *strings: str | Callable[[Path], str]) -> Callable[[Archive, Path], None]:
    """The first operation is `target`, called with these strings."""

    def change(document: Any, marker: Path) -> None:
        node = document["graph_module"]["graph"]["nodes"][0]
        node["target"] = target
        node["inputs"] = [
            {"name": "", "arg": {"as_string": text if isinstance(text, str) else text(marker)}, "kind": 1}
            for text in strings
        ]

    return program(change)


def renamed(change_name: Callable[[Path], str]) -> Callable[[Archive, Path], None]:
    """The first operation's node bears the name that `change_name` gives, everywhere."""

    def change(archive: Archive, marker: Path) -> None:
        node = archive.document(PROGRAM)["graph_module"]["graph"]["nodes"][0]
        text, name = archive.members[PROGRAM].decode(), node["outputs"][0]["as_tensor"]["name"]
        archive.members[PROGRAM] = text.replace(f'"{name}"', json.dumps(change_name(marker))).encode()

    return change


def weight_renamed(change_name: Callable[[Path], str]) -> Callable[[Archive, Path], None]:
    """The first weight bears another name, everywhere."""

    def change(archive: Archive, marker: Path) -> None:
        name = next(iter(archive.document(WEIGHTS)["config"]))
        for member in (PROGRAM, WEIGHTS):
            text = archive.members[member].decode()
            archive.members[member] = text.replace(f'"{name}"', json.dumps(change_name(marker))).encode()

    return change


def argument_named(change_name: Callable[[Path], str]) -> Callable[[Archive, Path], None]:
    def change(document: Any, marker: Path) -> None:
        signature = document["graph_module"]["module_call_graph"][0]["signature"]
        signature["forward_arg_names"][-1] = change_name(marker)

    return program(change)


def tree(kind: str, context: object, *, raw: bool = False) -> Callable[[Archive, Path], None]:
    """The outputs come in a container of this kind and context."""

    def change(document: Any, _: Path) -> None:
        signature = document["graph_module"]["module_call_graph"][0]["signature"]
        version, root = json.loads(signature["out_spec"])
        root["type"], root["context"] = kind, context if raw else json.dumps(context)
        signature["out_spec"] = json.dumps([version, root])

    return program(change)


def nested(depth: int, name: str = PROGRAM) -> Callable[[Archive, Path], None]:
    def change(archive: Archive, _: Path) -> None:
        archive.members[name] = b'{"config":' + b"[" * depth + b"]" * depth + b"}"

    return change


def injected(marker: Path) -> str:
    """A variable's name that ends the line and goes on with a statement."""
    return f"x = 1\n    __import__('os').system({touch(marker)!r})\n    y"


ATTACKS: dict[str, tuple[Callable[[Archive, Path], None], str]] = {
    # pickles
    "weight as a pickle": (payload(WEIGHTS, "stolen", path_name="weight_999", use_pickle=True), "pickle"),
    "weight as a pickle, said otherwise": (payload(WEIGHTS, "stolen", path_name="weight_999", use_pickle=1), "pickle"),
    "constant as a pickle": (payload(CONSTANTS, "stolen", path_name="tensor_999", use_pickle=True), "pickle"),
    "custom object": (payload(CONSTANTS, "stolen", path_name="custom_obj_0"), "no exported program has"),
    "opaque object": (
        payload(CONSTANTS, "stolen", pickle.dumps, path_name="opaque_obj_0", use_pickle=True),
        "no exported program has",
    ),
    "payload elsewhere": (payload(CONSTANTS, "stolen", path_name="../models/model.json"), "no exported program has"),
    "example inputs": (member(EXAMPLES), "without example inputs"),
    "weights in the older format": (member("data/weights/model.pt"), "no exported program has"),
    "constants in the older format": (member("data/constants/model.pt"), "no exported program has"),
    "the oldest format": (member("serialized_state_dict.pt"), "no exported program has"),
    # other members
    "native code": (member("data/aotinductor/model/x.so", lambda _: b"\x7fELF"), "no exported program has"),
    "extra file": (member("extra/notes.txt", lambda _: b"x"), "no exported program has"),
    "second model": (member("models/other.json", lambda _: b"{}"), "no exported program has"),
    "member in capitals": (member("models/MODEL.json", lambda _: b"{}"), "no exported program has"),
    "member above": (member("../models/model.json", lambda _: b"{}"), "no exported program has"),
    # expressions
    "size that calls": (size(lambda marker: f"__import__('os').system({touch(marker)!r})"), "expr_str"),
    "size with an attribute": (size("Symbol('s0').__class__"), "expr_str"),
    "size with a subscript": (size("Add[0]"), "expr_str"),
    "size that is a lambda": (size("(lambda: 1)()"), "expr_str"),
    "size with a string": (size("Add('exit()')"), "expr_str"),
    "size with a strange symbol": (size("Symbol('exit()')"), "expr_str"),
    "size with a strange assumption": (size("Symbol('s0', integer=exit())"), "expr_str"),
    "size with a star": (size("Add(*Integer(1))"), "expr_str"),
    "size of any function": (size("exit(Integer(1))"), "expr_str"),
    "size that is text": (size("'s0'"), "expr_str"),
    "size that is very long": (size(f"Add({', '.join([SYMBOL] * 1000)})"), "expr_str"),
    "size that is very deep": (size("-" * 999 + "1"), "expr_str"),
    "size that is a tower of powers": (size("Pow(Integer(9), Pow(Integer(9), Integer(9)))"), "expr_str"),
    "size that is a high power": (size("Pow(Integer(9), Integer(999999999))"), "expr_str"),
    "size that is a large number": (size("Integer(99999999999999999999)"), "expr_str"),
    "size that is not Python": (size("Add("), "expr_str"),
    "number that is a name": (number("inf"), "as_float"),
    "number that calls": (number("-Infinity()"), "as_float"),
    # functions and source code
    "any function of torch": (operation("torch.os.system", touch), "target"),
    "loading from the hub": (operation("torch.hub.load", "stranger/model", "model"), "target"),
    "a file of the server's": (operation("torch.ops.aten.from_file.default", "/etc/passwd"), "target"),
    "writing a file": (operation("torch.ops.aten.save.default", "x"), "target"),
    "a method of anything": (operation("_operator.methodcaller", "system"), "target"),
    "an operation by extension": (operation("#triton:kernel"), "target"),
    "name of a node": (renamed(injected), "the key"),
    "name of a node that assigns": (renamed(lambda _: "torch.load"), "name"),
    "name of a weight": (
        weight_renamed(lambda marker: f'x", 0) or getattr(__import__("os"), "system")("{touch(marker)}") or ("x'),
        "not a name",
    ),
    "name of an argument": (
        argument_named(lambda marker: f"relu=__import__('os').system({touch(marker)!r})"),
        "forward_arg_names",
    ),
    # containers
    "container that imports": (
        tree("builtins.tuple", {"__enum__": True, "fqn": "antigravity:Any", "name": "ALL"}),
        "out_spec",
    ),
    "container with a factory": (
        tree("collections.defaultdict", {"default_factory_module": "antigravity"}, raw=True),
        "out_spec",
    ),
    "container of a class": (tree("collections.namedtuple", "os.stat_result"), "out_spec"),
    # shape of the file
    "program nested without end": (nested(1_000_000), "archive"),
    "weights nested without end": (nested(1_000_000, WEIGHTS), "archive"),
    "weights that are a list": (member(WEIGHTS, lambda _: b'{"config": []}'), "archive"),
    "program that is not JSON": (member(PROGRAM, lambda _: b"\x80\x04."), "archive"),
    "program that is empty": (member(PROGRAM, lambda _: b"{}"), "cannot be loaded"),
}
LIVE_WHEN_LOADED = (
    "weight as a pickle",
    "constant as a pickle",
    "opaque object",
    "example inputs",
    "weights in the older format",
    "constants in the older format",
    "size that calls",
)
LIVE_WHEN_RUN = ("name of a weight",)


@pytest.fixture(scope="module")
def shard(small_bundle: Path) -> Path:
    return small_bundle / stage_folder(1) / SHARD_FILE


@pytest.fixture
def hostile(shard: Path, tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """hostile(attack) -> (archive, the file that it would make)"""

    def make(attack: str) -> tuple[Path, Path]:
        archive, marker = Archive(shard), tmp_path / "marker"
        ATTACKS[attack][0](archive, marker)
        return archive.write(tmp_path / "shard.pt2"), marker

    return make


def run_anyhow(program: torch.export.ExportedProgram) -> None:
    with suppress(Exception):
        module = program.module(check_guards=False)
        module(*(torch.zeros(2, 8, 16, 16) for _ in program.graph_signature.user_inputs))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_archive_is_refused_and_nothing_runs(
    attack: str, hostile: Callable[[str], tuple[Path, Path]]
) -> None:
    path, marker = hostile(attack)
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(BundleError, match=re.escape(ATTACKS[attack][1])) as caught:
        load_program(path)
    seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert not marker.exists()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert seconds < SECONDS
    assert peak < PEAK_BYTES


@pytest.mark.parametrize("attack", [*LIVE_WHEN_LOADED, *LIVE_WHEN_RUN])
def test_torch_itself_falls_for_it(attack: str, hostile: Callable[[str], tuple[Path, Path]]) -> None:
    path, marker = hostile(attack)
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        loaded = torch.export.load(path)
        if attack in LIVE_WHEN_RUN:
            run_anyhow(loaded)

    assert marker.exists()


def test_a_sound_archive_passes_however_it_was_zipped(shard: Path, tmp_path: Path) -> None:
    path = Archive(shard).write(tmp_path / "other-name.pt2", root="any name")

    program = load_program(path)

    assert [node.name for node in program.graph.nodes] == [node.name for node in load_program(shard).graph.nodes]


def test_guards_and_metadata_never_run(shard: Path, tmp_path: Path) -> None:
    archive, marker = Archive(shard), tmp_path / "marker"
    code = f"__import__('os').system({touch(marker)!r})"
    document = archive.document(PROGRAM)
    document["guards_code"] = [code]
    for node in document["graph_module"]["graph"]["nodes"]:
        node["metadata"] |= {"stack_trace": f"x\n{code}\n", "torch_fn": code, "source_fn_stack": f"x,{code}"}
    archive.put(PROGRAM, document)

    program = load_program(archive.write(tmp_path / "shard.pt2"))
    with torch.inference_mode():
        outputs = runnable(program)(torch.zeros(2, 8, 16, 16), torch.zeros(2, 8, 16, 16))

    assert len(outputs) == 3
    assert not marker.exists()


@pytest.mark.parametrize(
    "data", [b"", b"not a zip", b"PK\x03\x04" * 9, b"PK\x05\x06" + b"\0" * 18], ids=["empty", "text", "header", "bare"]
)
def test_what_is_no_archive_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "shard.pt2"
    path.write_bytes(data)

    with pytest.raises(BundleError, match=r"shard\.pt2 is not an exported program's archive"):
        check_archive(path)


def test_an_archive_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        check_archive(tmp_path / "shard.pt2")


def test_an_archive_cut_anywhere_is_refused(shard: Path, tmp_path: Path) -> None:
    data, path = shard.read_bytes(), tmp_path / "shard.pt2"
    for length in range(0, len(data), 997):
        path.write_bytes(data[:length])
        with pytest.raises(BundleError):
            check_archive(path)


def test_a_member_that_swells_is_refused_unread(shard: Path, tmp_path: Path) -> None:
    path = tmp_path / "shard.pt2"
    archive = Archive(shard)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in archive.members.items():
            target.writestr(f"shard/{name}", data)
        with target.open("shard/data/weights/weight_999", "w", force_zip64=True) as file:
            for _ in range(64):
                file.write(bytes(8 * 1024**2))
    tracemalloc.start()
    with pytest.raises(BundleError, match="must be stored"):
        check_archive(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert path.stat().st_size < 1024**2
    assert peak < PEAK_BYTES


def test_a_large_description_is_refused_unread(shard: Path, tmp_path: Path) -> None:
    path = tmp_path / "shard.pt2"
    archive = Archive(shard)
    del archive.members[PROGRAM]
    archive.write(path)
    with zipfile.ZipFile(path, "a") as target, target.open(f"shard/{PROGRAM}", "w", force_zip64=True) as file:
        for _ in range(JSON_MEMBER_BYTES // 1024**2 + 1):
            file.write(b" " * 1024**2)
    tracemalloc.start()
    with pytest.raises(BundleError, match=rf"allowed are {JSON_MEMBER_BYTES}"):
        check_archive(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    path.unlink()

    assert peak < PEAK_BYTES


def test_an_encrypted_member_is_refused(shard: Path, tmp_path: Path) -> None:
    path = Archive(shard).write(tmp_path / "shard.pt2")
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 8] |= 1
    path.write_bytes(data)

    with pytest.raises(BundleError, match="encrypted"):
        check_archive(path)


def test_a_member_that_is_there_twice_is_refused(shard: Path, tmp_path: Path) -> None:
    path = Archive(shard).write(tmp_path / "shard.pt2")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(f"shard/{PROGRAM}", b"{}")

    with pytest.raises(BundleError, match="twice"):
        check_archive(path)


@pytest.mark.parametrize("root", ["", "/", "..", ".", "../..", "a/b"])
def test_members_outside_one_folder_are_refused(root: str, shard: Path, tmp_path: Path) -> None:
    path = Archive(shard).write(tmp_path / "shard.pt2", root)

    with pytest.raises(BundleError, match=r"no exported program has|not an exported program's archive"):
        check_archive(path)


def test_an_archive_of_two_folders_is_refused(shard: Path, tmp_path: Path) -> None:
    path = Archive(shard).write(tmp_path / "shard.pt2")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/models/model.json", b"{}")

    with pytest.raises(BundleError, match="no exported program has"):
        check_archive(path)


def test_a_file_that_is_two_archives_is_refused(shard: Path, tmp_path: Path) -> None:
    """The directory of a second archive lies where Python's reader does not look and torch's does."""
    archive = Archive(shard)
    sound = archive.write(tmp_path / "sound.pt2").read_bytes()
    archive.members = {"data/weights/model.pt": b"hostile", **archive.members}
    hostile = archive.write(tmp_path / "hostile.pt2").read_bytes()
    end = sound.rindex(b"PK\x05\x06")
    directory = int.from_bytes(hostile[-6:-2], "little")
    path = tmp_path / "shard.pt2"
    pointing = sound[end : end + 16] + directory.to_bytes(4, "little") + sound[end + 20 :]
    path.write_bytes(hostile[:-22] + sound[:end] + pointing)
    with zipfile.ZipFile(path) as seen:
        assert "shard/data/weights/model.pt" not in seen.namelist()

    with pytest.raises(BundleError, match=r"not the same to every zip reader|not an exported program's archive"):
        check_archive(path)


def test_a_users_own_program_loses_its_example_inputs(tmp_path: Path) -> None:
    path, module = tmp_path / "own.pt2", torch.nn.Conv2d(3, 2, 3).eval()
    torch.export.save(torch.export.export(module, (torch.zeros(2, 3, 8, 8),)), path)
    with pytest.raises(BundleError, match="without example inputs"):
        check_archive(path)

    with without_examples(path) as plain:
        check_archive(plain)

        assert plain != path
    assert not plain.exists()


def test_a_users_hostile_program_is_a_model_error_and_runs_nothing(
    hostile: Callable[[str], tuple[Path, Path]],
) -> None:
    path, marker = hostile("size that calls")

    with pytest.raises(ModelError, match="expr_str"):
        load_model(str(path))

    assert not marker.exists()


def test_example_inputs_that_run_code_are_dropped(hostile: Callable[[str], tuple[Path, Path]]) -> None:
    path, marker = hostile("example inputs")

    with without_examples(path) as plain:
        load_program(plain)

    assert not marker.exists()


def test_every_operation_that_opens_a_file_is_refused(shard: Path, tmp_path: Path) -> None:
    """torch's own list of operations, so that a new release's are met here."""
    opening = {
        f"torch.ops.{schema.name.replace('::', '.')}.{schema.overload_name or 'default'}"
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith(("aten::", "torchvision::"))
        and any(
            str(argument.type) == "str" and re.search("file|path|url", argument.name) for argument in schema.arguments
        )
    }
    assert "torch.ops.aten.from_file.out" in opening

    for name in opening:
        archive = Archive(shard)
        operation(name, "/etc/passwd")(archive, tmp_path)
        with pytest.raises(BundleError, match=re.escape(f"target '{name}'")):
            check_archive(archive.write(tmp_path / "shard.pt2"))
