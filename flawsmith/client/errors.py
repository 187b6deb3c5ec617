"""What the client raises."""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from flawsmith.contract.jobs import Job
from flawsmith.contract.problems import Problem


class FlawsmithError(Exception):
    """Base of everything the client raises; ``problem`` is the service's own account, if it gave one."""

    def __init__(self, message: str, *, problem: Problem | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.problem = problem
        self.status = status
        """HTTP status of the answer, if there was one."""

    @classmethod
    def from_response(cls, response: httpx.Response) -> FlawsmithError:
        """The error that a refusing answer stands for."""
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:
            body = " ".join(response.text.split())[:200]
            said = f": {body}" if body else ""
            url = response.request.url.copy_with(query=None)  # which may hold a signature
            return cls(f"{url} answered {response.status_code}{said}", status=response.status_code)
        at = f" (field {problem.field})" if problem.field else ""
        return cls(f"{problem.title}: {problem.detail}{at}", problem=problem, status=response.status_code)


class ServiceUnreachableError(FlawsmithError):
    """No answer came: nobody listens there, or the connection broke."""

    def __init__(self, url: str, cause: Exception) -> None:
        if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout):
            remedy = "start one with `flawsmith up`, or give the address of a running one"
            message = f"no Flawsmith service answers at {url} ({_reason(cause)}); {remedy}"
        elif isinstance(cause, httpx.TimeoutException):
            message = f"{url} did not answer in time ({_reason(cause)}); try again, or give a longer timeout"
        else:
            message = f"the connection to {url} broke ({_reason(cause)}); check the service's log and try again"
        super().__init__(message)
        self.url = url


class InvalidParameterError(FlawsmithError, ValueError):
    """What was asked for cannot be right, so nothing was sent."""

    @classmethod
    def from_validation(cls, error: ValidationError) -> InvalidParameterError:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        return cls("; ".join(faults))


class CorruptDownloadError(FlawsmithError):
    """What arrived is not the file that the service promised; nothing of it was kept."""


class JobFailedError(FlawsmithError):
    """The job that was waited for ended as ``failed``."""

    def __init__(self, job: Job) -> None:
        why = f"{job.error.code}: {job.error.detail}" if job.error else "no reason was recorded"
        super().__init__(f"job {job.id} failed ({why})")
        self.job = job


class JobTimeoutError(FlawsmithError, TimeoutError):
    """The job that was waited for is not final yet; it goes on."""

    def __init__(self, job: Job, timeout: float) -> None:
        super().__init__(f"job {job.id} is still {job.status} after {timeout:g} s; wait longer, or cancel it")
        self.job = job


class InsecureAddressWarning(UserWarning):
    """An API key is sent where others may read it."""


def _reason(cause: Exception) -> str:
    return str(cause) or type(cause).__name__
