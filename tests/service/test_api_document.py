"""``openapi.yaml`` is the code's own account of the API, and complete."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import yaml
from pydantic import BaseModel

from flawsmith.contract import problems
from flawsmith.contract.augmentations import MAX_DEFECTS, AugmentationForm, AugmentationRequest
from flawsmith.contract.evaluations import EvaluationParameters
from flawsmith.contract.specs import DatasetParameters, DatasetRequest
from flawsmith.contract.trainings import TrainingParameters, TrainingRequest
from service.app import create_app
from service.openapi.document import PATH, dump
from service.settings import ServiceSettings
from tests.service.conftest import Api
from tests.service.serving import openapi_document
from tests.service.test_api_refusals import assert_problem

OPERATIONS = {
    "POST /v1/uploads": "createUpload",
    "GET /v1/uploads/{upload_id}": "getUpload",
    "POST /v1/augmentations": "createAugmentation",
    "POST /v1/datasets": "createDataset",
    "GET /v1/jobs": "listJobs",
    "GET /v1/jobs/{job_id}": "getJob",
    "DELETE /v1/jobs/{job_id}": "deleteJob",
    "POST /v1/jobs/{job_id}/cancel": "cancelJob",
    "GET /v1/jobs/{job_id}/input": "getJobInput",
    "GET /v1/jobs/{job_id}/mask": "getJobMask",
    "GET /v1/jobs/{job_id}/events": "streamJobEvents",
    "GET /v1/jobs/{job_id}/sheet": "getJobSheet",
    "GET /v1/jobs/{job_id}/archive": "getJobArchive",
    "GET /v1/jobs/{job_id}/report": "getJobReport",
    "GET /v1/jobs/{job_id}/rows": "listJobRows",
    "GET /v1/jobs/{job_id}/items/{n}/image": "getItemImage",
    "GET /v1/jobs/{job_id}/items/{n}/mask": "getItemMask",
    "GET /v1/jobs/{job_id}/items/{n}/defects/{k}/mask": "getItemDefectMask",
    "GET /v1/jobs/{job_id}/items/{n}/preview": "getItemPreview",
    "GET /v1/jobs/{job_id}/items/{n}/request": "getItemRequest",
    "GET /v1/defect-types": "listDefectTypes",
    "GET /v1/defect-types/{name}": "getDefectType",
    "POST /v1/defect-types": "createDefectType",
    "POST /v1/evaluations": "createEvaluation",
    "DELETE /v1/defect-types/{name}": "deleteDefectType",
    "GET /v1/defect-types/{name}/versions/{version}/bundle": "exportDefectType",
    "PUT /v1/defect-types/{name}/versions/{version}/bundle": "importDefectType",
    "GET /healthz": "getHealth",
    "GET /readyz": "getReadiness",
    "GET /metrics": "getMetrics",
}


def operations() -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in openapi_document()["paths"].items()
        for method, operation in methods.items()
    }


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(references(child) for child in value.values()))
    if isinstance(value, list):
        return set().union(*(references(child) for child in value))
    return set()


def test_the_file_is_what_the_code_says() -> None:
    assert PATH.read_text(encoding="utf-8") == dump(create_app(ServiceSettings())), (
        "openapi.yaml is out of date; write it anew with: python -m service.openapi"
    )


def test_the_file_reads_back_as_the_document() -> None:
    assert yaml.safe_load(PATH.read_text(encoding="utf-8")) == openapi_document()


def test_every_operation_is_documented_under_a_neat_name() -> None:
    assert {name: operation["operationId"] for name, operation in operations().items()} == OPERATIONS
    for operation in operations().values():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]


def test_every_reference_leads_somewhere() -> None:
    document = openapi_document()

    for reference in references(document):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def test_problems_are_documented_for_every_operation_that_has_a_client() -> None:
    for name, operation in operations().items():
        if "/v1/" in name:
            assert {"422", "500", "503"} <= set(operation["responses"])
    statuses = {f"Problem{kind.status}" for kind in problems.ALL} - {"Problem405", "Problem431"}  # of no operation
    assert set(openapi_document()["components"]["responses"]) == statuses


def test_an_augmentation_takes_a_form_or_json_with_the_same_parameters() -> None:
    content = operations()["POST /v1/augmentations"]["requestBody"]["content"]

    assert set(content) == {"multipart/form-data", "application/json"}
    masks = {f"mask_{number}" for number in range(MAX_DEFECTS)}
    in_form = set(content["multipart/form-data"]["schema"]["properties"])
    assert in_form == set(AugmentationRequest.model_fields) | masks
    for field in AugmentationForm.model_fields:
        assert content["multipart/form-data"]["schema"]["properties"][field]["description"]


def test_a_training_takes_a_form_or_json_with_the_same_parameters() -> None:
    content = operations()["POST /v1/defect-types"]["requestBody"]["content"]

    assert set(content) == {"multipart/form-data", "application/json"}
    assert set(content["multipart/form-data"]["schema"]["properties"]) == set(TrainingRequest.model_fields)
    for field in TrainingParameters.model_fields:
        assert content["multipart/form-data"]["schema"]["properties"][field]["description"]


def test_a_data_set_takes_a_form_or_json_with_the_same_parameters() -> None:
    content = operations()["POST /v1/datasets"]["requestBody"]["content"]

    assert set(content) == {"multipart/form-data", "application/json"}
    zips = {"normals", "masks", "regions", "excludes", "normals_metadata", "reference"}
    form = content["multipart/form-data"]["schema"]["properties"]
    assert set(form) == set(DatasetParameters.model_fields) | zips
    assert set(form) == set(DatasetRequest.model_fields) | zips
    assert all(field["description"] for field in form.values())


def test_an_evaluation_takes_a_form_alone() -> None:
    content = operations()["POST /v1/evaluations"]["requestBody"]["content"]

    assert set(content) == {"multipart/form-data"}
    properties = content["multipart/form-data"]["schema"]["properties"]
    assert set(properties) == set(EvaluationParameters.model_fields) | {"hold_out"}
    assert properties["metric"]["enum"] == ["auroc", "escapes-1", "escapes-0.1", "pixel-ap"]
    assert all(field["description"] for field in properties.values())


@pytest.mark.parametrize(
    ("operation", "model"),
    [
        ("POST /v1/augmentations", AugmentationRequest),
        ("POST /v1/datasets", DatasetRequest),
        ("POST /v1/defect-types", TrainingRequest),
    ],
)
def test_examples_are_requests_that_fit(operation: str, model: type[BaseModel]) -> None:
    examples = operations()[operation]["requestBody"]["content"]["application/json"]["examples"]

    for example in examples.values():
        model.model_validate(example["value"], strict=True)


def test_the_documentation_is_served(api: Api) -> None:
    assert "swagger" in httpx.get(f"{api.address}/docs").text
    assert httpx.get(f"{api.address}/openapi.json").json() == openapi_document()


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/jobs/", "/v1/data", "/%ff"])
def test_where_nothing_is_a_problem_says_so(api: Api, path: str) -> None:
    answer = httpx.get(api.address + path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "/docs" in answer.json()["detail"]


def test_a_method_that_is_not_offered_is_a_problem(api: Api) -> None:
    assert_problem(api.client.put("/v1/uploads"), problems.METHOD_NOT_ALLOWED, None, "PUT", "POST")
    assert api.client.put("/v1/uploads").headers["allow"] == "POST"
