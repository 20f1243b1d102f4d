"""What the libraries below raise: each of their exception classes is one of ours when it leaves this package.

The tables name every class that the installed versions have, so a version that brings one more fails here until
somebody has said what becomes of it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

from hybrid_search.encoders import hub, load
from hybrid_search.encoders.bundled import hybrid
from hybrid_search.encoders.catalog import BUNDLED_HYBRID, card
from hybrid_search.errors import (
    CollectionChanged,
    ConfigError,
    HybridSearchError,
    ModelError,
    ModelUnavailable,
    StoreError,
    StoreUnavailable,
)
from hybrid_search.store.server.client_errors import server_errors
from tests import hub_models

WHERE = "http://example.test:6333"


def exceptions_of(module: object, package: str) -> dict[str, type[Exception]]:
    """The exception classes of a module that are made in its package, by name."""
    classes = (value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, Exception))
    return {kind.__name__: kind for kind in classes if kind.__module__.split(".")[0] == package}


def bare(kind: type[Exception]) -> Exception:
    """An exception of a class whose arguments nobody knows, so it says what any does."""
    values = {name: lambda self: None for name in ("code", "details", "__del__")}
    values |= {"__module__": kind.__module__, "__str__": lambda self: "the reason"}
    silent = type(kind.__name__, (kind,), values)
    return silent.__new__(silent)


# ---------------------------------------------------------------- qdrant-client

QDRANT: dict[str, type[HybridSearchError]] = {
    "ApiException": StoreUnavailable,
    "QdrantException": StoreUnavailable,
    "ResourceExhaustedResponse": StoreUnavailable,
    "ResponseHandlingException": StoreUnavailable,
    "UnexpectedResponse": StoreError,
}
"""`UnexpectedResponse` goes by its status, which has a table of its own."""

STATUS: dict[int, type[HybridSearchError]] = {
    400: StoreError,
    401: ConfigError,
    403: ConfigError,
    404: CollectionChanged,
    409: StoreError,
    413: StoreError,
    422: StoreError,
    429: StoreUnavailable,
    500: StoreUnavailable,
    502: StoreUnavailable,
    503: StoreUnavailable,
    504: StoreUnavailable,
}

GRPC_CODES: dict[str, type[HybridSearchError]] = {
    "OK": StoreUnavailable,
    "CANCELLED": StoreUnavailable,
    "UNKNOWN": StoreUnavailable,
    "INVALID_ARGUMENT": StoreError,
    "DEADLINE_EXCEEDED": StoreUnavailable,
    "NOT_FOUND": CollectionChanged,
    "ALREADY_EXISTS": StoreError,
    "PERMISSION_DENIED": ConfigError,
    "UNAUTHENTICATED": ConfigError,
    "RESOURCE_EXHAUSTED": StoreUnavailable,
    "FAILED_PRECONDITION": StoreError,
    "ABORTED": StoreUnavailable,
    "UNIMPLEMENTED": StoreError,
    "INTERNAL": StoreUnavailable,
    "UNAVAILABLE": StoreUnavailable,
    "DATA_LOSS": StoreUnavailable,
    "OUT_OF_RANGE": StoreError,
}


def raised_at_a_server(error: Exception) -> HybridSearchError:
    with pytest.raises(HybridSearchError) as raised, server_errors(WHERE):
        raise error
    assert raised.value.__cause__ is error
    assert WHERE in str(raised.value)
    return raised.value


def client_exceptions() -> dict[str, type[Exception]]:
    package = importlib.import_module("qdrant_client")
    found: dict[str, type[Exception]] = {}
    for module in pkgutil.walk_packages(package.__path__, "qdrant_client."):
        found |= exceptions_of(importlib.import_module(module.name), "qdrant_client")
    return found


def test_every_exception_of_the_client_has_an_error():
    assert set(client_exceptions()) == set(QDRANT)


@pytest.mark.parametrize("name", sorted(set(QDRANT) - {"UnexpectedResponse"}))
def test_what_the_client_raises_is_an_error_of_ours(name):
    kind = client_exceptions()[name]
    assert type(raised_at_a_server(bare(kind))) is QDRANT[name]


@pytest.mark.parametrize("status", STATUS)
def test_each_status_is_an_error_of_ours(status):
    from httpx import Headers
    from qdrant_client.http.exceptions import UnexpectedResponse

    error = raised_at_a_server(UnexpectedResponse(status, "no", b"the reason", Headers()))
    assert isinstance(error, STATUS[status])
    assert str(status) in str(error)


def test_every_code_of_grpc_has_an_error():
    assert {code.name for code in importlib.import_module("grpc").StatusCode} == set(GRPC_CODES)


@pytest.mark.parametrize("name", GRPC_CODES)
def test_each_code_of_grpc_is_an_error_of_ours(name):
    grpc = importlib.import_module("grpc")

    class Answer(grpc.RpcError):  # type: ignore[name-defined,misc]
        code = staticmethod(lambda: grpc.StatusCode[name])
        details = staticmethod(lambda: "the reason")

    Answer.__module__ = "grpc._channel"
    error = raised_at_a_server(Answer())
    assert isinstance(error, GRPC_CODES[name])
    assert name in str(error)


@pytest.mark.parametrize("module", ["grpc", "grpc.aio", "grpc._channel"])
def test_whatever_grpc_raises_is_an_error_of_ours(module):
    kinds = exceptions_of(importlib.import_module(module), "grpc")
    assert kinds
    for kind in kinds.values():
        assert isinstance(raised_at_a_server(bare(kind)), StoreError)


# ---------------------------------------------------------------- huggingface_hub

GATED, NOWHERE, FAILED = "accept its terms", "has no ", "failed: "
HUB: dict[str, str] = {
    **dict.fromkeys(("GatedRepoError",), GATED),
    **dict.fromkeys(("RepositoryNotFoundError", "RevisionNotFoundError"), NOWHERE),
    **dict.fromkeys(
        [
            "BadRequestError",
            "BucketBatchError",
            "BucketNotFoundError",
            "CLIError",
            "CLIExtensionInstallError",
            "CacheNotFound",
            "CachedRepoTreeNotFoundError",
            "ConfirmationError",
            "CorruptedCacheException",
            "DDUFCorruptedFileError",
            "DDUFError",
            "DDUFExportError",
            "DDUFInvalidEntryNameError",
            "DeviceCodeError",
            "DisabledRepoError",
            "DryRunError",
            "EntryNotFoundError",
            "FileDuplicationError",
            "FileMetadataError",
            "GenerationError",
            "HFValidationError",
            "HfHubHTTPError",
            "HfUriError",
            "IncompleteGenerationError",
            "IncompleteSnapshotError",
            "InferenceEndpointError",
            "InferenceEndpointTimeoutError",
            "InferenceTimeoutError",
            "JobNotFoundError",
            "LocalEntryNotFoundError",
            "LocalTokenNotFoundError",
            "NotASafetensorsRepoError",
            "OIDCError",
            "OfflineModeIsEnabled",
            "OverloadedError",
            "RemoteEntryNotFoundError",
            "RevisionResolutionError",
            "SafetensorsParsingError",
            "SandboxCommandError",
            "SandboxError",
            "StrictDataclassClassValidationError",
            "StrictDataclassDefinitionError",
            "StrictDataclassError",
            "StrictDataclassFieldValidationError",
            "TextGenerationError",
            "UnknownError",
            "ValidationError",
            "XetDownloadError",
        ],
        FAILED,
    ),
}
"""What the message says. The last kind goes on with what to do instead: another machine, a mirror, another profile."""


def hub_exceptions() -> dict[str, type[Exception]]:
    return exceptions_of(importlib.import_module("huggingface_hub.errors"), "huggingface_hub")


def test_every_exception_of_the_hub_has_an_error():
    new = set(hub_exceptions()) - set(HUB)
    assert not new, f"say in HUB what becomes of {', '.join(sorted(new))}"


@pytest.mark.parametrize("name", HUB)
def test_what_the_hub_raises_is_an_error_of_ours(name, tmp_path, monkeypatch):
    kind = hub_exceptions().get(name)
    if kind is None:
        pytest.skip(f"this version of huggingface_hub has no {name}")
    fault = bare(kind)

    def refuse(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(hub, "hub_answers", lambda: True)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(ModelUnavailable) as raised:
        hub.download(card("prithivida/Splade_PP_en_v1", "sparse"), tmp_path)
    message = str(raised.value)
    assert raised.value.__cause__ is fault
    assert HUB[name] in message
    assert ("HF_ENDPOINT to a mirror" in message) is (HUB[name] is FAILED)


# ---------------------------------------------------------------- onnxruntime

ONNXRUNTIME = [
    "DeviceReset",
    "EPFail",
    "EngineError",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "ModelLoadCanceled",
    "ModelLoaded",
    "ModelRequiresCompilation",
    "NoModel",
    "NoSuchFile",
    "NotFound",
    "NotImplemented",
    "RuntimeException",
]
"""All of them: when a graph is opened, the model cannot be loaded; when it runs, a batch failed."""


def runtime_exceptions() -> dict[str, type[Exception]]:
    return exceptions_of(importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state"), "onnxruntime")


def encoders_of(tmp_path):
    yield load(card(BUNDLED_HYBRID, "hybrid"), cache_dir=tmp_path / "cache")
    folder = hub_models.splade_folder(tmp_path / "splade")
    yield load(card(str(folder), "sparse"), cache_dir=tmp_path / "cache")


def test_every_exception_of_onnxruntime_is_known():
    new = set(runtime_exceptions()) - set(ONNXRUNTIME)
    assert not new, f"see that encoders/ turn it into an error of ours: {', '.join(sorted(new))}"


@pytest.mark.parametrize("name", ONNXRUNTIME)
@pytest.mark.parametrize("when", ["opened", "run"])
def test_what_onnxruntime_raises_is_an_error_of_ours(name, when, tmp_path, monkeypatch):
    kind = runtime_exceptions().get(name)
    if kind is None:
        pytest.skip(f"this version of onnxruntime has no {name}")
    fault = bare(kind)

    class Session:
        def __init__(self, *_: object, **__: object) -> None:
            if when == "opened":
                raise fault

        def run(self, *_: object) -> None:
            raise fault

        def get_inputs(self) -> list[object]:
            return []

        get_outputs = get_inputs

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    for encoder in encoders_of(tmp_path):
        with pytest.raises(ModelError, match=r"cannot be loaded from .*models verify|failed on a batch") as raised:
            encoder.encode_documents(["music"])
        assert raised.value.__cause__ is fault
        assert (when == "opened") is isinstance(raised.value, ModelUnavailable)


def test_a_damaged_file_of_the_bundled_model_is_said(tmp_path):
    for name in hybrid.OWN_FILES:
        (tmp_path / name).write_bytes((hybrid.OWN_FOLDER / name).read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    encoder = hybrid.BundledHybrid(card(BUNDLED_HYBRID, "hybrid"), cache_dir=tmp_path, folder=tmp_path)
    for use in (encoder.warm_up, lambda: encoder.encode_queries(["x"]), lambda: encoder.encode_documents(["x", "y"])):
        with pytest.raises(ModelUnavailable, match="cannot be loaded from"):
            use()
