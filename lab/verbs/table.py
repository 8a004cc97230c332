"""The lab's verbs: `tandem` finds them by the entry points `tandem.verbs` (lab/pyproject.toml)."""

from __future__ import annotations

from tandem.cli.parts import Verb

PLAN = Verb("Say whether a pair of models pays.", "lab.verbs.plan:plan", "lab")
COLLECT = Verb("Collect both models' answers to a data set.", "lab.verbs.collect:collect", "lab")
TRAIN = Verb("Train a sufficiency scorer on collected answers.", "lab.verbs.train:train", "lab")
CALIBRATE = Verb("Choose the stop rule's thresholds.", "lab.verbs.calibrate:calibrate", "lab")
DISPUTES = Verb("Label answers of two small models that the large one disputes.", "lab.verbs.disputes:disputes", "lab")
EVAL = Verb("Evaluate the stop rule on questions that it was not trained on.", "lab.verbs.evaluate:evaluate", "lab")
