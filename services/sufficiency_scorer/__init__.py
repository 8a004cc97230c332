"""Sufficiency scorer: estimates whether question + insight suffice for the small model. A KServe model (Open Inference
v2).
"""
