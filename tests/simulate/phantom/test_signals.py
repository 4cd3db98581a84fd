"""The brightness of a tissue follows the signal equations."""

import numpy as np
import pytest

from medtrans.simulate.phantom.signals import MODALITIES, Protocol, inversion_recovery, spin_echo
from medtrans.simulate.phantom.tissues import LABELS, TISSUES, Tissue, individual_tissues


def equations(protocol: Protocol, tissue: Tissue) -> dict[str, float]:
    """The equations once more, in NumPy and simulated differently: relaxation as matrices' solutions over a cycle."""

    def steady_state(ti, tr):
        # The magnetisation is inverted, recovers over ti, is tipped to 0 and recovers over tr - ti to what it was.
        recover = lambda start, time: 1 + (start - 1) * np.exp(-time / tissue.t1)  # noqa: E731
        before_inversion = recover(0.0, tr - ti)
        return abs(recover(-before_inversion, ti))

    decay = lambda te: tissue.pd * np.exp(-te / tissue.t2)  # noqa: E731
    p = protocol
    return {
        "T1": 1000 * decay(p.t1_te) * steady_state(p.t1_ti, p.t1_tr),
        "T2": 1000 * decay(p.t2_te) * -np.expm1(-p.t2_tr / tissue.t1),
        "PD": 1000 * decay(p.pd_te) * -np.expm1(-p.pd_tr / tissue.t1),
        "FLAIR": 1000 * decay(p.flair_te) * steady_state(p.flair_ti, p.flair_tr),
        "CT": tissue.hu,
        "PET": tissue.suv,
    }


@pytest.mark.parametrize("name", TISSUES)
def test_every_tissue_follows_the_bloch_equations(name):
    protocol = Protocol.draw(np.random.default_rng(3))
    expected = equations(protocol, TISSUES[name])
    for modality in MODALITIES:
        assert protocol.value(modality, TISSUES[name]) == pytest.approx(expected[modality], rel=1e-9, abs=1e-9)


def test_inversion_at_the_null_gives_no_signal():
    fluid = Tissue(t1=4200, t2=1400, pd=1, hu=0, suv=0)
    null = fluid.t1 * (np.log(2) - np.log1p(np.exp(-9000 / fluid.t1)))
    assert inversion_recovery(fluid, null, 9000, 100) == pytest.approx(0, abs=1e-12)
    assert spin_echo(fluid, 1e9, 0) == pytest.approx(1)


def test_contrast_is_that_of_the_clinic():
    value = {m: {t: Protocol().value(m, TISSUES[t]) for t in TISSUES} for m in MODALITIES}
    csf, grey, white, bone = "cerebrospinal fluid", "grey matter", "white matter", "cortical bone"
    assert value["T1"]["fat"] > value["T1"][white] > value["T1"][grey] > value["T1"][csf]
    assert value["T2"][csf] > value["T2"][grey] > value["T2"][white] > value["T2"][bone]
    assert value["PD"][grey] > value["PD"][white]
    assert value["FLAIR"][csf] < 0.15 * value["FLAIR"][grey]
    assert value["FLAIR"]["oedema"] > value["FLAIR"][grey] > value["FLAIR"][white]
    assert value["CT"]["air"] == -1000 < value["CT"]["fat"] < 0 < value["CT"][white] < value["CT"][grey] < 60 < 300
    assert value["CT"][bone] > 300
    assert value["PET"][grey] > 2 * value["PET"][white] > 4 * value["PET"][csf]


def test_people_differ_within_limits():
    first, second = (individual_tissues(np.random.default_rng(seed)) for seed in (0, 1))
    assert first != second
    assert list(first) == list(TISSUES) == list(LABELS)
    for name, tissue in TISSUES.items():
        assert abs(first[name].t1 / tissue.t1 - 1) <= 0.0701
        assert first["air"].hu == -1000
        assert first[name].pd >= 0
