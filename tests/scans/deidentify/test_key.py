import json
import os
import stat

import pytest

from medtrans import InputError
from medtrans.scans.deidentify.key import Key, needed_key, refuse_inside

PAIRS = [(f"p{n}", f"1.2.{n}.{k}") for n in range(12) for k in range(2)]


def test_the_same_key_gives_the_same_again_in_another_run(tmp_path):
    first = Key(tmp_path / "key.json")
    owners, uid, days = first.owners(PAIRS), first.uid("1.2.3"), first.days("p1")
    again = Key(tmp_path / "key.json")
    assert (again.owners(reversed(PAIRS)), again.uid("1.2.3"), again.days("p1")) == (owners, uid, days)


def test_patients_that_come_later_leave_the_others_their_names(tmp_path):
    before = Key(tmp_path / "key.json").owners(PAIRS[:6])
    after = Key(tmp_path / "key.json").owners(PAIRS)
    assert before.items() <= after.items()
    assert len({owner.name for owner in after.values()}) == 12


def test_numbers_and_shifts_follow_the_secret_and_not_the_identifiers(tmp_path):
    """Whoever knows all IDs must not be able to sort them and read off whose number is whose."""
    orders, shifts = [], []
    for n in range(4):
        key = Key(tmp_path / f"key{n}.json")
        owners = key.owners(PAIRS)
        orders.append(tuple(owners[pair].name for pair in PAIRS))
        shifts.append(tuple(key.days(patient) for patient, _ in PAIRS))
    assert len({*orders}) == 4
    assert len({*shifts}) == 4


def test_the_file_is_for_its_owner_only_and_holds_no_identifier(tmp_path):
    Key(tmp_path / "key.json").owners([("Zqvortex-4711", "1.2.3")])
    assert stat.S_IMODE(os.stat(tmp_path / "key.json").st_mode) == 0o600
    assert "Zqvortex" not in (tmp_path / "key.json").read_text()


def test_two_commands_at_a_time_share_one_secret_and_give_no_name_twice(tmp_path):
    one, two = Key(tmp_path / "key.json"), Key(tmp_path / "key.json")
    assert one.uid("1.2.3") == two.uid("1.2.3")
    names = [
        owner.name
        for key, pair in ((one, PAIRS[0]), (two, PAIRS[2]), (one, PAIRS[4]))
        for owner in key.owners([pair]).values()
    ]
    assert len({*names}) == 3
    assert {owner.name for owner in two.owners(PAIRS[:6]).values()} == {*names}


def test_a_key_that_must_not_be_made_is_not(tmp_path):
    assert Key(tmp_path / "key.json", make=False).owners(PAIRS[:1])
    assert not list(tmp_path.iterdir())


def test_another_file_is_no_key_and_stays_as_it_is(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"epochs": 3}')
    with pytest.raises(InputError, match="is no key"):
        Key(path)
    assert path.read_text() == '{"epochs": 3}'


@pytest.mark.parametrize("salt", ["", "0123456789abcde", None])
def test_a_secret_that_could_be_guessed_is_no_key(tmp_path, salt):
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"salt": salt, "names": {}}))
    with pytest.raises(InputError, match="is no key"):
        Key(path)


def test_a_key_in_the_output_is_refused(tmp_path):
    with pytest.raises(InputError, match="apart from what you hand on"):
        refuse_inside(tmp_path / "out" / "key.json", tmp_path / "out")


def test_options_that_need_each_other_are_asked_for(tmp_path):
    with pytest.raises(InputError, match="needs a key"):
        needed_key(True, None)
    with pytest.raises(InputError, match="Add --deidentify"):
        needed_key(False, tmp_path / "key.json")
    assert needed_key(False, None) is None
