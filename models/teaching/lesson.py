"""What shapes a teaching, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from models.adapters import LOGICAL, STRUCTURAL, Adapter

Phase = Literal["preparing", "learning", "searching", "judging", "done"]


class TeachingError(Exception):
    """A type that cannot be taught so; the message says why, and what would help.

    Attributes:
        name: what of the lesson or of the samples is at fault.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


_LOGICAL: dict[str, Any] = {"steps": 800, "defects": 8, "crops": 1, "normal_crops": 48}
"""What a logical lesson has otherwise than a structural one."""


@dataclass(frozen=True)
class Lesson:
    """All that shapes a teaching.

    Attributes:
        name, part, description: of the type.
        steps: of the optimiser.
        rank, targets: of the low-rank weights, and which modules have some (`teaching.weights.TARGETS`).
        tokens: how many the type gets, at most `adapters.MAX_DEFECT_TOKENS`.
        rate, token_rate: of AdamW, for the weights and for the tokens.
        lam: λ of the disentanglement loss.
        prior: weight of the prior's preservation: under C2 a normal image is predicted as before.
        gamma: cap of the loss's weight by t.
        defects, backgrounds, normals: rows of a batch (`training.terms.Rows`).
        coarse: share of the steps, the first ones, on windows of half as many cells a side, in which all is nearer
            together, and which take a quarter of the work.
        crops: windows cut from each sample; fewer if all came to more than `most_crops`.
        normal_crops: windows cut from all normals together.
        held: share of the samples held back to choose the checkpoint, where there are `least_held` or more.
        checks: how often they are asked.
        places: at which each setting of the search is tried.
        items: drawn in the end to judge the type.
        disentangled: False to go without the method's second term, for an ablation.
        seed: of everything drawn at random.
        kind: `adapters.LOGICAL` learns an arrangement: where things are matters, and what tells the look of the
            wrong region may be far from it. So windows show the whole image and are not mirrored, masks are tight,
            and items begin on nothing of what was there, nor on a real defect, which would bring its own product.
    """

    name: str
    part: str = "part"
    description: str = ""
    steps: int = 600
    rank: int = 16
    targets: str = "convolution"
    tokens: int = 4
    rate: float = 3e-3
    token_rate: float = 4e-3
    lam: float = 1.0
    prior: float = 0.5
    gamma: float = 5.0
    defects: int = 6
    backgrounds: int = 1
    normals: int = 1
    coarse: float = 0.85
    crops: int = 8
    most_crops: int = 320
    normal_crops: int = 96
    held: float = 0.2
    least_held: int = 5
    checks: int = 8
    places: int = 4
    items: int = 8
    disentangled: bool = True
    seed: int = 0
    kind: str = STRUCTURAL

    @classmethod
    def of(cls, kind: str, name: str, part: str, description: str = "", seed: int = 0) -> Lesson:
        """A lesson with the defaults of its kind."""
        lesson = cls(name, part, description, seed=seed, kind=kind)
        return replace(lesson, **_LOGICAL) if lesson.logical else lesson

    @property
    def logical(self) -> bool:
        """Whether an arrangement is to be learned."""
        return self.kind == LOGICAL

    def __post_init__(self) -> None:
        for name in ("steps", "rank", "tokens", "defects", "crops", "checks", "places", "items"):
            if getattr(self, name) < 1:
                raise TeachingError(name, f"{name} must be at least 1; got {getattr(self, name)}")


@dataclass(frozen=True)
class Progress:
    """How far a teaching is: ``step`` of ``steps``, over all phases; losses are empty before the first step."""

    phase: Phase
    step: int
    steps: int
    losses: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Taught:
    """What a teaching made.

    Attributes:
        adapter: version 0; whoever publishes it sets another.
        exemplars: real defects cut out of the samples, as `samples.exemplars_to_bytes` writes them.
        card: settings, losses, scores, verdict and reasons, as `DefectTypeCard` names them.
    """

    adapter: Adapter
    exemplars: bytes
    card: dict[str, Any]
