"""What a proxy shows of a module, of the standard library and of a package that the user allowed."""

from __future__ import annotations

import copy
import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from rlm.repl.guest.policy.modules import RELAXED, STRICT
from rlm.repl.guest.policy.proxies import Importer, ModuleProxy
from tests.unit.repl.guest.policy.policies import run

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("numpy", "pandas")

NOT_OF_THE_PACKAGE = [
    "import numpy as np\ngot = np.os",
    "import numpy as np\ngot = np.sys",
    "import numpy as np\ngot = np.lib.npyio.os",
    "import numpy as np\ngot = np._core",
    "import numpy as np\ngot = np.testing",
    "import numpy as np\ngot = np.ctypeslib",
    "import numpy as np\ngot = np.f2py",
    "import numpy as np\nnp.array = 1",
    "import pandas as pd\ngot = pd.io.common.os",
    "import pandas as pd\ngot = pd.io.common.codecs.builtins",
    "import pandas as pd\ngot = pd.core.frame.functools",
    "import pandas as pd\ngot = pd.core.generic.pickle",
    "import pandas as pd\ngot = pd.core.common.builtins",
    "import pandas as pd\ngot = pd.compat.pickle_compat.pickle",
    "import pandas as pd\ngot = pd.core.computation.eval.tokenize",
    "import pandas as pd\ngot = getattr(pd.io.common, 'mmap')",
]


@pytest.fixture(scope="module")
def importer() -> Importer:
    return Importer(RELAXED, PACKAGES)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package `pack` that re-exports what packages do."""
    pack, part = ModuleType("pack"), ModuleType("pack.part")
    code = "import os, sys, functools\nfrom operator import attrgetter, itemgetter\n"
    code += "from builtins import open, eval\ndef own(): pass"
    exec(code, vars(pack))
    pack.part, part.up = pack, pack  # type: ignore[attr-defined]
    pack.part = part  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pack", pack)
    monkeypatch.setitem(sys.modules, "pack.part", part)
    return pack


def every_value(proxy: ModuleProxy) -> list[Any]:
    return [getattr(proxy, name) for name in dir(proxy)]


@pytest.mark.parametrize("name", sorted(RELAXED))
def test_no_listed_module_shows_a_module(importer: Importer, name: str) -> None:
    shown = every_value(importer.import_module(name, "bound"))
    assert not [value for value in shown if isinstance(value, ModuleType)]


@pytest.mark.parametrize("name", sorted(set(RELAXED) - {"concurrent", "urllib", "xml", "xml.etree"}))
def test_every_listed_module_shows_something(importer: Importer, name: str) -> None:
    assert dir(importer.import_module(name, "bound"))


@pytest.mark.parametrize("name", sorted(RELAXED))
def test_classes_of_listed_modules_hold_no_module(importer: Importer, name: str) -> None:
    classes = [value for value in every_value(importer.import_module(name, "bound")) if isinstance(value, type)]
    held = [(kind, n) for kind in classes for n, v in vars(kind).items() if isinstance(v, ModuleType) and n[0] != "_"]
    assert held == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_shows_only_its_own_submodules(importer: Importer, package: str) -> None:
    proxies = [value for value in every_value(importer.import_module(package)) if isinstance(value, ModuleProxy)]
    assert proxies
    assert all(repr(proxy).startswith(f"<module '{package}.") for proxy in proxies)


@pytest.mark.parametrize("code", NOT_OF_THE_PACKAGE)
def test_what_a_package_merely_exposes_is_not_reachable(code: str) -> None:
    with pytest.raises(AttributeError):
        run(code, imports=PACKAGES)


@pytest.mark.parametrize("name", ["numpy.f2py", "numpy._core", "numpy.testing", "pandas._libs", "numpy.nothing_there"])
def test_private_and_denied_submodules_cannot_be_imported(importer: Importer, name: str) -> None:
    with pytest.raises(ImportError):
        importer.import_module(name)


@pytest.mark.parametrize("name", ["os", "sys", "functools", "attrgetter", "open", "eval"])
def test_what_a_package_re_exports_is_not_its_own(package: ModuleType, name: str) -> None:
    proxy = Importer(RELAXED, ["pack"]).import_module("pack")
    assert hasattr(package, name)
    assert not hasattr(proxy, name)


def test_of_the_standard_library_a_package_re_exports_what_is_listed(package: ModuleType) -> None:
    proxy = Importer(RELAXED, ["pack"]).import_module("pack")
    assert [name for name in dir(proxy) if name != "part"] == ["itemgetter", "own"]


def test_a_submodule_is_one_proxy_however_it_is_reached(package: ModuleType) -> None:
    importer = Importer(RELAXED, ["pack"])
    assert importer.import_module("pack.part", "p") is importer.import_name("pack", "part")
    assert importer.import_module("pack.part").part is importer.import_module("pack.part", "p")


def test_a_package_of_the_standard_library_is_shown_whole_if_the_user_allows_it() -> None:
    importer = Importer(STRICT, ["inspect"])
    assert callable(importer.import_module("inspect").signature)


def test_a_dotted_name_can_be_allowed_alone() -> None:
    importer = Importer(STRICT, ["numpy.linalg"])
    assert importer.import_module("numpy.linalg").linalg.norm([3, 4]) == 5
    with pytest.raises(ImportError):
        importer.import_module("numpy")


def test_import_of_a_submodule_binds_the_first_part() -> None:
    bound = Importer(RELAXED, ()).import_module("os.path")
    assert bound.path.basename("/a/b") == "b"
    assert not hasattr(bound, "getcwd")


def test_the_refusal_of_an_import_says_what_to_do(importer: Importer) -> None:
    with pytest.raises(ImportError, match=r"'os' is not allowed here; use `context` and the tools.*Available: abc"):
        importer.import_module("os")
    with pytest.raises(ImportError, match="did you mean 'statistics'"):
        importer.import_module("statistic")


def test_the_refusal_of_a_name_offers_close_ones(importer: Importer) -> None:
    with pytest.raises(AttributeError, match=r"math.squrt is not available here; did you mean sqrt"):
        importer.import_module("math").squrt  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'dump5' from 'json'.*did you mean dump, dumps"):
        importer.import_name("json", "dump5")


def test_a_name_that_is_absent_leaves_no_module_in_the_exception(importer: Importer) -> None:
    with pytest.raises(AttributeError) as caught:
        importer.import_module("json").codecs  # noqa: B018
    assert caught.value.__context__ is None
    assert not isinstance(caught.value.obj, ModuleType)


def test_a_copy_of_a_proxy_is_the_proxy(importer: Importer) -> None:
    proxy = importer.import_module("json")
    assert copy.copy(proxy) is proxy
    assert copy.deepcopy([proxy])[0] is proxy
    with pytest.raises(TypeError):
        proxy.__reduce_ex__(4)


def test_preload_imports_what_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    monkeypatch.setattr(importlib, "import_module", imported.append)
    Importer(STRICT, ["pack"]).preload()
    assert {"json", "re", "pack"} <= set(imported)
