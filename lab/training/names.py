"""Names of methods, scorers and files, apart from the modules that compute: those take seconds to import."""

OURS, LLM_ALONE, SLM_ALONE = "tandem", "llm", "slm"
TRIAL = "trial"
SECOND = "second_slm"  # runs of a second small model
AGREED = "agreement"  # no answers: whether both small models' programs compute the same
ORACLE, ORACLE_FINISHING = "oracle", "oracle:llm-finishes"

WORDS = "words"  # the only kind of scorer without a scoring pass
BOOSTING = "boosting"  # the only kind that cannot be served
OF_STATES = ("probe", "combined")  # kinds that read hidden states, which not every engine gives

TRAINING = "training.json"  # the file that makes a folder a study
