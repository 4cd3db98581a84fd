import pytest

from medtrans.scans.output.weighting import shown

GR_IR = {"ScanningSequence": ("GR", "IR"), "EchoTime": 2.98, "RepetitionTime": 2300.0, "InversionTime": 900.0}
SE_T1 = {"ScanningSequence": ("SE",), "EchoTime": 12.0, "RepetitionTime": 550.0}
SE_T2 = {"ScanningSequence": ("SE",), "EchoTime": 95.0, "RepetitionTime": 4500.0}
SE_PD = {"ScanningSequence": ("SE",), "EchoTime": 15.0, "RepetitionTime": 2500.0}
FLAIR = {"ScanningSequence": ("SE", "IR"), "EchoTime": 120.0, "RepetitionTime": 9000.0, "InversionTime": 2500.0}
EPI = {"ScanningSequence": ("EP", "SE"), "EchoTime": 90.0, "RepetitionTime": 6000.0}


@pytest.mark.parametrize(
    ("text", "fields", "suffix"),
    [
        ("t1_mprage_sag_p2_iso", {}, "T1w"), ("ADNI_Sag3D MPRAGE", {}, "T1w"), ("Ax FSPGR BRAVO", {}, "T1w"),
        ("3DT1 TFE", {}, "T1w"), ("SAG T1", {}, "T1w"), ("Ax T2 FRFSE", {}, "T2w"), ("t2_tse_tra", {}, "T2w"),
        ("Ax T2 FLAIR", {}, "FLAIR"), ("t2_tirm_tra_dark-fluid", {}, "FLAIR"), ("Sag 3D FLAIR", {}, "FLAIR"),
        ("AX T2* GRE", {}, "T2starw"), ("t2star_fl2d", {}, "T2starw"), ("Ax PD FSE", {}, "PDw"),
        ("TOF_3D_multi-slab", {}, "angio"), ("Ax T1 FLAIR", {"InversionTime": 860.0}, "T1w"),
        ("T1 T2 FLAIR", {"InversionTime": 2500.0}, "FLAIR"),
        ("pd+t2_tse", {"EchoTime": 12.0}, "PDw"), ("pd+t2_tse", {"EchoTime": 96.0}, "T2w"),
        ("", GR_IR, "T1w"), ("brain", SE_T1, "T1w"), ("brain", SE_T2, "T2w"), ("", SE_PD, "PDw"), ("", FLAIR, "FLAIR"),
    ],
)  # fmt: skip
def test_weighting_by_words_then_by_timing(text, fields, suffix):
    found = shown(text, fields, 1, False)
    assert (found.suffix, found.folder) == (suffix, "anat")
    named = any(word in text.lower() for word in ("t1", "t2", "pd", "flair", "mprage", "fspgr", "tof"))
    assert bool(found.note) is not named  # what timing alone says is told


@pytest.mark.parametrize(
    ("text", "fields", "times"),
    [
        ("brain", {}, 1), ("", EPI, 1), ("part1", {}, 1), ("T1 and T2", {}, 1), ("T1w", {"EchoTime": 100.0}, 1),
        ("Ax T1 FLAIR", {}, 1), ("t1_mp2rage_INV1", {}, 1), ("T1 map", {}, 1), ("gre_field_mapping", {}, 1),
        ("pcasl_3d", {}, 1), ("SWI_Images", {}, 1), ("Ax DWI ADC", {}, 1), ("t1 survey", {}, 1), ("MIP T1", {}, 1),
        ("t1", {"ImageType": ("DERIVED", "SECONDARY", "MPR")}, 1), ("t1", {}, 5), ("DWI", EPI, 7),
        ("pcasl rest", {}, 40), ("t1 csi", {}, 1), ("T2* DSC perfusion", {}, 50),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_not_named(text, fields, times):
    found = shown(text, fields, times, False)
    assert found.suffix == ""
    assert found.note


def test_four_dimensional_images_are_diffusion_or_function():
    assert shown("ep2d_diff", EPI, 7, True).suffix == "dwi"
    assert shown("ep2d_bold_moco", EPI, 200, False).folder == "func"
    assert shown("run1", EPI | {"SequenceName": "epfid2d1_64"}, 200, False).suffix == "bold"
