"""vLLM on a CPU in an environment of its own: reads lines of `{"prompts": [[id]], "max_tokens": n}`, writes each
token's time.

bench.engine starts it, and passes its environment. It imports nothing of this project.
"""

import asyncio
import json
import sys
import time


async def main(model: str, width: int, dtype: str) -> None:
    from vllm import AsyncEngineArgs, SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = AsyncEngineArgs(
        model=model, dtype=dtype, max_model_len=2048, max_num_seqs=width, disable_log_stats=True
    )
    engine = AsyncLLM.from_engine_args(arguments)

    async def stream(ids: list[int], key: str, max_tokens: int) -> list[float]:
        """Unix seconds of each token."""
        sampling = SamplingParams(
            temperature=0, max_tokens=max_tokens, detokenize=False, output_kind=RequestOutputKind.DELTA
        )
        token_times: list[float] = []
        async for output in engine.generate(TokensPrompt(prompt_token_ids=ids), sampling, key):
            token_times.extend([time.time()] * len(output.outputs[0].token_ids))
        return token_times

    loop = asyncio.get_running_loop()
    number = 0
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        started = time.time()
        streams = [
            stream(ids, f"{number}-{place}", request["max_tokens"]) for place, ids in enumerate(request["prompts"])
        ]
        token_times = sorted(at for each in await asyncio.gather(*streams) for at in each)
        number += 1
        print(json.dumps({"started": started, "token_times": token_times}), flush=True)
    engine.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
