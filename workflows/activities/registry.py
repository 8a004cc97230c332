"""All activities of a worker, by the task queue that they are of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.shared.file_store.store import FileStore
from services.shared.process.channels import open_channel
from services.shared.process.transport import PLAIN, Transport
from services.shared.request_log.log import RequestLog
from tandem.method.roles import SLM
from workflows.activities.agreement import AgreementActivities
from workflows.activities.batch import BatchActivities
from workflows.activities.checking import CheckingActivities, OtherCheckers
from workflows.activities.learning import LearningActivities
from workflows.activities.models import AnswerActivities, InsightActivities
from workflows.activities.prefill_ahead import PrefillsAhead
from workflows.activities.publishing import PublishingActivities
from workflows.activities.scoring import ScoringActivities
from workflows.activities.shadow import ShadowActivities
from workflows.activities.usage import LostUsageActivities, ReportedUsage


@dataclass(frozen=True, slots=True)
class ServiceAddresses:
    insight_generator: str
    sufficiency_scorer: str
    slm_executor: str
    answer_checker: str = "127.0.0.1:50055"
    # Of further small models, by role.
    slm_executors: Mapping[str, str] = field(default_factory=dict)


class Activities:
    """All activities of a worker, over one channel to each service that has an address. `files` is the URL of the
    batches' files, `checkers` are the addresses of checks of somebody's own.
    """

    def __init__(
        self,
        addresses: ServiceAddresses,
        log: RequestLog,
        files: str = "",
        transport: Transport = PLAIN,
        checkers: Mapping[str, str] = {},
    ) -> None:
        needed = (
            addresses.insight_generator,
            addresses.sufficiency_scorer,
            addresses.slm_executor,
            addresses.answer_checker,
        )
        generator, scorer, executor, checker = self._channels = [open_channel(each, transport) for each in needed]
        further = {role: open_channel(each, transport) for role, each in addresses.slm_executors.items()}
        self._channels += further.values()
        reported, self._others = ReportedUsage(), OtherCheckers(checkers, transport)
        self._insight = InsightActivities(generator, reported)
        prefills_ahead = PrefillsAhead(executor)
        self._scoring = ScoringActivities(scorer, log, prefills_ahead)
        self._answer = AnswerActivities({SLM: executor, **further}, log, reported, prefills_ahead)
        self._agreement = AgreementActivities(self._answer, log)
        self._checking = CheckingActivities(checker, log, self._others)
        self._publishing = PublishingActivities(log)
        self._lost_usage = LostUsageActivities(log, reported)
        self._shadow = ShadowActivities(log)
        self._learning = LearningActivities(log)
        self._batch = BatchActivities(FileStore(files))

    def of_llm_queue(self) -> list[Callable[..., Any]]:
        """Activities that take one of the large model's slots."""
        return [self._insight.generate_insight, self._insight.judge]

    def of_solve_queue(self) -> list[Callable[..., Any]]:
        return [
            self._scoring.wait_and_score,
            self._scoring.wait_for_stage,
            self._scoring.all_scoring_passes,
            self._checking.check,
            self._answer.execute,
            self._agreement.agree,
            self._answer.all_prefill_passes,
            self._publishing.publish_stop,
            self._publishing.publish_llm_stopped,
            self._publishing.publish_scored,
            self._publishing.publish_result,
            self._lost_usage.settle_lost_usage,
            self._shadow.start_shadow,
            self._shadow.count_shadow,
            self._learning.start_beside,
            self._learning.count_served,
            self._learning.count_sampled,
            self._learning.count_uncounted,
        ]

    def of_batch_queue(self) -> list[Callable[..., Any]]:
        """Activities that wait for a batch's requests, and read and write its files."""
        return [
            self._batch.bounds_of_page,
            self._batch.ask,
            self._batch.cancel_asked,
            self._batch.store_page,
            self._batch.finish,
        ]

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(None)
        await self._others.close()
