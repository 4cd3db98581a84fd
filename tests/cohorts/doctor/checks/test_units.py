"""CT that is not in HU and PET that is not in SUV are told; what nobody calls HU is not judged."""

import json

import numpy as np


def test_ct_without_its_intercept_and_pet_in_bq_are_errors(planted_pet_ct, said):
    planted_pet_ct.write(0, "CT", planted_pet_ct.read(0, "CT") + 1024)
    planted_pet_ct.write(1, "PET", planted_pet_ct.read(1, "PET") * 5000)
    planted_pet_ct.write(2, "PET", planted_pet_ct.read(2, "PET") * 0.001)
    found = planted_pet_ct.found("units")
    assert said(found) == {(0, "CT", "not in HU"), (1, "PET", "not in SUV"), (2, "PET", "not in SUV")}
    assert any("intercept was not applied" in f.problem for f in found)


def test_padding_outside_the_body_and_negative_uptake_are_told(planted_pet_ct, said):
    values, body = planted_pet_ct.read(0, "CT"), planted_pet_ct.read(0, "mask") > 0
    planted_pet_ct.write(0, "CT", np.where(body, values, 0).astype(np.float32))
    planted_pet_ct.write(1, "PET", planted_pet_ct.read(1, "PET") - np.float32(1.0))
    told = said(planted_pet_ct.found("units"))
    assert {(0, "CT", "air not near -1000 HU"), (1, "PET", "negative uptake")} <= told


def test_values_that_nobody_calls_hu_are_not_judged(planted_pet_ct, said):
    planted_pet_ct.write(0, "CT", planted_pet_ct.read(0, "CT") + 1024)
    windows = {"PET": {"lower": 0, "upper": 20, "unit": "SUV"}, "CT": {"lower": 0, "upper": 3794, "unit": ""}}
    planted_pet_ct.table(intensity={0: json.dumps(windows)})
    assert said(planted_pet_ct.found("units")) == set()
