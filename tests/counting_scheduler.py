"""vLLM's scheduler, which writes to the file COUNTED how many tokens of a request it had scheduled when that was
aborted.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler


class CountingScheduler(AsyncScheduler):
    def finish_requests(self, request_ids: Any, finished_status: Any) -> Any:
        wanted = [request_ids] if isinstance(request_ids, str) else list(request_ids or ())
        with Path(os.environ["COUNTED"]).open("a") as file:
            for request in (self.requests[name] for name in wanted if name in self.requests):
                file.write(f"{request.request_id} {request.num_prompt_tokens} {request.num_computed_tokens}\n")
        return super().finish_requests(request_ids, finished_status)
