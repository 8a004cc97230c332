"""vLLM on a CPU, in an environment of its own: reads `{"prompts": [[id]], "most": n}` a line, writes when each token came.

Started by bench.engine; imports nothing of the project.
"""

import asyncio
import json
import os
import sys
import time

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0-1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")


async def main(model: str, width: int) -> None:
    from vllm import AsyncEngineArgs, SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = AsyncEngineArgs(
        model=model, dtype="bfloat16", max_model_len=2048, max_num_seqs=width, disable_log_stats=True
    )
    engine = AsyncLLM.from_engine_args(arguments)
    loop = asyncio.get_running_loop()
    number = 0
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        sampling = SamplingParams(
            temperature=0, max_tokens=asked["most"], detokenize=False, output_kind=RequestOutputKind.DELTA
        )
        made: list[float] = []

        async def stream(
            ids: list[int], key: str, sampling: SamplingParams = sampling, made: list[float] = made
        ) -> None:
            async for output in engine.generate(TokensPrompt(prompt_token_ids=ids), sampling, key):
                made.extend([time.time()] * len(output.outputs[0].token_ids))

        started = time.time()
        await asyncio.gather(*(stream(ids, f"{number}-{place}") for place, ids in enumerate(asked["prompts"])))
        number += 1
        print(json.dumps({"started": started, "made": made}), flush=True)
    engine.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
