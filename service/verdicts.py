"""Verdicts that a data set's report shows: of finished evaluations of the types that it draws."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flawsmith.contract.ids import split_defect_type
from flawsmith.contract.jobs import JobKind
from flawsmith.contract.reports import DatasetVerdict
from service.resolution import invalid
from service.resources import Resources

EVALUATIONS = "evaluations"


def find_verdicts(
    has: Resources, tenant: str, evaluations: Sequence[str], drawn: Collection[str]
) -> list[DatasetVerdict]:
    """What the tenant's evaluations said, in the order in which they are named.

    Args:
        drawn: ``name@version`` of the types of the data set.

    Raises:
        ProblemError: one is not there, has no verdict, is named twice, or is about another type or version.
    """
    found: list[DatasetVerdict] = []
    for number, job_id in enumerate(evaluations):
        at = f"{EVALUATIONS}.{number}"
        if job_id in evaluations[:number]:
            raise invalid(at, f"{at} names {job_id} a second time; leave it out")
        job = has.jobs.get(tenant, job_id)
        if job is None or job.kind is not JobKind.EVALUATION:
            raise invalid(
                at, f"{at} is {job_id}, and no evaluation has this id; GET /v1/jobs lists those there are"
            )
        result = job.evaluation.result if job.evaluation else None
        if result is None:
            raise invalid(
                at,
                f"{at} is {job_id}, which is {job.status} and has no verdict; wait until it has succeeded, or"
                " leave it out",
            )
        of = str(job.request["defect_type"])
        if of not in drawn:
            raise invalid(at, f"{at} is {job_id}, which judged {of}, and {_instead(of, drawn)}")
        found.append(DatasetVerdict(evaluation=job_id, defect_type=of, result=result))
    return found


def _instead(of: str, drawn: Collection[str]) -> str:
    name = split_defect_type(of)[0]
    version = next((one for one in drawn if split_defect_type(one)[0] == name), None)
    if version is None:
        return "no entry draws that type; leave it out"
    return f"what is drawn is {version}; evaluate that version, or draw {of}"
