"""Public data sets in miniature: heads given by a formula, in the folders and files that a download unpacks to.

``LAYOUTS[name](folder)`` writes three subjects. ``head(points, subject)`` is the truth at any point of the world, so
that tests can ask a prepared volume for its value anywhere.
"""

import json

import nibabel
import numpy as np
import SimpleITK

LANDMARK = np.array([26.0, -22.0, 18.0])
HALF_AXES = np.array([70.0, 88.0, 76.0])  # mm
STEP = 5.0  # mm
AXIAL = np.diag([STEP, STEP, STEP])
LPS = np.diag([-STEP, -STEP, STEP])
SAGITTAL = np.array([[0, 0, STEP], [-STEP, 0, 0], [0, STEP, 0]])
CONTRAST = {
    "T1": lambda t: 600 * t,
    "T2": lambda t: 400 * t * (3.2 - t),
    "PD": lambda t: 400 * t + 60 * t**2,
    "T1C": lambda t: 500 * t + 150 * t**2,
    "FLAIR": lambda t: 600 * t * (2.2 - 0.7 * t),
    "CT": lambda t: -1000 + 1040 * np.minimum(t, 1) + 500 * np.maximum(t - 1, 0),
    "PET": lambda t: 6.0 * t**2,  # SUV
    "NAC": lambda t: 900.0 * t * (1 - 0.3 * t),
}


def head(points, subject=0):
    """0 in air, about 1 in the head, 2 at a spot on its right: ``(..., 3)`` RAS mm -> ``(...)``."""
    x, y, z = np.moveaxis(points, -1, 0)
    depth = 1 - np.linalg.norm(points / (HALF_AXES * (1 - 0.03 * subject)), axis=-1)
    inside = 1 / (1 + np.exp(-np.clip(depth * 30, -50, 50)))
    folds = 0.25 * np.sin(x / 12 + 0.3 * subject) * np.cos(y / 15) + 0.15 * np.sin(z / 14 + x / 30)
    spot = np.exp(-((points - LANDMARK) ** 2).sum(axis=-1) / (2 * 10.0**2))
    return inside * (1 + folds) + spot


def body(points, subject=0, wider=0.0):
    """Whether points lie in the head, ``wider`` mm added around it."""
    return np.linalg.norm(points / (HALF_AXES * (1 - 0.03 * subject) + wider), axis=-1) < 1


def world(shape, affine):
    """``(*shape, 3)`` RAS positions of the voxels."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def placed(linear, shape):
    """The affine of a grid with these axes, centred on the head."""
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def save(path, values, affine):
    """Write NIfTI by nibabel or MetaImage by SimpleITK, as the ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".mha":
        image = nibabel.Nifti1Image(values, affine)
        image.set_sform(affine, code=1)
        nibabel.save(image, path)
        return
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.transpose()))
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path))


def scan(path, contrast, subject, linear=AXIAL, shape=(36, 44, 38), motion=None, stripped=False, noise=0.002):
    """One scan of the head. ``motion`` leads from the head's place to where it lies in this scan."""
    affine = placed(linear, shape)
    there = np.eye(4) if motion is None else np.linalg.inv(motion)
    points = world(shape, there @ affine)
    values = CONTRAST[contrast](head(points, subject))
    values = values + noise * np.ptp(values) * np.random.default_rng(hash_of(path)).normal(size=shape)
    if stripped:
        values = np.where(body(points, subject, -8.0), np.maximum(values, 1), 0)
    save(path, values.astype(np.float32), affine)


def hash_of(path):
    """The same number for the same file name, in every process."""
    return sum(ord(letter) * place for place, letter in enumerate("/".join(path.parts[-3:]), 1))


def turned(degrees, shift):
    """A turn about the vertical axis and a shift."""
    angle, motion = np.deg2rad(degrees), np.eye(4)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[:3, 3] = shift
    return motion


MOVED = turned(6, (9.0, -7.0, 6.0))


def ixi(folder):
    for number, name in enumerate(("IXI002-Guys-0828", "IXI012-HH-1211", "IXI035-IOP-0873")):
        scan(folder / f"IXI-T1/{name}-T1.nii.gz", "T1", number, SAGITTAL, (44, 38, 36))
        scan(folder / f"IXI-T2/{name}-T2.nii.gz", "T2", number, motion=MOVED)
        scan(folder / f"IXI-PD/{name}-PD.nii.gz", "PD", number, motion=MOVED)


def brats_2021(folder):
    for number in range(3):
        name = f"BraTS2021_{number:05d}"
        for contrast, ending in (("T1", "t1"), ("T1C", "t1ce"), ("T2", "t2"), ("FLAIR", "flair")):
            scan(folder / name / f"{name}_{ending}.nii.gz", contrast, number, LPS, stripped=True)
        _glioma(folder / name / f"{name}_seg.nii.gz")


def brats_2023(folder):
    for number, visit in ((0, 0), (0, 1), (2, 0), (3, 0)):  # the first patient came twice
        name = f"BraTS-GLI-{number:05d}-{visit:03d}"
        for contrast, ending in (("T1", "t1n"), ("T1C", "t1c"), ("T2", "t2w"), ("FLAIR", "t2f")):
            scan(folder / name / f"{name}-{ending}.nii.gz", contrast, number, LPS, stripped=True)
        _glioma(folder / name / f"{name}-seg.nii.gz")


def _glioma(path, shape=(36, 44, 38)):
    distance = np.linalg.norm(world(shape, placed(LPS, shape)) - LANDMARK, axis=-1)
    save(
        path, np.select([distance < 8, distance < 14, distance < 20], [4, 1, 2], 0).astype(np.uint8), placed(LPS, shape)
    )


def hcp(folder):
    linear, shape = np.diag([-0.7, 0.7, 0.7]) * 6, (42, 50, 44)
    for number, name in enumerate(("100307", "100408", "101107")):
        for contrast in ("T1", "T2"):
            for ending, stripped in (("", False), ("_brain", True)):
                file = folder / name / "T1w" / f"{contrast}w_acpc_dc_restore{ending}.nii.gz"
                scan(file, contrast, number, linear, shape, stripped=stripped)


def synthrad_2023(folder):
    _synthrad(folder, ("brain/1BA001", "brain/1BB002", "pelvis/1PA003"), ".nii.gz")


def synthrad_2025(folder):
    _synthrad(folder, ("HN/1HNA001", "TH/1THB002", "AB/1ABC003"), ".mha")


def _synthrad(folder, names, ending, shape=(36, 44, 38)):
    for number, name in enumerate(names):
        case = folder / "Task1" / name
        scan(case / f"mr{ending}", "T1", number)
        scan(case / f"ct{ending}", "CT", number)
        mask = body(world(shape, placed(AXIAL, shape)), number, 6.0)
        save(case / f"mask{ending}", mask.astype(np.uint8), placed(AXIAL, shape))
    (folder / "Task1" / names[0].split("/")[0] / "overview").mkdir()
    (folder / "Task1" / names[0].split("/")[0] / "overview" / "1_info.csv").write_text("ID\n")


def kirby21(folder):
    for number in range(3):
        for contrast, name in (("T1", "MPRAGE"), ("FLAIR", "FLAIR")):
            file = folder / f"KKI2009-ALL-{name}" / f"KKI2009-{number + 1:02d}-{name}.nii"
            scan(file, contrast, number, SAGITTAL, (44, 38, 36))


def mr_art(folder):
    for number, name in enumerate(("sub-000103", "sub-000148", "sub-000175")):
        scan(folder / name / "anat" / f"{name}_acq-standard_T1w.nii.gz", "T1", number)
        for run in (1, 2):
            file = folder / name / "anat" / f"{name}_acq-headmotion{run}_T1w.nii.gz"
            scan(file, "T1", number, motion=turned(3 * run, (2.0 * run, 0, -3.0)), noise=0.02)
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "MR-ART"}))


def pet_ct(folder):
    for number, name in enumerate(("p01", "p02", "p03")):
        scan(folder / name / "CT.nii.gz", "CT", number, AXIAL * 0.8, (44, 54, 46))
        for contrast in ("PET", "NAC")[: 2 - (number == 2)]:  # nobody kept the last uncorrected one
            scan(folder / name / f"{contrast}.nii.gz", contrast, number, LPS)
        (folder / name / "PET.json").write_text(json.dumps({"modality": "PT", "unit": "SUV"}))


def pet_times(folder):
    for number, name in enumerate(("p01", "p02", "p03")):
        for share, noise in ((25, 0.04), (100, 0.005)):
            scan(folder / name / f"PET_{share}.nii.gz", "PET", number, LPS, noise=noise)


def mr_ct(folder):
    for number, name in enumerate(("p01", "p02", "p03")):
        scan(folder / name / "CT.nii.gz", "CT", number)
        scan(folder / name / "MR.nii.gz", "T1", number, SAGITTAL, (44, 38, 36), motion=MOVED)


def clean_t1(folder):
    for number in range(3):
        scan(folder / f"p0{number + 1}.nii.gz", "T1", number, SAGITTAL, (44, 38, 36))


def clean_ct(folder):
    for number in range(3):
        scan(folder / f"p0{number + 1}.nii.gz", "CT", number, LPS)


LAYOUTS = {
    "IXI": ixi, "BRATS_2021": brats_2021, "BRATS_2023": brats_2023, "HCP": hcp, "SYNTHRAD_2023": synthrad_2023,
    "SYNTHRAD_2025": synthrad_2025, "KIRBY21": kirby21, "MR_ART": mr_art, "PET_CT": pet_ct, "PET_TIMES": pet_times,
    "MR_CT": mr_ct, "CLEAN_T1": clean_t1, "CLEAN_CT": clean_ct,
}  # fmt: skip
