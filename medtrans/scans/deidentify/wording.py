"""Free text without people: words of imaging only, and text out of which what identifies the patient was taken."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What descriptions of series, studies and protocols are made of; no word that is hardly ever anything but a name.
VOCABULARY = """
    2d 3d 4d t1 t2 t1w t2w t2s t2star t1rho pd pdw pdt2 flair dark fluid tirm stir spair spir fs fatsat fat sat
    suppressed water wfs dixon inphase outphase opposed phase ip op magnitude mag real imag imaginary complex
    mprage mp rage mp2rage bravo spgr fspgr vibe thrive lava flash gre ffe tfe tse fse se ge ir irfse haste ssfse trufi
    truefisp fisp ciss fiesta space cube vista vista3d sense grappa caipi asset arc blade propeller radial spiral epi
    gr grappa2 fl tfl turbo fast ultra ute zte bold fmri func resting rest task asl pasl pcasl perf perfusion dsc dce
    ktrans swi swan suscept susceptibility qsm venobold hemo star adc trace tracew fa dti dwi diff diffusion tensor
    colfa ep2d ep3d b0 b1 b bval bvec dir directions map maps fieldmap field mapping fmap shim relax relaxometry quant
    quantitative fraction tof pc angio mra mrv mrcp cine tagging tag spectro spectroscopy svs csi mrs press steam
    localizer localiser loc scout survey topogram surview scanogram calib calibration smartbrain ref reference test
    tra trans transverse ax axial sag sagittal cor coronal obl oblique iso isotropic axis long short view ap pa lat
    pre post native contrast con km gd gad gado ce plus delayed late early arterial venous portal equilibrium phase
    art ven por del nonenhanced noncontrast enhanced without with w wo and of the in on for from to
    head brain skull cranium cranial neuro face facial neck cspine tspine lspine spine spinal cervical thoracic lumbar
    sacral thorax chest lung lungs mediastinum heart cardiac coronary aorta abdomen abdominal liver hepatic pancreas
    kidney renal spleen bowel pelvis pelvic prostate bladder uterus breast mamma body whole wholebody wb torso extremity
    shoulder elbow wrist hand hip knee ankle foot leg arm femur tibia orbit orbits sinus sinuses pituitary temporal
    hippocampus bone bones soft tissue vessel carotid pulmonary vascular inner ear iac internal auditory canal skin
    ct pet mr mri mrt nm spect pt petct petmr cta ctp ctac ac nac attn uncorrected corrected attenuation correction
    noncorrected non acq acquisition recon reconstruction iterative fbp osem psf ofov fov wfov efov matrix kernel sharp
    smooth standard soft bone lung detail edge helical spiral sequence series volume vol slab slice slices thin thick
    dyn dynamic static gated gating resp respiratory ecg trigger triggered breath hold bh free breathing nav navigator
    rt planning plan sim treatment low high dose lowdose highdose full half quarter count counts bed position motion
    moving still mc moco moved unmoved corr mip minip mpr mpvr reformat reformatted sub subtraction subtracted mean std
    average averaged derived synthetic registered fused fusion mask seg segmentation label phantom qa qc
    fdg flt fet psma dota dotatate dotatoc naf fch methionine amyloid tau florbetapir florbetaben rubidium ammonia
    fluorine f18 c11 ga68 o15 n13 cu64 zr89 rb82
    echo echoes te tr ti nex nsa etl avg rep reps part run scan scans study exam examination protocol routine clinical
    research control baseline followup follow up left right both upper lower anterior posterior superior inferior
    gantry tilt head_first supine prone feet hfs ffs hfp ffp ventilation inspiration expiration insp exp rest stress
    iodine vnc mono monoenergetic kev spectral dual energy zeff virtual calcium score scoring osteo dentascan
    dose report screen save info patient
"""
WORDS = frozenset(VOCABULARY.split())
UNITS = "mm|cm|ms|msec|s|sec|min|kv|kvp|mas|ma|kev|mev|hu|t|tesla|deg|grad|d|ch|hz|mbq|mci|x|th|st|nd|rd|fr|frames|%"
MEASURE = re.compile(rf"\d{{1,4}}(?:[.,]\d{{1,3}})?(?:{UNITS})|\d{{1,3}}(?:x\d{{1,3}}){{1,2}}(?:mm)?")
COUNTED = re.compile(
    r"(?:te|tr|ti|fa|p|i|iso|fov|nex|nsa|etl|tf|sms|mb|ir|s|se|sl|bed|phase|echo|part|run|dyn|d)\d{1,3}"
)
B_VALUE = re.compile(r"b\d{1,4}")
KERNEL = re.compile(r"[bdhijqt](?:[cdfrvlu]{1,2})?\d{2}[a-z]?")
NUMBER = re.compile(r"\d{1,2}(?:[.,]\d{1,2})?|100")
PIECE = re.compile(r"[^\W_]+(?:[.,]\d+[^\W_]*)*[*%]?|%")
SHORTEST_NAME, SHORTEST_ID = 3, 4  # characters that a name or an ID in ASCII must have to be looked for in other text


def known_word(word: str) -> bool:
    """Whether a word is one of imaging, or a measure such as ``1.5mm``."""
    word = word.lower()
    return word.rstrip("*") in WORDS or any(
        pattern.fullmatch(word) is not None for pattern in (MEASURE, COUNTED, B_VALUE, KERNEL)
    )


def cleaned(text: str) -> str:
    """What words and measures of imaging ``text`` has: ``T1 mprage 1.0mm`` of ``T1_mprage 1.0mm Doe``.

    Plain numbers stay where they stand alone and are small: a date is three of them, a record number is long.
    """
    pieces = PIECE.findall(text)
    kept: list[str] = []
    for at, piece in enumerate(pieces):
        around = [pieces[place] for place in (at - 1, at + 1) if 0 <= place < len(pieces)]
        alone = NUMBER.fullmatch(piece) is not None and not any(other[:1].isdigit() for other in around)
        pair = len(piece) == 1 and piece.isdigit() and _is_pair(pieces, at)
        if known_word(piece) or alone or pair or (piece == "%" and kept and kept[-1].isdigit()):
            kept.append(piece)
    return " ".join(kept)


def _is_pair(pieces: list[str], at: int) -> bool:
    """Whether a digit stands with just one other, as in ``1-4``."""
    first = at
    while first > 0 and pieces[first - 1][:1].isdigit():
        first -= 1
    last = at
    while last + 1 < len(pieces) and pieces[last + 1][:1].isdigit():
        last += 1
    return last - first == 1 and all(len(piece) == 1 for piece in pieces[first : last + 1])


class KnownIdentifiers:
    """Finds in any text what a header says of its patient elsewhere: the parts of names, IDs, dates of birth.

    Args:
        names: of people, as DICOM writes them.
        ids: numbers, addresses, any text that is theirs as a whole.
        births: dates, YYYYMMDD.
    """

    def __init__(self, names: Iterable[str] = (), ids: Iterable[str] = (), births: Iterable[str] = ()) -> None:
        parts = {part for name in names for part in re.split(r"[\^=\s,;]+", name)}
        words = {part for part in parts if _can_be_found(part, SHORTEST_NAME)}
        whole = {text.strip() for text in ids if _can_be_found(text.strip(), SHORTEST_ID)}
        whole |= {form for birth in births if len(birth) == 8 for form in _written(birth)}
        apart = [
            re.escape(word) if _unspaced(word) else rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"
            for word in _longest_first(words)
        ]
        patterns = [*map(re.escape, _longest_first(whole)), *apart]
        self.exact = {text.casefold() for text in words | whole}
        self.pattern = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def without(self, text: str) -> str:
        """``text`` without them."""
        if self.pattern is None or self.pattern.search(text) is None:
            return text
        return re.sub(r"\s{2,}", " ", self.pattern.sub("", text)).strip(" ^_-,;:")

    def is_one(self, text: str) -> bool:
        """Whether ``text`` is nothing else."""
        return text.strip().casefold() in self.exact


def _can_be_found(text: str, shortest: int) -> bool:
    """Whether ``text`` can be told from other words: ``Li`` or ``Head`` cannot, ``Lê`` and a single ``李`` can."""
    if not text.isascii():
        shortest = 1 if _unspaced(text) else 2
    return len(text) >= shortest and not known_word(text)


def _unspaced(text: str) -> bool:
    """Whether the script has no capitals: East Asian ones, of which most write words without spaces between them."""
    return not text.isascii() and text.lower() == text.upper()


def _longest_first(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=lambda text: (-len(text), text))


def _written(birth: str) -> set[str]:
    year, month, day = birth[:4], birth[4:6], birth[6:]
    marks = "-./"
    return {
        birth,
        *(mark.join(order) for mark in marks for order in ((year, month, day), (day, month, year), (month, day, year))),
    }
