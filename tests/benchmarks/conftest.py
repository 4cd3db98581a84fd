"""What all tests of the scripts in ``benchmarks/`` need: the scripts as modules."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script():
    """``script("severity")``, ``script("loss_catalogue/study")``: as a module, which finds what lies beside it."""

    def loaded(name):
        path = BENCHMARKS / f"{name}.py"
        patch.syspath_prepend(str(path.parent))
        module = importlib.import_module(path.stem)
        assert Path(module.__file__) == path
        return module

    with pytest.MonkeyPatch.context() as patch:
        yield loaded
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(BENCHMARKS)):
            del sys.modules[name]
