"""The small model's process: reads question and insight, reasons to the answer."""
