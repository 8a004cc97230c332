"""Say how this machine would isolate answers, as JSON: `python -m services.answer_checker.sandbox`."""

import json
from dataclasses import asdict

from services.answer_checker.sandbox.layers import probe

if __name__ == "__main__":
    isolation = probe()
    print(json.dumps({**asdict(isolation), "is_weak": isolation.is_weak}))
