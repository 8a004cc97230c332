"""Start the sufficiency scorer: `python -m services.sufficiency_scorer`."""

from __future__ import annotations

import sys

import kserve.model_server
from kserve import ModelServer
from pydantic import Field

from services.engine.api import ModelInfo
from services.engine.registry import make_engine
from services.observability import metrics, tracing
from services.process.settings import ModelServiceSettings, read_settings
from services.process.transport import own_transport
from services.request_log.log import RequestLog
from services.sufficiency_scorer.artefact import TrainedScorer
from services.sufficiency_scorer.description import TRANSFORMERS
from services.sufficiency_scorer.scorers import Scorer, make_scorer
from services.sufficiency_scorer.service import ScorerRestServer, ScorerServer, SufficiencyModel
from services.sufficiency_scorer.stage_scorer import StageScorer
from tandem.method.profile import load_profile


class ScorerSettings(ModelServiceSettings):
    http_port: int = Field(8080, ge=0, le=65535, validation_alias="TANDEM_HTTP_PORT", description="Open Inference REST")


def main() -> None:
    settings = read_settings(ScorerSettings)
    tracing.setup("tandem-sufficiency-scorer", settings.log_level)
    profile = load_profile(settings.profile, settings.profile_folders)
    try:
        others = (folder / profile.name for folder in settings.profile_folders)
        scorer = make_scorer(profile.stop.scorer, profile.folder, *others)
    except ValueError as error:
        sys.exit(f"profile {profile.name}: {error}")
    metrics.expose(settings.host, settings.metrics_port)
    transport = own_transport()
    engine = make_engine(_engine_for(scorer, settings.engine), settings.engine_arguments(profile.slm) | _needs(scorer))
    metrics.watch_engine(engine, "scorer")
    engine.start()
    if isinstance(scorer, TrainedScorer):
        try:
            scorer.check_compatible(profile, engine.tokenizer.sha256, _computed_by(engine.info))
        except ValueError as error:
            sys.exit(f"profile {profile.name}: {error}")
    stage_scorer = StageScorer(
        engine, RequestLog(settings.redis_url, settings.request_ttl, settings.sealer()), profile, scorer
    )
    metrics.watch_drift(stage_scorer.drift)
    ScorerServer.host = ScorerRestServer.host = settings.host
    ScorerServer.transport = transport
    ScorerRestServer.is_open = not transport.is_on
    ScorerServer.is_alive = staticmethod(lambda: engine.is_alive)
    kserve.model_server.GRPCServer, kserve.model_server.RESTServer = ScorerServer, ScorerRestServer
    leave_logging_to_us()
    server = ModelServer(
        http_port=settings.http_port,
        grpc_port=settings.port,
        grace_period=int(settings.drain.total_seconds()),
        enable_latency_logging=False,
    )
    server.start([SufficiencyModel(stage_scorer, engine.info.name)])
    engine.stop()
    tracing.shutdown()


def leave_logging_to_us() -> None:
    """KServe's own handlers would write messages of errors, which may quote a request (services.observability.text)."""
    kserve.model_server.args.configure_logging = False


def _engine_for(scorer: Scorer, chosen: str) -> str:
    """With "auto", a scorer whose score depends on the engine gets the one that it was trained on, if that is transformers."""
    if chosen == "auto" and isinstance(scorer, TrainedScorer) and scorer.needs_pass:
        return chosen if scorer.artefact.description.computed_by != TRANSFORMERS else "transformers"
    return chosen


def _needs(scorer: Scorer) -> dict[str, bool]:
    return {"generates": False, "needs_states": isinstance(scorer, TrainedScorer) and scorer.needs_states}


def _computed_by(info: ModelInfo) -> str:
    return f"llamacpp {info.dtype}" if info.engine == "llamacpp" else TRANSFORMERS


if __name__ == "__main__":
    main()
