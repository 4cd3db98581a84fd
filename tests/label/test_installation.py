"""Where MONAI Label is not installed, the command says how to get it."""

from importlib.util import find_spec

import pytest

from medtrans.cli import main


@pytest.mark.skipif(find_spec("monailabel") is not None, reason="MONAI Label is installed here")
def test_without_monai_label_the_command_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["medtrans", "label", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code not in (0, None)
    assert "make label" in capsys.readouterr().err
