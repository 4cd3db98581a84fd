"""The ``medtrans`` command: one thin function a subcommand, each calling the room that does the work."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from medtrans.errors import CasesFailedError, InputError, input_error_behind

app = typer.Typer(
    name="medtrans",
    help="Medical image-to-image translation on MONAI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

NOISY = ("matplotlib", "nibabel", "pydicom", "distributed", "asyncio", "PIL", "fsspec", "monai", "dicomweb_client",
         "urllib3")  # fmt: skip

bundles = typer.Typer(help="Pack a trained bundle into one file, and open one elsewhere.", no_args_is_help=True)
app.add_typer(bundles, name="bundle")


@app.callback()
def options(verbose: Annotated[bool, typer.Option(help="Say more while working.")] = False) -> None:
    """Translate between imaging modalities: convert, prepare, train (monai.bundle), translate, evaluate."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)
        logging.getLogger(noisy).addFilter(_is_error)  # pydicom sets its level on import; its warnings quote headers


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


@app.command()
def convert(
    export: Annotated[Path, typer.Argument(help="Folder, zip or tar of scanner files, in any layout.")],
    output: Annotated[Path, typer.Argument(help="Folder for the volumes and series.csv.")],
    pet_unit: Annotated[str, typer.Option(help="suv, suvlbm, suvbsa (where the tags allow it) or bqml.")] = "suv",
    philips_scale: Annotated[str, typer.Option(help="Of Philips MR: display or precise.")] = "display",
    gaps: Annotated[str, typer.Option(help="Missing slices: refuse, resample or largest-run.")] = "refuse",
    tilt: Annotated[str, typer.Option(help="Tilted gantry: keep the shear, or resample.")] = "keep",
    analyze: Annotated[str, typer.Option(help="Analyze 7.5: refuse, or radiological or neurological.")] = "refuse",
    keep_identifiers: Annotated[
        bool, typer.Option("--keep-identifiers", help="Folders and sidecars with IDs and dates, not pseudonyms.")
    ] = False,
    layout: Annotated[str, typer.Option(help="Of the output: plain or bids.")] = "plain",
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Nothing that leads back without the key: clean text, salted hashes.")
    ] = False,
    key: Annotated[Path | None, typer.Option(help="With --deidentify: your file of the secret.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; show what would happen.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Series at a time [default: one a core].")] = None,
) -> None:
    """Convert DICOM (and NIfTI, MHA, NRRD, PAR/REC) to one NIfTI and sidecar a volume; again to add what is new."""
    from medtrans.scans.conversion import Conversion
    from medtrans.scans.convert import converted_rows
    from medtrans.scans.deidentify.key import needed_key
    from medtrans.scans.output.table import full_name, shown, summary

    conversion = Conversion(pet_unit, philips_scale, gaps, tilt, analyze)
    rows = converted_rows(
        export,
        output,
        conversion,
        workers=workers,
        keep_identifiers=keep_identifiers,
        layout=layout,
        key=needed_key(deidentify, key),
        dry_run=dry_run,
    )
    failed = [row for row in rows if row["status"] in ("failed", "would fail")]
    if dry_run:
        typer.echo(shown(rows, shutil.get_terminal_size((120, 40)).columns))
    for row in () if dry_run else failed:
        typer.echo(f"failed: {full_name(row) or 'unnamed'} ({row['files']} files): {row['reason']}", err=True)
    typer.echo(summary(rows) + ("; nothing was written" if dry_run else f"; see {output / 'series.csv'}"))
    if failed:
        raise typer.Exit(1)


@app.command()
def deidentify(
    export: Annotated[Path, typer.Argument(help="Folder, zip or tar of DICOM files, in any layout.")],
    output: Annotated[Path, typer.Argument(help="Folder for the copies, deidentified.csv and report.md.")],
    key: Annotated[Path, typer.Option(help="Your file of the secret; made when it is not there. Keep it apart.")],
    retain: Annotated[
        str, typer.Option(help="Any of patient,device,institution,descriptors,private, with commas.")
    ] = "",
    dates: Annotated[str, typer.Option(help="shift (one number of days a patient) or remove.")] = "shift",
    burned_in: Annotated[str, typer.Option(help="Images whose pixels may show text: hold back or keep.")] = "hold",
    table: Annotated[Path | None, typer.Option(help="Also write who became whom, to this file of yours.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Files whose headers are read at a time.")] = 1,
) -> None:
    """Write de-identified copies of DICOM files (PS3.15 Annex E); run again to add what is new."""
    from medtrans.scans.deidentify.exports import deidentify_export, summary
    from medtrans.scans.deidentify.profile import Choices

    choices = Choices.of(retain, dates)
    rows = deidentify_export(export, output, key, choices, suspected=burned_in, table=table, workers=workers)
    typer.echo(f"{summary(rows)}; see {output / 'report.md'}")
    if any(row["status"] == "failed" for row in rows):
        raise typer.Exit(1)


@app.command()
def phantom(
    dataset: Annotated[Path, typer.Argument(help="Folder of the new data set.")],
    subjects: Annotated[int, typer.Option(help="Number of heads.")],
    modalities: Annotated[str, typer.Option(help="Any of T1,T2,PD,FLAIR,CT,PET, with commas.")] = "T1,T2",
    spacing: Annotated[float, typer.Option(help="Voxel size in mm.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another cohort for every seed.")] = 0,
    lesion: Annotated[bool | None, typer.Option(help="In all heads or in none [default: in a third].")] = None,
    dicom: Annotated[bool, typer.Option("--dicom", help="A scanner's export instead, as mixed as real ones.")] = False,
) -> None:
    """Make a data set of procedural heads, different for every subject; run again to finish an interrupted one."""
    if dicom:
        from medtrans.simulate.scanner_export import write_scanner_export

        write_scanner_export(dataset, subjects, spacing, seed)
        typer.echo(f"MR and PET/CT of {subjects} patients in {dataset}")
        return
    from medtrans.cohorts import write_phantom_cohort

    chosen = [modality.strip() for modality in modalities.split(",") if modality.strip()]
    cohort = write_phantom_cohort(dataset, subjects, chosen, spacing, seed, lesion)
    typer.echo(f"{len(cohort)} cases in {cohort.root / 'cases.csv'}")


@app.command()
def prepare(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as data_prep/t1_t2.json.")],
    source: Annotated[Path, typer.Option("--input", help="Output of `medtrans convert`, or a folder of NIfTI files.")],
    dataset: Annotated[Path, typer.Option("--output", help="Folder of the data set.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Local processes [default: by cores and memory].")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, tcp://host:8786.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="In place of the recipe's.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, such as size#0=192.")] = None,
) -> None:
    """Align, resample, mask and split volumes by a recipe; run again to finish an interrupted run."""
    from medtrans.cohorts.prepare import prepare as run_recipe
    from medtrans.cohorts.prepare import summary
    from medtrans.cohorts.recipe_file import override

    overrides = dict(override(text) for text in settings or [])
    table = run_recipe(recipe, source, dataset, overrides, seed, workers, scheduler)
    typer.echo(summary(table, dataset))
    if (table["status"] == "failed").any():
        raise typer.Exit(1)


@app.command()
def simulate(
    task: Annotated[Path, typer.Argument(help="A task, such as tasks/mr_motion.json.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="Data set of clean scans, or one NIfTI volume.")],
    output: Annotated[Path, typer.Argument(help="Folder of the new data set, or NIfTI file.")],
    seed: Annotated[int, typer.Option(min=0, help="Another one, other draws.")] = 0,
    draws: Annotated[int, typer.Option(min=1, help="Degraded volumes a case.")] = 1,
    companions: Annotated[
        list[str] | None, typer.Option("--with", help="One volume: modality=file beside it, such as CT=ct.nii.gz.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value of the task; repeatable.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Local processes [default: by cores and memory].")] = None,
    device: Annotated[str, typer.Option(help="Where to compute, such as cuda.")] = "cpu",
) -> None:
    """Degrade clean scans by a task, with the parameters beside; run again to finish an interrupted run."""
    from medtrans.cohorts.recipe_file import override
    from medtrans.cohorts.simulated import simulate_dataset, simulation_summary
    from medtrans.cohorts.simulated_volume import named_volumes, simulate_volume
    from medtrans.cohorts.tasks import Task

    plan = Task.read(task, dict(override(text) for text in settings or []))
    if source.is_file():
        simulate_volume(plan, source, output, seed, named_volumes(companions or []), device)
        typer.echo(f"{plan.degraded} in {output}")
        return
    if not source.exists():
        raise InputError(source, "does not exist", "Give a data set of clean scans, or a NIfTI volume")
    table = simulate_dataset(plan, source, output, seed, draws, workers, device)
    typer.echo(simulation_summary(table, output))
    if (table["status"] == "failed").any():
        raise typer.Exit(1)


@app.command()
def check(
    dataset: Annotated[Path, typer.Argument(help="Data set, as `medtrans prepare` wrote it.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the tables and report [default: DATASET/check].")
    ] = None,
    thresholds: Annotated[Path | None, typer.Option(help='JSON file: {"alignment": {"error_mm": 4}}.')] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="check#threshold=value, or check=false; repeatable.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Draw this many of the worst cases.")] = 12,
    workers: Annotated[int | None, typer.Option(min=1, help="Local processes [default: by cores and memory].")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on warnings, too.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Leave the suggested cases out from now on.")] = False,
) -> None:
    """Look for what is wrong with a data set: misaligned, flipped, empty, duplicated cases and much more."""
    from medtrans.cohorts.doctor import examine
    from medtrans.cohorts.doctor.settings import read_settings

    diagnosis = examine(dataset, output, read_settings(thresholds, settings or []), workers, pictures)
    typer.echo(diagnosis.summary())
    if apply:
        typer.echo(f"left out from now on: {diagnosis.apply()}")
    raise typer.Exit(diagnosis.exit_code or int(strict and diagnosis.count("warning") > 0))


@app.command()
def translate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a trained bundle, such as bundles/medgan.")],
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Scan, files with commas, folder or data set.")],
    output: Annotated[Path, typer.Argument(help="Folder for the synthetic volumes and translated.csv.")],
    split: Annotated[str, typer.Option(help="Data set: train, validation, test or all.")] = "test",
    config: Annotated[list[Path] | None, typer.Option(help="Config merged over inference.json; repeatable.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value of the config; repeatable.")] = None,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="Also a derived DICOM series of each volume, in OUTPUT/dicom.")
    ] = False,
    like: Annotated[
        Path | None, typer.Option(help="With --dicom: export that holds the source series [default: INPUT].")
    ] = None,
    pet_unit: Annotated[str, typer.Option(help="With --dicom, of PET: suv, bqml, … [default: the volumes'].")] = "",
    resample: Annotated[
        bool, typer.Option("--resample", help="With --dicom: onto the source's planes where grids differ.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Cases at a time [default: one a GPU, else one].")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, tcp://host:8786.")] = None,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="With --dicom: under pseudonyms, new UIDs and moved dates.")
    ] = False,
    key: Annotated[Path | None, typer.Option(help="With --deidentify: your file of the secret.")] = None,
    retain: Annotated[str, typer.Option(help="With --deidentify: see medtrans deidentify.")] = "",
) -> None:
    """Translate whole volumes onto their own grid, in the target's unit; run again to finish an interrupted run."""
    from medtrans.cohorts.recipe_file import override
    from medtrans.engines.bundle_run import run_inference
    from medtrans.scans.deidentify.headers import chosen_rules
    from medtrans.scans.derived.translated import export_translated, source_export

    rules = chosen_rules(deidentify, key, retain, output)
    if rules is not None and not dicom:
        raise InputError("--deidentify", "is for the DICOM series", "Add --dicom, or de-identify with medtrans convert")
    export = source_export(source, like) if dicom else None
    overrides = dict(override(text) for text in settings or [])
    options = {"split": split, **overrides}
    rows = run_inference(bundle, source, output, config or [], options, not dicom, workers, scheduler)
    for row in rows:
        typer.echo(f"{row['status']}: {row['case']} {row['output']}")
    if export is not None:
        export_translated(rows, output, export, pet_unit, resample, rules)


@app.command()
def label(
    studies: Annotated[str, typer.Argument(help="Folder of volumes, or https://… of a DICOMweb server.")],
    bundles: Annotated[
        str, typer.Option(help="Names or folders, with commas; =CKPT_DIR behind [default: trained ones].")
    ] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    work: Annotated[Path, typer.Option(help="Folder for what is trained and fetched.")] = Path("medtrans-label"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of inference.json; repeatable.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="For training [default: what the bundle was trained by].")] = None,
    config: Annotated[list[Path] | None, typer.Option(help="Config merged over train.json; repeatable.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="Clients must know the token in this file.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Under which clients reach it; repeatable.")] = None,
    allow_origin: Annotated[list[str] | None, typer.Option(help="Web page that may use it; repeatable.")] = None,
    max_upload: Annotated[int, typer.Option(min=1, help="MiB of one request.")] = 1024,
    certificate: Annotated[Path | None, typer.Option(help="For https.")] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="For https.")] = None,
    dicomweb_user: Annotated[
        str, typer.Option(help="Of the DICOMweb server; the password is read from MEDTRANS_DICOMWEB_PASSWORD.")
    ] = "",
    dicomweb_token_file: Annotated[Path | None, typer.Option(help="File of its bearer token.")] = None,
    dicomweb_ca: Annotated[Path | None, typer.Option(help="PEM file of who signed its certificate.")] = None,
) -> None:
    """Serve bundles to 3D Slicer and other clients: a MONAI Label server of this machine alone."""
    from medtrans.label.server import Offer, Serving, check_installed, check_serving, serve

    check_installed()
    from medtrans.cohorts.recipe_file import override
    from medtrans.label.gate import read_token
    from medtrans.label.options import TrainingOptions
    from medtrans.label.served import served_bundles
    from medtrans.scans.dicomweb import Access

    serving = Serving(
        host, port, tuple(name or ()), tuple(allow_origin or ()), read_token(token_file) if token_file else "",
        max_upload * 2**20, certificate, certificate_key,
    )  # fmt: skip
    check_serving(serving)
    offered = served_bundles([part for part in bundles.split(",") if part], dict(override(s) for s in settings or []))
    training = TrainingOptions(recipe=recipe, overlays=tuple(str(path) for path in config or ()))
    access = Access(dicomweb_user, dicomweb_token_file, dicomweb_ca)
    serve(Offer(studies, offered, work, training, access), serving)


@bundles.command("pack")
def pack_bundle(
    bundle: Annotated[Path, typer.Argument(help="Folder of a trained bundle, such as bundles/medgan.")],
    output: Annotated[Path, typer.Argument(help="The zip, or the folder for NAME_vVERSION.zip.")],
    models: Annotated[Path | None, typer.Option(help="Its ckpt_dir [default: BUNDLE/models].")] = None,
    training: Annotated[Path | None, typer.Option(help="Its output_dir in training [default: BUNDLE/eval].")] = None,
    report: Annotated[Path | None, typer.Option(help="Output of `medtrans evaluate`, for the model card.")] = None,
    notes: Annotated[Path | None, typer.Option(help="Markdown file to add to the model card.")] = None,
    name: Annotated[str, typer.Option(help="Of the packed bundle [default: the folder's].")] = "",
    version: Annotated[str, typer.Option(help="[default: that of metadata.json]")] = "",
    large_files: Annotated[
        str, typer.Option(help="URL of the folder that the weights are fetched from, instead of packing them.")
    ] = "",
) -> None:
    """Pack a trained bundle with weights, intensity contract and model card into one zip, without patient data."""
    from medtrans.files import file_hash
    from medtrans.sharing import Packing, pack

    path = pack(bundle, output, Packing(models, training, report, notes, name, version, large_files))
    typer.echo(f"{path}\nSHA-256 {file_hash(path)}")


@bundles.command("unpack")
def unpack_bundle(
    archive: Annotated[Path, typer.Argument(help="What `medtrans bundle pack` wrote.")],
    folder: Annotated[Path, typer.Argument(help="Where the bundle's folder goes.")] = Path("."),
) -> None:
    """Unpack a bundle and check every file of it."""
    from medtrans.sharing import unpack

    typer.echo(unpack(archive, folder))


@bundles.command("verify")
def verify_bundle(
    packed: Annotated[Path, typer.Argument(help="A packed bundle, or the folder of an unpacked one.")],
) -> None:
    """Check that a bundle is what was packed, and that its weights hold no code."""
    from medtrans.sharing import verify

    said = verify(packed)
    typer.echo(f"{said['name']} {said['version']}: all {len(said['files'])} files are as they were packed")


@app.command()
def export(
    volumes: Annotated[Path, typer.Argument(metavar="NIFTI", help="Synthetic volume, or a folder of them.")],
    output: Annotated[Path, typer.Argument(help="Folder for a folder of DICOM files a volume, and exported.csv.")],
    like: Annotated[Path, typer.Option(help="The source series, or an export that holds them all.")],
    modality: Annotated[str, typer.Option(help="CT, MR or PET [default: the sidecar's].")] = "",
    unit: Annotated[str, typer.Option(help="Of the values: HU, Bq/ml, SUV, SUVlbm, SUVbsa.")] = "",
    pet_unit: Annotated[
        str, typer.Option(help="Of PET to write: suv, suvlbm, suvbsa or bqml [default: the volume's].")
    ] = "",
    algorithm: Annotated[str, typer.Option(help="Name of what made the values [default: the sidecar's].")] = "",
    algorithm_version: Annotated[str, typer.Option(help="Its version.")] = "",
    model: Annotated[Path | None, typer.Option(help="File of its weights, of which the hash is written.")] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Interpolate onto the source's planes where grids differ.")
    ] = False,
    reproducible: Annotated[
        bool, typer.Option("--reproducible", help="UIDs by source, model and voxels; equal files every time.")
    ] = False,
    series_number: Annotated[int | None, typer.Option(min=0, help="[default: the source's + 9000]")] = None,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="The series under pseudonyms, new UIDs and moved dates.")
    ] = False,
    key: Annotated[Path | None, typer.Option(help="With --deidentify: your file of the secret.")] = None,
    retain: Annotated[str, typer.Option(help="With --deidentify: see medtrans deidentify.")] = "",
) -> None:
    """Write synthetic volumes as derived DICOM series, laid over the series they were made from."""
    from medtrans.scans.deidentify.headers import chosen_rules
    from medtrans.scans.derived.exporting import Told, export_series
    from medtrans.scans.derived.series import Writing

    told = Told(modality, unit, algorithm, algorithm_version, model)
    writing = Writing(resample, reproducible, series_number, pet_unit)
    rows = export_series(volumes, output, like, told, writing, chosen_rules(deidentify, key, retain, output))
    typer.echo(f"{len(rows)} series written; see {output / 'exported.csv'}")


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Derived series: the folder `dicom` of a translation, or one series.")],
    url: Annotated[str, typer.Argument(help="Root of the DICOMweb service, such as http://127.0.0.1:8042/dicom-web.")],
    user: Annotated[str, typer.Option(help="Name; the password is read from MEDTRANS_DICOMWEB_PASSWORD.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="File of a bearer token.")] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM file of the authority that signed the certificate.")] = None,
) -> None:
    """Send derived DICOM series to a PACS over DICOMweb; run again to finish an interrupted run."""
    from medtrans.scans.dicomweb import Access, send_series

    rows = send_series(folder, url, Access(user, token_file, ca))
    kept = sum(row["status"] == "kept" for row in rows)
    typer.echo(f"{len(rows) - kept} series sent, {kept} there already; see pushed.csv in {folder}")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of synthetic volumes (NIfTI), in the target's unit.")],
    references: Annotated[Path, typer.Argument(help="Data set (cases.csv), or folder of real target volumes.")],
    output: Annotated[Path, typer.Option(help="Folder for the tables, pictures and report.html.")],
    target: Annotated[str | None, typer.Option(help="Data set: modality that was synthesised.")] = None,
    source: Annotated[str | None, typer.Option(help="Data set: modality it was made from, compared too.")] = None,
    split: Annotated[str, typer.Option(help="Data set: train, validation, test or all.")] = "test",
    source_dir: Annotated[Path | None, typer.Option(help="Folders: untranslated source volumes.")] = None,
    mask_dir: Annotated[Path | None, typer.Option(help="Folders: body masks.")] = None,
    data_range: Annotated[tuple[float, float] | None, typer.Option(help="Window in the target's unit.")] = None,
    source_range: Annotated[tuple[float, float] | None, typer.Option(help="Folders: the source's window.")] = None,
    unit: Annotated[str, typer.Option(help="Folders: the target's unit, such as HU.")] = "",
    metrics: Annotated[str | None, typer.Option(help="Names with commas [default: all of the papers].")] = None,
    lpips_weights: Annotated[Path | None, typer.Option(help="File of the AlexNet weights for LPIPS.")] = None,
    workers: Annotated[int, typer.Option(help="Cases measured at the same time.", min=1)] = 1,
) -> None:
    """Compare synthetic volumes with the real ones: metrics.csv, summary.md, pictures, report.html."""
    from medtrans.cohorts import Cases
    from medtrans.metrics import create
    from medtrans.reports.evaluation import evaluate as evaluate_all

    chosen = create(metrics.split(",") if metrics else None, {"lpips": {"weights": lpips_weights}})
    result = evaluate_all(
        predictions,
        Cases.read(references).of_split(split) if (references / "cases.csv").is_file() else references,
        output,
        target=target,
        source=source,
        sources=source_dir,
        masks=mask_dir,
        data_range=data_range,
        source_range=source_range,
        unit=unit,
        metrics=chosen,
        workers=workers,
    )
    result.tell()


@app.command()
def benchmark(
    rows: Annotated[
        list[str] | None, typer.Argument(metavar="[ROWS]...", help="[NAME=]BUNDLE[+OVERLAY][+key=value].")
    ] = None,
    study: Annotated[
        list[Path] | None, typer.Option(help="Study file, such as studies/paper_losses.json; repeatable.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for runs, tables and figures.")] = Path("benchmark"),
    dataset: Annotated[Path | None, typer.Option(help="Prepared data set [default: a cohort of phantoms].")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Budget of each row, in epochs,")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="or in batches,")] = None,
    minutes: Annotated[float | None, typer.Option(help="or in minutes of training steps.")] = None,
    seeds: Annotated[str, typer.Option(help="With commas; each row is trained with each.")] = "0",
    baseline: Annotated[
        str | None, typer.Option(help="Row that the others are tested against [default: the first].")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Of all rows those named, with commas.")] = None,
    source: Annotated[str | None, typer.Option(help="Modality to translate from [default: the bundles' own].")] = None,
    target: Annotated[str | None, typer.Option(help="Modality to translate to [default: the bundles' own].")] = None,
    config: Annotated[
        list[str] | None, typer.Option(help="Config merged over every bundle, such as quick.json.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value for every row; repeatable.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Names with commas [default: the paper's, and MAE].")] = None,
    lpips_weights: Annotated[Path | None, typer.Option(help="File of the AlexNet weights for LPIPS.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs at a time [default: one a GPU, else one].")] = None,
) -> None:
    """Train, translate and evaluate several bundles alike, and compare them; run again to finish an interrupted one."""
    from medtrans.benchmark.command import compare_bundles

    result = compare_bundles(
        rows or [], study or [], output,
        dataset=dataset, budget=(epochs, steps, minutes), seeds=seeds, baseline=baseline, only=only,
        modalities=(source, target), overlays=config or [], settings=settings or [], metrics=metrics,
        lpips_weights=lpips_weights, workers=workers,
    )  # fmt: skip
    result.tell()


def main() -> None:
    """Run the command; bad input ends it with one line and exit code 2, failed cases with exit code 1."""
    try:
        app()
    except Exception as error:
        known = input_error_behind(error)
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        sys.exit(1 if isinstance(known, CasesFailedError) else 2)


if __name__ == "__main__":
    main()
