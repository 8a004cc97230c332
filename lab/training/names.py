"""Names of methods, scorers and files, apart from the modules that compute: those take seconds to import."""

from itertools import combinations

from tandem.method.roles import SMALL_ROLES

OURS, LLM_ALONE, SLM_ALONE = "tandem", "llm", "slm"
TRIAL = "trial"
AGREEMENTS = {
    pair: "agreement" if pair == SMALL_ROLES[:2] else f"agreement:{'+'.join(pair)}"
    for pair in combinations(SMALL_ROLES, 2)
}
"""Runs that are no answers: whether the programs of two small models compute the same."""
ORACLE, ORACLE_FINISHING = "oracle", "oracle:llm-finishes"

WORDS = "words"  # the only kind of scorer without a scoring pass
BOOSTING = "boosting"  # the only kind that cannot be served
OF_STATES = ("probe", "combined")  # kinds that read hidden states, which not every engine gives

TRAINING = "training.json"  # the file that makes a folder a study
