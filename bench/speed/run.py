"""``python -m bench speed``: how fast items are drawn, beside plain diffusers, side by side in one run.

The reference draws every item alone in float32: its own inversion on a grid of 50 steps, and two passes a step
back. *Equal steps* is ours on the same grid to the same depth, begun on inverted noise like it; *shipped* is ours
at the defaults of the type. The *pass bound* is what fewer passes of the U-Net alone could give. Rounds alternate
between them; ratios are medians over rounds.

``--sd15 full`` takes a backbone of Stable Diffusion 1.5's shape and a type with low-rank weights, both at random,
and says whether its goals on a GPU are met; ``--sd15 tiny`` rehearses that.

``--quality N`` also tells whether what is drawn faster is as good (`bench.speed.quality`).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bench import shared
from bench.rendered import adapters_of
from bench.sd15.folder import FULL, TINY, write_folder
from bench.speed import quality
from bench.speed.measuring import Cost, Meter, flops_of
from bench.speed.pipeline import Setting, draw
from bench.speed.reference import Reference
from bench.speed.workloads import WORKLOADS, Frame, Workload
from models.adapters import Adapter
from models.backbone import Backbone
from models.company import rows_alike
from models.generation import DEFAULT_ROWS, Generator
from models.teaching.lesson import Lesson
from models.teaching.weights import attached, low_rank
from service.images.encoding import encode_mask_png, encode_png
from worker.engine import SWITCH_S
from worker.models import LANES

STEPS, SEVERITY = 50, 0.6
"""Of the reference, and of ours at equal steps."""
GOAL_S, GOAL_RATIO, GOAL_MB = 0.15, 8.0, 8000.0
"""Of 64 items on 16 frames with the full shape of Stable Diffusion 1.5 on a GPU, at equal steps."""
_FOLDERS = Path("out/sd15")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Contender:
    """Who draws.

    Attributes:
        draws: takes frames and a folder.
        predictor: whose passes count.
    """

    name: str
    predictor: Any
    draws: Callable[[Sequence[Frame], Path, Any], None]


@dataclass
class Raced:
    """Costs by contender.

    Attributes:
        costs: a round each.
        staged: those that were measured by stage; on a GPU of a quarter of the frames, drawn again by one lane.
    """

    costs: dict[str, list[Cost]] = field(default_factory=dict)
    staged: dict[str, list[Cost]] = field(default_factory=dict)


class Race:
    """Workloads drawn by the reference and by ours in turn.

    Args:
        adapter: of the type; None makes one at random.
    """

    def __init__(self, arguments: argparse.Namespace, adapter: Adapter | None) -> None:
        device = torch.device(arguments.device)
        plain = Backbone.load(arguments.backbone, device)
        ours = Backbone.load(arguments.backbone, device, DTYPES[arguments.dtype], arguments.compile)
        self._meter = Meter(device, DTYPES[arguments.dtype])
        # Of plain layers: what oneDNN is asked directly is not counted.
        self._pass_flops = flops_of(partial(_one_pass, plain, Reference(plain, STEPS, SEVERITY, 1.0)))
        self._arguments = arguments
        self._on_gpu = device.type == "cuda"
        self._plain = plain
        self._ours = ours
        self._adapter = adapter or random_type(plain, arguments.seed)
        if device.type == "cpu" and arguments.batch > 1:
            rows_alike(ours, arguments.batch)  # a worker asks once, too

    def contenders(self, guidance: float) -> list[Contender]:
        reference = Reference(self._plain, STEPS, SEVERITY, guidance, weights=self._adapter.weights)
        equal = Setting(STEPS, SEVERITY, guidance)
        contenders = [
            Contender("reference", reference, self._drawn_by_reference(reference)),
            Contender("equal steps", self._ours, self._drawn_by(equal)),
        ]
        if self._arguments.sd15 is None:  # a type at random has no defaults that anybody ships
            shipped = Setting.shipped(self._adapter)
            contenders.append(Contender("shipped", self._ours, self._drawn_by(shipped)))
        return contenders

    def run(self, workload: Workload, guidance: float) -> Raced:
        """Costs, a round each; the reference is measured on some of the frames, evenly spread."""
        frames = list(workload.drawn(self._ours, self._arguments.seed))
        contenders = self.contenders(guidance)
        if self._on_gpu or self._arguments.compile:
            for contender in contenders:
                with tempfile.TemporaryDirectory() as out:
                    contender.draws(self._sample(frames)[:1], Path(out), None)
        raced = Raced()
        for _ in tqdm(range(self._arguments.rounds), desc=workload.title):
            for contender in contenders:
                whose = self._sample(frames) if contender.name == "reference" else frames
                # What a GPU does beside the CPU is lost where each stage is waited for.
                cost = self._cost(contender, whose, by_stage=not self._on_gpu)
                raced.costs.setdefault(contender.name, []).append(cost)
        raced.staged = raced.costs
        if self._on_gpu:
            some = frames[: max(1, len(frames) // 4)]
            raced.staged = {
                contender.name: [self._cost(contender, some, by_stage=True)] for contender in contenders[1:]
            }
        return raced

    def _cost(self, contender: Contender, frames: Sequence[Frame], *, by_stage: bool) -> Cost:
        count = sum(len(frame.masks) for frame in frames)
        with (
            tempfile.TemporaryDirectory() as out,
            self._meter.of(contender.predictor, count, by_stage=by_stage) as (cost, watch),
        ):
            contender.draws(frames, Path(out), watch)
        cost.flops = cost.passes * self._pass_flops
        return cost

    @property
    def peak(self) -> float:
        """Operations a second of the device's matrix product."""
        return self._meter.peak

    def _sample(self, frames: Sequence[Frame]) -> list[Frame]:
        """As many items of the frames as the reference draws: it takes as long for each."""
        most = self._arguments.reference_items
        masks = [(frame, mask) for frame in frames for mask in frame.masks]
        return [Frame(frame.png, (mask,)) for frame, mask in shared.spread(masks, most)]

    def _drawn_by_reference(self, reference: Reference) -> Callable[[Sequence[Frame], Path, Any], None]:
        def draws(frames: Sequence[Frame], out: Path, _: Any) -> None:
            for number, frame in enumerate(frames):
                for mask in frame.masks:
                    image = reference.item(frame, mask, self._adapter, number)
                    (out / f"{number}-image.png").write_bytes(encode_png(image, synthetic=True))
                    (out / f"{number}-mask.png").write_bytes(encode_mask_png(mask))

        return draws

    def _drawn_by(self, setting: Setting) -> Callable[[Sequence[Frame], Path, Any], None]:
        batch = self._arguments.batch
        ask = setting.asking(self._adapter)

        def draws(frames: Sequence[Frame], out: Path, watch: Any) -> None:
            generator = Generator(self._ours, batch_shape=batch, turn=Lock())
            lanes = 1 if watch is not None else LANES[self._ours.device.type]
            draw(generator, frames, ask, batch, out, watch, lanes)

        return draws


def _one_pass(backbone: Backbone, predictor: Reference) -> None:
    side, channels, device = backbone.latent_size, backbone.latent_channels, backbone.device
    z = torch.zeros(1, channels, side, side, device=device)
    tokens = torch.zeros(1, backbone.background_tokens, backbone.token_width, device=device)
    predictor.predict_noise(z, torch.zeros(1, dtype=torch.long, device=device), tokens)


def random_type(backbone: Backbone, seed: int) -> Adapter:
    """A type with tokens and low-rank weights where a taught one has them, all at random."""
    lesson = Lesson("random")
    random = torch.Generator().manual_seed(seed)
    learning = low_rank(attached(backbone.unet, lesson.rank, lesson.targets))
    weights = {name: 0.02 * torch.randn(weight.shape, generator=random) for name, weight in learning.items()}
    tokens = torch.randn(lesson.tokens, backbone.token_width, generator=random)
    return Adapter(lesson.name, 1, backbone.name, backbone.digest, tokens, weights=weights)


def verdicts(drawn: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What became of the goals on a GPU, by the rows of a table."""
    for row in drawn:
        if row["who"] == "equal steps":
            met = {
                f"{row['s an item']:.3f} s an item, goal {GOAL_S}": row["s an item"] <= GOAL_S,
                f"{row['ratio']:.1f} times the reference, goal {GOAL_RATIO}": row["ratio"] >= GOAL_RATIO,
                f"{row['peak MB'] / 1e3:.1f} GB, goal {GOAL_MB / 1e3:.0f}": row["peak MB"] <= GOAL_MB,
            }
            yield from (f"{what}: {'met' if is_met else 'missed'}" for what, is_met in met.items())


def rows(costs: dict[str, list[Cost]], peak: float) -> list[dict[str, Any]]:
    """A row for each contender: medians over rounds; ratios are of the same round."""
    reference = costs["reference"]
    made = []
    for name, ours in costs.items():
        last = ours[-1]
        each = [cost.seconds / cost.items for cost in ours]
        ratio = float(np.median([r.seconds / r.items / s for r, s in zip(reference, each, strict=True)]))
        bound = (reference[-1].passes / reference[-1].items) / (last.passes / last.items)
        made.append(
            {
                "who": name,
                "s an item": float(np.median(each)),
                "ratio": ratio,
                "pass bound": bound,
                "ratio/bound": ratio / bound,
                "passes an item": last.passes / last.items,
                "of peak": last.share_of_peak(peak),
                "peak MB": last.peak_bytes / 1e6,
            }
        )
    return made


def stages(costs: dict[str, list[Cost]]) -> list[dict[str, Any]]:
    """Milliseconds an item by stage, medians over rounds."""
    names = sorted({stage for name, runs in costs.items() if name != "reference" for stage in runs[0].stages})
    return [
        {"who": name}
        | {stage: _median_ms([cost.stages.get(stage, 0.0) / cost.items for cost in runs]) for stage in names}
        | {"other": _median_ms([(cost.seconds - sum(cost.stages.values())) / cost.items for cost in runs])}
        for name, runs in costs.items()
        if name != "reference"
    ]


def _median_ms(seconds: Sequence[float]) -> float:
    return float(np.median(seconds)) * 1000


def main() -> None:
    parser = shared.parser("speed", __doc__)
    parser.add_argument("--workloads", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--type", default="scratch", help="of the bundled types")
    parser.add_argument("--sd15", choices=("full", "tiny"), help="in place of --backbone and --type")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0], help="of reference and equal steps")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of ours; the reference has float32")
    parser.add_argument("--compile", action="store_true", help="our U-Net, before it is measured")
    parser.add_argument("--batch", type=int, help="rows of a model call of ours; by default those of a worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reference-items", type=int, default=4, help="of each workload that the reference draws")
    quality.add_arguments(parser)
    arguments = parser.parse_args()
    sys.setswitchinterval(SWITCH_S)
    if arguments.quality and arguments.sd15:
        parser.error("--quality judges what is drawn, and weights at random draw nothing to judge")
    arguments.batch = arguments.batch or DEFAULT_ROWS[torch.device(arguments.device).type]
    if arguments.sd15 is not None:
        shape = {"full": FULL, "tiny": TINY}[arguments.sd15]
        arguments.backbone = write_folder(_FOLDERS / arguments.sd15, shape, device=arguments.device)
    tables = _raced(arguments) if arguments.workloads else {}
    told = {}
    if arguments.quality:
        equal = Setting(STEPS, SEVERITY, arguments.guidance[0])
        told = quality.compared(arguments, equal, DTYPES[arguments.dtype])
    shared.write(arguments.json, arguments, workloads=tables, quality=told)


def _raced(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw the workloads, print what they cost and return it."""
    adapter: Adapter | None = None
    if arguments.sd15 is None:
        (adapter,) = adapters_of(arguments.backbone, [arguments.type])
    race = Race(arguments, adapter)
    print(
        f"{arguments.device}, {torch.get_num_threads()} of {os.cpu_count()} threads, {race.peak / 1e9:.1f} Gflop/s"
    )
    tables: dict[str, Any] = {}
    for name, guidance in product(arguments.workloads, arguments.guidance):
        raced = race.run(WORKLOADS[name], guidance)
        title = f"({name}) {WORKLOADS[name].title}, guidance {guidance:g}"
        tables[title] = {"costs": rows(raced.costs, race.peak), "stages": stages(raced.staged)}
        print(title, flush=True)
        for table in tables[title].values():
            shared.show(table)
        if (arguments.sd15, name, arguments.device) == ("full", "c", "cuda"):
            print(*verdicts(tables[title]["costs"]), "", sep="\n", flush=True)
    return tables


if __name__ == "__main__":
    main()
