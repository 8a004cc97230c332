"""Start the sufficiency scorer: `python -m services.sufficiency_scorer`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from pydantic import Field

from services.models.engine.api import PromptScorer
from services.models.model_process import open_engine, run_model_process
from services.models.settings import ModelServiceSettings
from services.shared.observability import metrics, tracing
from services.shared.process.redis import open_request_log
from services.shared.process.served_profiles import Reread, rereading, shared_model
from services.shared.process.settings import read_settings
from services.shared.process.start import run
from services.shared.process.transport import PLAIN, Transport, own_transport
from services.shared.request_log.log import RequestLog
from services.sufficiency_scorer.artefact import TRANSFORMERS, TrainedScorer, computed_by
from services.sufficiency_scorer.scorers import Scorer, make_scorer
from services.sufficiency_scorer.server import ScorerServer
from services.sufficiency_scorer.service import SufficiencyModel
from services.sufficiency_scorer.stage_scorer import StageScorer, StageScorers
from tandem.errors import SetupError
from tandem.method.profile.profile import Model, Profile


class ScorerSettings(ModelServiceSettings):
    http_port: int = Field(8080, ge=0, le=65535, validation_alias="TANDEM_HTTP_PORT", description="Open Inference REST")


def build(
    host: str,
    port: int,
    engine: PromptScorer,
    log: RequestLog,
    *profiles: Profile,
    folders: Sequence[Path] = (),
    computes_states: bool = False,
    reread: Reread | None = None,
    transport: Transport = PLAIN,
) -> ScorerServer:
    """Return the process around `engine`, whose first profile is its default. `folders` hold trained scorers, besides
    the profiles' own.
    """

    def make(profile: Profile) -> StageScorer:
        scorer = _scorer_of(profile, folders)
        _require_fit(profile, scorer, engine, computes_states)
        return StageScorer(engine, log, profile, scorer)

    def model() -> SufficiencyModel:
        with _set_up():
            return SufficiencyModel(StageScorers(*profiles, make=make, reread=reread), engine.info.name)

    return ScorerServer(host, port, model, transport)


async def main() -> None:
    settings = read_settings(ScorerSettings)
    tracing.setup("tandem-sufficiency-scorer", settings.log_level)
    profiles = settings.load_profiles()
    with _set_up():
        scorers = [_scorer_of(profile, settings.profile_folders) for profile in profiles]
    metrics.expose(settings.host, settings.metrics_port, "sufficiency-scorer")
    model = shared_model(profiles, _model_of)
    needs = _needs(scorers)
    engine = _open(_engine_for(scorers, settings.engine), settings.engine_arguments(model) | needs)
    metrics.watch_engines({"scorer": engine})
    log = open_request_log(settings.sealer())
    server = build(
        settings.host, settings.port, engine, log, *profiles,
        folders=settings.profile_folders, computes_states=needs["needs_states"],
        reread=rereading(settings.load_profiles, _model_of, profiles[0]), transport=own_transport(),
    )  # fmt: skip

    def add_model() -> None:
        metrics.watch_drift(server.load().scorers.drifts)

    async with server.rest(settings.http_port):
        await run_model_process(server.grpc, settings, [engine], log, then=add_model)


@contextmanager
def _set_up() -> Iterator[None]:
    """A scorer that cannot run here is a SetupError."""
    try:
        yield
    except ValueError as error:
        raise SetupError(str(error)) from error


def _open(spec: str, arguments: dict[str, Any]) -> PromptScorer:
    """Raises SetupError where this engine scores no prompt: vLLM has no entropies, and an API nothing of a prompt."""
    engine = open_engine(spec, arguments)
    if not hasattr(engine, "score"):
        raise SetupError(f"TANDEM_ENGINE {spec!r} scores no prompt: use transformers or llamacpp")
    return cast("PromptScorer", engine)


def _model_of(profile: Profile) -> Model:
    return profile.slm


def _scorer_of(profile: Profile, folders: Sequence[Path]) -> Scorer:
    """Raises ValueError where the profile names none that exists."""
    with _naming(profile):
        return make_scorer(profile.stop.scorer, profile.folder, *(folder / profile.name for folder in folders))


def _require_fit(profile: Profile, scorer: Scorer, engine: PromptScorer, computes_states: bool) -> None:
    """Raises ValueError for a scorer that was trained for another pair, prompt, tokenizer or engine, or needs what this
    one was not started with.
    """
    if not isinstance(scorer, TrainedScorer):
        return
    if scorer.needs_states and not computes_states:
        raise ValueError(
            f"profile {profile.name}: {profile.stop.scorer} reads hidden states, which this process does not "
            "compute: restart it"
        )
    with _naming(profile):
        scorer.check_compatible(profile, engine.tokenizer.sha256, computed_by(engine.info))


@contextmanager
def _naming(profile: Profile) -> Iterator[None]:
    """A ValueError says which profile's scorer it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"profile {profile.name}: {error}") from error


def _engine_for(scorers: Sequence[Scorer], chosen: str) -> str:
    """Return the engine. With "auto", a scorer whose score depends on the engine gets the one that it was trained on,
    if that is transformers.
    """
    trained = [scorer for scorer in scorers if isinstance(scorer, TrainedScorer) and scorer.needs_pass]
    on_transformers = [s for s in trained if s.artefact.description.computed_by == TRANSFORMERS]
    return "transformers" if chosen == "auto" and on_transformers else chosen


def _needs(scorers: Sequence[Scorer]) -> dict[str, bool]:
    return {"generates": False, "needs_states": any(isinstance(s, TrainedScorer) and s.needs_states for s in scorers)}


if __name__ == "__main__":
    run(main)
