"""The items of CLAIM (Mongan, Moy, Kahn 2020; update of Tejani et al. 2024) in our own words, with what a run answers.

Numbers are those of the 2024 update.
"""

from __future__ import annotations

from reports import checklist_answers as answers
from reports.checklist import Item
from reports.checklist_answers import say, see

CLAIM: tuple[Item, ...] = (
    Item(
        number="1",
        asks="Title or abstract names the kind of artificial intelligence",
        answers=(answers.TECHNOLOGY,),
        authors="the title",
    ),
    Item(number="2", asks="Abstract: design, methods, results, conclusions"),
    Item(number="3", asks="Background, intended use and role"),
    Item(number="4", asks="Aims and hypotheses", answers=(answers.aim,), authors="aims and hypotheses"),
    Item(number="5", asks="Prospective or retrospective", answers=(say("Retrospective: images that exist already."),)),
    Item(number="6", asks="Goal of the study", answers=(answers.aim,), authors="what for"),
    Item(number="7", asks="Sources of the data", answers=(answers.source,), authors="where and when they arose"),
    Item(
        number="8",
        asks="What was included and excluded",
        answers=(answers.inclusion,),
        authors="criteria of the data set itself",
    ),
    Item(number="9", asks="Preprocessing", answers=(answers.preprocessing, answers.augmentation)),
    Item(number="10", asks="Selection of parts of the data or of the images", answers=(answers.inclusion,)),
    Item(number="11", asks="Removal of what identifies patients"),
    Item(number="12", asks="Missing data", answers=(answers.clinical_missing,)),
    Item(number="13", asks="How images were acquired"),
    Item(
        number="14",
        asks="Definition of the reference standard",
        answers=(answers.outcome,),
        authors="how it was established",
    ),
    Item(number="15", asks="Why this reference standard"),
    Item(number="16", asks="Who annotated, with what expertise"),
    Item(number="17", asks="Annotation of the test data", answers=(say("The same as of the training data."),)),
    Item(number="18", asks="Agreement between and within annotators"),
    Item(number="19", asks="Assignment to partitions", answers=(answers.division,)),
    Item(number="20", asks="Level at which partitions are disjoint", answers=(answers.level_of_division, see("data"))),
    Item(
        number="21",
        asks="Intended size of the test data",
        answers=(answers.sample_size,),
        authors="whether that suffices",
    ),
    Item(
        number="22",
        asks="The model in detail: input, output, layers",
        answers=(answers.architecture, answers.predictors, answers.output),
    ),
    Item(number="23", asks="Software and versions", answers=(answers.software,)),
    Item(number="24", asks="Starting values of the weights", answers=(answers.starting_weights,)),
    Item(
        number="25",
        asks="Training: augmentation, hyperparameters, number of models",
        answers=(answers.augmentation, answers.imbalance, see("methods", "training", "run")),
    ),
    Item(
        number="26",
        asks="Choice of the final model",
        answers=(answers.model_building,),
        authors="what else was tried on these data",
    ),
    Item(number="27", asks="Ensembles", answers=(answers.ensembling,)),
    Item(number="28", asks="Measures of performance", answers=(answers.measures,)),
    Item(number="29", asks="Significance and uncertainty", answers=(answers.uncertainty,)),
    Item(number="30", asks="Robustness and sensitivity", answers=(answers.sensitivity, see("spread"))),
    Item(number="31", asks="Explanations of the model’s answers", answers=(see("gallery"),)),
    Item(number="32", asks="Evaluation on internal data", answers=(answers.INTERNAL, see("overall"))),
    Item(number="33", asks="Test on external data", answers=(say("None in this run; `hamcv evaluate` makes one."),)),
    Item(number="34", asks="Registration, for a clinical trial"),
    Item(
        number="35",
        asks="Numbers of patients, examinations or images",
        answers=(answers.source, answers.counts_of_parts, see("data")),
        authors="number of patients",
    ),
    Item(
        number="36",
        asks="Demographic and clinical characteristics by partition",
        answers=(see("data", "subgroups"),),
        authors="what the data files do not hold",
    ),
    Item(number="37", asks="Performance with uncertainty", answers=(see("overall", "classes"),)),
    Item(
        number="38",
        asks="Diagnostic performance and its precision",
        answers=(see("classes", "further", "calibration", "decision-curves"),),
    ),
    Item(number="39", asks="Analysis of failures", answers=(see("confusion", "gallery"),)),
    Item(number="40", asks="Limitations", answers=(see("method"),), authors="limitations of the study"),
    Item(
        number="41",
        asks="What it means for practice",
        answers=(say("Research software, no medical device, not for decisions about patients."),),
        authors="implications",
    ),
    Item(
        number="42",
        asks="Protocol or further technical detail",
        answers=(say("Every setting stands in config.toml."), see("run", "method")),
        authors="the protocol",
    ),
    Item(
        number="43",
        asks="Availability of software, model and data",
        answers=(answers.CODE, answers.PREDICTION, answers.data_available),
        authors="where the model can be had",
    ),
    Item(number="44", asks="Funding, and the role of those who gave it"),
)
"""In the order of the update."""
