"""Values come back as they were, pickles are opened by permission alone, and functions run where their module is not."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import json
import math
import pathlib
import pickle
import subprocess
import sys
import threading
import uuid
import zoneinfo
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_agent import framing, serialize
from compute_agent.serialize import DeserializationError, PickleRefused, PythonVersionMismatch, SerializationError
from compute_agent.shell import ShellFunction, ShellResult

ZONES = st.none() | st.sampled_from(
    [dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=-30)), zoneinfo.ZoneInfo("Europe/Berlin")]
)
HASHABLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.datetimes(timezones=ZONES)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.builds(pathlib.PurePosixPath, st.text("ab/.", max_size=5))
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.just("$") | st.integers() | st.tuples(st.text()), inner)
        | st.frozensets(HASHABLE, max_size=3)
        | st.sets(HASHABLE, max_size=3)
    ),
    max_leaves=12,
)
Pair = namedtuple("Pair", "left right")


class Marking:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.write_text, (self.path, "unpickled"))


class Boxed:
    def __init__(self, value: object) -> None:
        self.value = value

    def doubled(self) -> object:
        return self.value * 2  # type: ignore[operator]  # tests box numbers


def _there_and_back(value: object) -> object:
    return serialize.load_data(serialize.dump_data(value), allow_pickle=False)


@given(VALUES)
def test_values_of_common_types_come_back_exactly_without_pickle(value: object) -> None:
    text = serialize.dump_data(value)
    back = serialize.load_data(text, allow_pickle=False)
    assert text.isascii()
    assert (back, _shape(back)) == (value, _shape(value))
    assert serialize.load_data(framing.pack([text]), allow_pickle=False) == value


def _shape(value: Any) -> object:
    """Types that ``==`` does not tell apart: 1 and True, 0.0 and -0.0, times of the same moment."""
    if isinstance(value, list | tuple):
        return type(value), [_shape(item) for item in value]
    if isinstance(value, dict):
        return dict, [(_shape(name), _shape(item)) for name, item in value.items()]
    if isinstance(value, dt.datetime | dt.time):
        return type(value), repr(value)
    return type(value), repr(value) if isinstance(value, float | complex) else None


@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(), VALUES, max_size=4))
def test_arguments_come_back(args: list[object], kwargs: dict[str, object]) -> None:
    payload = serialize.dump_arguments(tuple(args), kwargs)
    assert serialize.load_arguments(payload, allow_pickle=False) == (tuple(args), kwargs)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"a": [1, 2.5, None, True, "é"]}, "11"),
        ((1, 2), "j1"),
        ({1: 2}, "j1"),
        (2**70, "j1"),
        (math.inf, "j1"),
        (Path("/data"), "j1"),
        ({"$": "tuple", "v": []}, "11"),
        ({"$": "tuple", "v": ()}, "j1"),
        (ShellResult("ls", "a", "", 0), "j1"),
        (Pair(1, 2), "c0"),
        (OrderedDict(a=1), "c0"),
        ([Boxed(1)], "c0"),
        (range(3), "c0"),
    ],
)
def test_each_value_takes_the_simplest_format_that_keeps_it(value: object, kind: str) -> None:
    assert framing.split(serialize.dump_data(value))[0] == kind


def test_values_that_are_not_equal_to_themselves_come_back_too() -> None:
    assert math.isnan(_there_and_back(math.nan))  # type: ignore[arg-type]  # it is a float
    assert _there_and_back(Decimal("NaN")).is_nan()  # type: ignore[attr-defined]  # it is a Decimal
    late = dt.datetime(2026, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1)
    assert repr(_there_and_back(late)) == repr(late)


def test_a_shell_result_comes_back() -> None:
    result = ShellResult("ls", "a\n", "", 0)
    assert _there_and_back({"results": (result,)}) == {"results": (result,)}


@pytest.mark.parametrize("dtype", ["?", "i1", "<i8", ">u4", "f4", "f8", "c16", "U5", "S3", "M8[ns]", "m8[s]"])
def test_arrays_come_back(dtype: str) -> None:
    numpy = pytest.importorskip("numpy")
    for array in (
        numpy.arange(6).astype(dtype).reshape(2, 3),
        numpy.asfortranarray(numpy.arange(6).astype(dtype).reshape(2, 3)),
        numpy.zeros((0, 2), dtype),
        numpy.zeros((), dtype),
    ):
        back = _there_and_back((array, array[..., :1] if array.ndim else array))
        assert back[0].dtype == array.dtype  # type: ignore[index]  # it is a tuple
        assert back[0].shape == array.shape  # type: ignore[index]
        assert (back[0] == array).all()  # type: ignore[index]
        assert back[0].flags.writeable  # type: ignore[index]


def test_scalars_of_numpy_come_back_and_arrays_of_objects_are_pickled() -> None:
    numpy = pytest.importorskip("numpy")
    assert type(_there_and_back(numpy.float32(1.5))) is numpy.float32
    assert framing.split(serialize.dump_data(numpy.array([object()])))[0] == "c0"


@pytest.mark.parametrize("dtype", ["O", "V8", "f16", "i8,O", "object"])
def test_an_array_that_claims_to_hold_objects_is_refused(dtype: str) -> None:
    pytest.importorskip("numpy")
    text = framing.join("j1", json.dumps({"$": "ndarray", "v": "AAAAAAAAAAA=", "dtype": dtype, "shape": [1]}))
    with pytest.raises(DeserializationError, match="dtype"):
        serialize.load_data(text, allow_pickle=False)


@pytest.mark.parametrize(
    "document",
    [
        {"$": "timedelta", "v": [10**12, 0, 0]},
        {"$": "decimal", "v": "one"},
        {"$": "datetime", "v": "2026-01-01T00:00:00", "zone": "America"},
        {"$": "datetime", "v": "2026-01-01T00:00:00", "zone": "../../etc/passwd"},
        {"$": "set", "v": [[]]},
        {"$": "int", "v": "x" * 10},
        {"$": "nothing", "v": 1},
        {"$": "ShellResult", "v": {"odd": 1}},
    ],
    ids=lambda one: one["$"],
)
def test_values_that_do_not_exist_are_refused_in_one_way(document: dict) -> None:
    with pytest.raises(DeserializationError, match="cannot be read"):
        serialize.load_data(framing.join("j1", json.dumps(document)), allow_pickle=False)


def _dilled(value: object) -> str:
    import dill

    return base64.encodebytes(dill.dumps(value)).decode()


@pytest.mark.parametrize("kind", ["c0", "00", "13"])
def test_a_pickled_result_is_not_opened_without_permission(kind: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickled = base64.b64encode(pickle.dumps(Marking(marker))).decode()
    text = framing.join(kind, framing.pack([framing.join("00", pickled)]) if kind == "13" else pickled)
    with pytest.raises(PickleRefused, match="pass allow_pickle=True if you trust the endpoint"):
        serialize.load_data(text, allow_pickle=False)
    with pytest.raises(PickleRefused):
        serialize.load_arguments(framing.pack([text, "11\n{}"]), allow_pickle=False)
    assert not marker.exists()
    serialize.load_data(text, allow_pickle=True)
    assert marker.exists(), "the payload would have run code"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "what",
        "j1\n{",
        'j1\n{"$": "nothing", "v": 1}',
        'j1\n{"$": "tuple"}',
        'j1\n{"$": "uuid", "v": 3}',
        'j1\n{"$": ["tuple"], "v": []}',
        'j1\n{"$": "set", "v": [[]]}',
        "13\nx",
        "13\n",
        "11\n" + "[" * 100_000,
        "c0\n!!!",
        "c0\nAAAA",
        "00\nAAAA",
        "st\nf:def f(): pass",
    ],
)
def test_damaged_results_are_refused_with_one_kind_of_error(text: str) -> None:
    with pytest.raises(DeserializationError, match=r"\w+ \w+"):
        serialize.load_data(text, allow_pickle=True)


@pytest.mark.parametrize("payload", ["", "x", "5\n11\n[]", "5\n11\n{}5\n11\n[]"])
def test_arguments_of_another_shape_are_refused(payload: str) -> None:
    with pytest.raises(DeserializationError, match="arguments cannot be read"):
        serialize.load_arguments(payload)


def test_data_of_published_clients_is_read() -> None:
    text = framing.pack([framing.join("00", _dilled((1, {2}))), framing.join("13", framing.pack(["11\n{}", "00\nAA"]))])
    assert serialize.load_arguments(text) == ((1, {2}), {})
    assert serialize.load_data("11\n[NaN, 123456789012345678901]", allow_pickle=False)[1] == 123456789012345678901


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (threading.Lock(), r"_thread.lock at the value itself cannot be pickled"),
        ({"jobs": [1, {"at": threading.Lock()}]}, r"_thread.lock at value\['jobs'\]\[1\]\['at'\] cannot be pickled"),
        ((number for number in range(3)), "generator at the value itself"),
        (Boxed([threading.Lock()]), r"_thread.lock at value.value\[0\]"),
    ],
)
def test_what_cannot_be_sent_is_named_with_its_place(value: object, says: str) -> None:
    with pytest.raises(SerializationError, match=says):
        serialize.dump_data(value)


def test_recursive_deep_and_large_values_are_refused() -> None:
    recursive: dict[object, object] = {}
    recursive[1] = (recursive,)
    with pytest.raises(SerializationError, match="recursive: a dict contains itself"):
        serialize.dump_data(recursive)
    deep: object = ()
    for _ in range(3000):
        deep = (deep,)
    with pytest.raises(SerializationError, match="nested more than"):
        serialize.dump_data(deep)
    with pytest.raises(serialize.ValueTooLarge, match="1,005 bytes as text"):
        serialize.dump_data("x" * 1000, max_bytes=1000)
    assert serialize.dump_data("x" * 995, max_bytes=1000)


# Functions. ``_elsewhere`` calls them in a process that has neither this module nor its directory.

FACTOR = 3


def _helper(number: int) -> int:
    return number * FACTOR


def uses_helper(number: int) -> int:
    return _helper(number) + 1


def factorial(number: int) -> int:
    return 1 if number < 2 else number * factorial(number - 1)


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return [function(*args)]

    return wrapper


@_counted
def decorated(number: int) -> int:
    return number + 1


class Callable_:  # noqa: N801 - only its instances are called
    def __call__(self, number: int) -> int:
        return _helper(number)


class Shape:
    sides = 4

    def __init__(self, size: int) -> None:
        self.size = size

    def around(self) -> int:
        return self.sides * self.size

    @classmethod
    def made(cls, size: int) -> int:
        return super().__new__(cls).sides * size

    @staticmethod
    def area(size: int) -> int:
        return _helper(size)


def _closure(step: int) -> Callable[[int], int]:
    def add(number: int) -> int:
        return number + step

    return add


def uses_standard_library(text: str) -> dict[str, object]:
    return {"parsed": json.loads(text), "id": type(uuid.uuid4()).__name__}


def around(shape: Shape) -> int:
    return shape.around()


def _elsewhere(code: str, *args: object) -> object:
    program = (
        "import sys; from compute_agent import serialize; code, payload = sys.stdin.read().split('\\0');"
        "args, kwargs = serialize.load_arguments(payload);"
        "print(serialize.dump_data(serialize.load_function(code)(*args)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=f"{code}\0{serialize.dump_arguments(args, {})}",
        capture_output=True,
        text=True,
        cwd=Path(serialize.__file__).parent.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return serialize.load_data(done.stdout.rstrip("\n"), allow_pickle=True)


@pytest.mark.parametrize(
    ("function", "args", "result"),
    [
        (uses_helper, (2,), 7),
        (factorial, (6,), 720),
        (decorated, (2,), [3]),
        (lambda number: number + FACTOR, (1,), 4),
        (_closure(10), (1,), 11),
        (functools.partial(_closure(1)), (1,), 2),
        (functools.partial(uses_helper, 5), (), 16),
        (Shape(3).around, (), 12),
        (Shape.made, (2,), 8),
        (Shape.area, (2,), 6),
        (Callable_(), (2,), 6),
        (around, (Shape(5),), 20),
        (uses_standard_library, ("[1]",), {"parsed": [1], "id": "UUID"}),
        (math.sqrt, (9,), 3.0),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_functions_run_where_their_module_is_not(
    function: Callable[..., Any], args: tuple[Any, ...], result: object
) -> None:
    assert _elsewhere(serialize.dump_function(function), *args) == result


def test_a_class_of_the_user_comes_back_as_the_same_class() -> None:
    back = _elsewhere(serialize.dump_function(Shape), 2)
    assert isinstance(back, Shape)
    assert back.around() == 8


def test_a_function_of_main_runs_elsewhere(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from compute_agent import serialize\n"
        "BASE = 40\n"
        "def count(number):\n    return BASE + number if number < 3 else count(number - 1)\n"
        "print(serialize.dump_function(count))\n"
    )
    root = Path(serialize.__file__).parent.parent
    code = subprocess.check_output([sys.executable, script], text=True, cwd=root, env={"PYTHONPATH": str(root)})
    assert _elsewhere(code.rstrip("\n"), 9) == 42


def _code_made_with(modules: dict[str, str], tmp_path: Path, function: str, *, installed: bool = False) -> str:
    """The code of a function of one of the modules, made by a process that finds them in a directory."""
    for name, source in modules.items():
        (tmp_path / f"{name}.py").write_text(source)
    if installed:
        (tmp_path / "shared-1.0.dist-info").mkdir()
    root = Path(serialize.__file__).parent.parent
    module = function.partition(".")[0]
    program = f"import {module}; from compute_agent import serialize; print(serialize.dump_function({function}))"
    environment = {"PYTHONPATH": f"{tmp_path}:{root}"}
    return subprocess.check_output([sys.executable, "-c", program], text=True, env=environment).rstrip("\n")


def test_modules_that_a_function_imports_travel_with_it(tmp_path: Path) -> None:
    modules = {
        "steps": "import shared\nfrom shared import half\ndef run(x):\n    return shared.double(x) + half(x)\n",
        "shared": "def double(x):\n    return 2 * x\ndef half(x):\n    return double(x) / 4\n",
    }
    assert _elsewhere(_code_made_with(modules, tmp_path, "steps.run"), 4) == 10


@pytest.mark.parametrize("installed", [True, False])
def test_modules_that_are_installed_or_cannot_travel_are_looked_for_where_the_task_runs(
    installed: bool, tmp_path: Path
) -> None:
    modules = {
        "steps": "import shared\ndef run(x):\n    return shared.double(x)\n",
        "shared": "import threading\nlock = threading.Lock()\ndef double(x):\n    return 2 * x\n",
    }
    function = "shared.double" if installed else "steps.run"
    code = _code_made_with(modules, tmp_path, function, installed=installed)
    with pytest.raises(DeserializationError, match="needs the module shared, which is not installed here"):
        serialize.load_function(code)


def test_the_registry_of_modules_is_left_as_it_was() -> None:
    import cloudpickle

    serialize.dump_function(uses_helper)
    assert __name__ not in cloudpickle.list_registry_pickle_by_value()


def test_a_function_that_holds_a_lock_is_refused_with_its_place() -> None:
    lock = threading.Lock()

    def guarded() -> bool:
        return lock.locked()

    with pytest.raises(SerializationError, match=r"the function guarded cannot be sent: _thread.lock at value.lock"):
        serialize.dump_function(guarded)
    with pytest.raises(SerializationError, match="a function was expected, not int"):
        serialize.dump_function(3)  # type: ignore[arg-type]  # that is the mistake


def test_shell_functions_travel_as_json() -> None:
    function = ShellFunction("echo {word}", walltime=3)
    code = serialize.dump_function(function)
    assert not framing.is_pickle(code)
    assert serialize.load_function(framing.pack([code])) == function
    for damaged in ("sh\n{}", "sh\n[]", "sh\n{", 'sh\n{"cmd": ""}', 'sh\n{"cmd": 3}'):
        with pytest.raises(DeserializationError, match="shell command cannot be read"):
            serialize.load_function(damaged)


def test_another_python_version_is_noticed_before_anything_is_unpickled(tmp_path: Path) -> None:
    pickled = base64.b64encode(pickle.dumps(Marking(tmp_path / "marker"))).decode()
    for code, registered in ((f"c1\n2.7.18 {pickled}", ""), (f"01\n{pickled}", "2.7.18"), (f"02\n{pickled}", "2.7.18")):
        with pytest.raises(
            PythonVersionMismatch, match=rf"Python 2\.7\.18 and would run on Python 3\.{sys.version_info[1]}"
        ):
            serialize.load_function(code, python_version=registered)
    assert not (tmp_path / "marker").exists()
    same_minor = f"3.{sys.version_info[1]}.999"
    function = framing.split(serialize.dump_function(uses_helper))[1].split(" ")[1]
    assert serialize.load_function(f"c1\n{same_minor} {function}")(1) == 4


SOURCE = "    import math\n    def run(x):\n        return math.floor(x) + one()\n    def one():\n        return 1\n"


@pytest.mark.parametrize(
    "code",
    [
        f"st\nrun:{SOURCE}",
        f"sd\nrun:{SOURCE}",
        "01\n" + _dilled(eval("lambda x: int(x) + 1", {})),
        "02\n" + base64.b64encode(pickle.dumps(math.ceil)).decode(),
        "03\n" + _dilled(("run", SOURCE)),
        "04\n" + _dilled(("run", SOURCE)),
        "10\n04\n:" + _dilled(("run", SOURCE)) + ":01\n:AAAA:st\n:run:x",
        "10\n04\n:AAAA:01\n:" + _dilled(eval("lambda x: int(x) + 1", {})),
        "12\n" + framing.pack([f"st\nrun:{SOURCE}", "01\nAAAA"]),
    ],
    ids=lambda code: code[:2],
)
def test_functions_of_published_clients_are_read(code: str) -> None:
    assert serialize.load_function(code)(2.5) == 3
    assert serialize.load_function(framing.pack([code]))(2.5) == 3


def test_of_several_formats_source_is_used_when_the_pickle_is_of_another_python() -> None:
    code = "12\n" + framing.pack(["01\n" + _dilled(eval("lambda x: 'pickle'", {})), "st\nf:def f(x): return 'source'"])
    assert serialize.load_function(code, python_version=sys.version.split()[0])(1) == "pickle"
    assert serialize.load_function(code, python_version="3.1.0")(1) == "source"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("", "cannot be read"),
        ("zz\nabc", "cannot be read"),
        ("st\ndef f(): pass", "name, a colon, and the source"),
        ("st\nf:def f(:", "source of f cannot be run: SyntaxError"),
        ("st\nf:raise ValueError('no')", "source of f cannot be run: ValueError: no"),
        ("st\nf:f = 3", "does not define a function f"),
        ("c1\nAAAA", "registered by Python AAAA"),
        ("c1\n", "cannot be read"),
        ("10\nAAAA", "its code is empty"),
        ("11\n[]", "a function was expected"),
        ("02\n" + base64.b64encode(pickle.dumps(3)).decode(), "a function was expected, and int was sent"),
        ("02\n" + base64.b64encode(b"cno_such_module\nrun\n.").decode(), "needs the module no_such_module"),
    ],
)
def test_damaged_functions_are_refused(code: str, says: str) -> None:
    with pytest.raises(DeserializationError, match=says):
        serialize.load_function(code)


def test_source_lines_go_along_with_a_function_and_what_it_calls() -> None:
    sources = serialize.sources_of(framing.pack([serialize.dump_function(uses_helper)]))
    lines = sources[uses_helper.__code__.co_filename]
    first = uses_helper.__code__.co_firstlineno
    assert lines[first] == "def uses_helper(number: int) -> int:\n"
    assert lines[_helper.__code__.co_firstlineno + 1] == "    return number * FACTOR\n"
    assert factorial.__code__.co_firstlineno not in lines, "no more is sent than is used"
    assert serialize.sources_of("c1\n3.11.9 AAAA !!!!") == {}
    assert serialize.sources_of("what") == {}
