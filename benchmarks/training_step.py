"""Time, FLOP/s and memory of one training step of a bundle, and its ratio to a plain loop over the same networks.

    python benchmarks/training_step.py bundles/medgan --config quick.json --set precision=bf16 --steps 8

Both are timed in turns in the same run. Compare ratios: absolute times depend on what else the machine does.
"""

from __future__ import annotations

import resource
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from monai.bundle import ConfigParser
from plain_loops import plain_loop
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from wall_time import seconds

from medtrans.engines import TranslationTrainer
from medtrans.engines.precision import autocast_type

Step = Callable[[], Any]


def read_bundle(bundle: Path, overlays: list[str], overrides: dict[str, Any]) -> ConfigParser:
    """The bundle's training config with overlays and overrides."""
    configs = bundle / "configs"
    files = [configs / "train.json", *(configs / name if not Path(name).is_file() else Path(name) for name in overlays)]
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    if "features" in parser.get():
        parser.update({"features::weights": "random"})
    parser.update(overrides)
    return parser


def random_batch(parser: ConfigParser, device: torch.device) -> dict[str, Tensor]:
    """Images of the bundle's size and channels; the time of a step does not depend on what they show."""
    size, batch = parser.get_parsed_content("image_size"), parser.get_parsed_content("batch_size")
    torch.manual_seed(0)
    images = {
        key: torch.rand(batch, parser.get_parsed_content(channels), *size, device=device) * 2 - 1
        for key, channels in (("source", "in_channels"), ("target", "out_channels"))
    }
    return {**images, "mask": torch.ones(batch, 1, *size, device=device)}


def matmul_peak(dtype: torch.dtype | None, device: torch.device, size: int = 2048) -> float:
    """FLOP/s of the best of twenty square matrix products in the arithmetic of the step."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype or torch.float32) for _ in range(2))
    torch.mm(a, b)
    return 2 * size**3 / min(seconds(lambda: torch.mm(a, b), device) for _ in range(20))


def peak_memory(device: torch.device) -> float:
    """GiB: allocated on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    config: Annotated[list[str] | None, typer.Option(help="Overlay, such as quick.json; repeatable.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="id=value; repeatable.")] = None,
    steps: Annotated[int, typer.Option(help="Timed steps of each kind.")] = 5,
) -> None:
    """Measure and print a table."""
    overrides: dict[str, Any] = {"dataset_dir": "-"}
    overrides |= dict(setting.split("=", 1) for setting in settings or [])
    parser = read_bundle(bundle, config or [], {k: _value(v) for k, v in overrides.items()})
    device = parser.get_parsed_content("device")
    method, batch = parser.get_parsed_content("method").to(device), random_batch(parser, device)
    switches = {
        key: parser.get_parsed_content(key) for key in ("precision", "channels_last", "compile", "accumulation")
    }
    trainer = TranslationTrainer(device, 1, [batch], method, threads=parser.get_parsed_content("threads"), **switches)
    dtype = autocast_type(switches["precision"], device)

    def engine_step() -> None:
        trainer._iteration(trainer, batch)

    kinds: dict[str, Step] = {"medtrans": engine_step}
    if (reference := plain_loop(method)) is not None:
        name, loop = reference
        kinds[name] = lambda: loop(method, batch, dtype)
    flops = {}
    for name, step in kinds.items():
        step()  # warm-up
        with FlopCounterMode(display=False) as counter:
            step()
        flops[name] = counter.get_total_flops()
    peak = matmul_peak(dtype, device)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(steps):
        for name, step in kinds.items():
            times[name].append(seconds(step, device))
    peak = max(peak, matmul_peak(dtype, device))  # before and after: something else may have been running
    _report(bundle, batch, switches, device, peak, flops, times)


def _value(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _report(
    bundle: Path,
    batch: dict[str, Tensor],
    switches: dict[str, Any],
    device: torch.device,
    peak: float,
    flops: dict[str, int],
    times: dict[str, list[float]],
) -> None:
    shape = "x".join(map(str, batch["source"].shape))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    typer.echo(f"{bundle.name}, batch {shape}, {switches}, {name}, torch {torch.__version__}")
    typer.echo(f"matmul peak {peak / 1e9:.0f} GFLOP/s, peak memory of the process {peak_memory(device):.2f} GiB\n")
    typer.echo("| step | median s | min s | GFLOP | GFLOP/s | share of peak |\n|---|---:|---:|---:|---:|---:|")
    median = {kind: statistics.median(samples) for kind, samples in times.items()}
    for kind, samples in times.items():
        rate = flops[kind] / median[kind]
        row = (
            f"{median[kind]:.3f} | {min(samples):.3f} | {flops[kind] / 1e9:.1f} | {rate / 1e9:.0f} | {rate / peak:.0%}"
        )
        typer.echo(f"| {kind} | {row} |")
    if len(median) == 2:
        (ours, plain), name = median.values(), list(median)[1]
        typer.echo(f"\n{name} / medtrans: {plain / ours:.2f} in time, {_ratio(flops):.2f} in FLOP")


def _ratio(values: dict[str, int]) -> float:
    ours, plain = values.values()
    return plain / ours


if __name__ == "__main__":
    typer.run(main)
