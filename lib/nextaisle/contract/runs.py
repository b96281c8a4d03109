"""What a training run leaves in MLflow, where judgement and scoring find it."""

from typing import Final

# The artifact folder of a run, and its two models: one judged on days it has not seen, one that has seen them all.
MODEL_PATH: Final = "model"
EVALUATED: Final = "evaluated"
SERVING: Final = "serving"
# The tag that says through which day the run knows the shop.
AS_OF_TAG: Final = "as_of_date"
