"""The places of each tenant's files in the store.

TENANT/files/FILE            content        TENANT/batches/BATCH/requests/PAGE   admitted requests
TENANT/descriptions/FILE     its name       TENANT/batches/BATCH/answers/PAGE    their answers
TENANT/batch-list/BATCH      description    TENANT/batches/BATCH/errors/PAGE     those without one
                                            TENANT/batches/BATCH/end             how it ended
"""

from __future__ import annotations

ANSWERS, ERRORS = "answers", "errors"


def tenant_folder(tenant: str) -> str:
    """Return the tenant's folder. No tenant's name is another's folder, and `..` is none."""
    return f"tenant-{tenant}" if tenant else "anonymous"


def files(tenant: str) -> str:
    return f"{tenant_folder(tenant)}/files"


def file_path(tenant: str, file_id: str) -> str:
    return f"{files(tenant)}/{file_id}"


def file_description_path(tenant: str, file_id: str) -> str:
    return f"{file_descriptions(tenant)}/{file_id}"


def file_descriptions(tenant: str) -> str:
    return f"{tenant_folder(tenant)}/descriptions"


def batch_list(tenant: str) -> str:
    return f"{tenant_folder(tenant)}/batch-list"


def batch_path(tenant: str, batch_id: str) -> str:
    return f"{batch_list(tenant)}/{batch_id}"


def batches(tenant: str) -> str:
    return f"{tenant_folder(tenant)}/batches"


def batch_folder(tenant: str, batch_id: str, fingerprint: str) -> str:
    """The fingerprint keeps two batches apart that are made with one id at the same moment: one of them is then
    refused.
    """
    return f"{batches(tenant)}/{batch_id}-{fingerprint}"


def requests_path(folder: str, page: int) -> str:
    return f"{folder}/requests/{page:06}"


def shard_path(folder: str, kind: str, page: int) -> str:
    """`kind` is ANSWERS or ERRORS."""
    return f"{folder}/{kind}/{page:06}"


def begun_path(folder: str) -> str:
    return f"{folder}/begun"


def end_path(folder: str) -> str:
    return f"{folder}/end"


def output_id(batch_id: str, kind: str) -> str:
    """Id of the file that the batch writes; `kind` is ANSWERS or ERRORS."""
    return f"file-{batch_id}-{kind}"


def tenant_of(folder: str) -> str:
    """The tenant whose folder this is."""
    return folder.partition("/")[0].removeprefix("tenant-") if not folder.startswith("anonymous/") else ""
