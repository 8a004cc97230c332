"""The small model as a judge: does question + insight suffice for it to answer? A KServe model (Open Inference v2)."""
