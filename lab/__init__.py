"""The lab beside the house: training, benchmarks, and the verbs of `tandem` that only a checkout can run."""
