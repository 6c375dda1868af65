"""The items of TRIPOD+AI (Collins et al., BMJ 2024;385:e078378) in our own words, with what a run answers."""

from __future__ import annotations

from reports import checklist_answers as answers
from reports.checklist import Item
from reports.checklist_answers import say, see

_RESEARCH = "Research software, no medical device, not for decisions about patients."

TRIPOD: tuple[Item, ...] = (
    Item(number="1", asks="Title: model, its development or evaluation, population, outcome"),
    Item(number="2", asks="Abstract after TRIPOD+AI for abstracts"),
    Item(number="3a", asks="Medical background, and models that exist already"),
    Item(
        number="3b",
        asks="Whom the model is for, where in care, and who would use it",
        answers=(say(_RESEARCH),),
        authors="intended use and users",
    ),
    Item(number="3c", asks="Known inequalities in health between groups of people"),
    Item(number="4", asks="Aims: development, evaluation or both", answers=(answers.aim,), authors="the aims"),
    Item(
        number="5a",
        asks="Sources of the data, why these, and whom they represent",
        answers=(answers.source,),
        authors="why these data, and whom they represent",
    ),
    Item(number="5b", asks="Dates of collection and of follow-up"),
    Item(number="6a", asks="Setting, number and place of centres"),
    Item(
        number="6b",
        asks="Who and what was eligible",
        answers=(answers.inclusion,),
        authors="criteria of the data set itself",
    ),
    Item(number="6c", asks="Treatments, and how they were handled"),
    Item(
        number="7",
        asks="Preparation and quality checks of the data, alike for all groups of people",
        answers=(answers.preprocessing, see("data")),
    ),
    Item(
        number="8a",
        asks="Outcome, how and when it was assessed",
        answers=(answers.outcome,),
        authors="how it was established, and when",
    ),
    Item(number="8b", asks="Who assessed the outcome, where that takes judgement"),
    Item(number="8c", asks="Blinding of those who assessed it"),
    Item(number="9a", asks="Choice of predictors before modelling", answers=(answers.predictors,)),
    Item(
        number="9b",
        asks="Definition and measurement of every predictor",
        answers=(answers.preprocessing,),
        authors="cameras and how pictures were taken",
    ),
    Item(number="9c", asks="Who measured predictors, where that takes judgement", answers=(answers.predictors,)),
    Item(
        number="10",
        asks="Sample size and its justification",
        answers=(answers.sample_size,),
        authors="whether that suffices",
    ),
    Item(number="11", asks="Missing values", answers=(answers.clinical_missing,)),
    Item(number="12a", asks="Use of the data for development and evaluation", answers=(answers.division,)),
    Item(number="12b", asks="Handling of predictors", answers=(answers.preprocessing, answers.augmentation)),
    Item(
        number="12c",
        asks="Kind of model, building, tuning, internal validation",
        answers=(answers.TECHNOLOGY, answers.model_building, answers.ensembling, see("methods")),
        authors="why this kind of model, and what else was tried on these data",
    ),
    Item(number="12d", asks="Differences between centres or countries", answers=(answers.clusters,)),
    Item(number="12e", asks="Measures and plots of performance", answers=(answers.measures, answers.uncertainty)),
    Item(number="12f", asks="Updating of the model after its evaluation", answers=(say("None."),)),
    Item(number="12g", asks="How predictions were computed", answers=(answers.PREDICTION,)),
    Item(number="13", asks="Handling of class imbalance, and recalibration after it", answers=(answers.imbalance,)),
    Item(
        number="14",
        asks="What was done for fairness",
        answers=(say("No measure was taken in training."), see("subgroups")),
        authors="considerations of fairness",
    ),
    Item(number="15", asks="Output of the model, classes and thresholds", answers=(answers.output,)),
    Item(
        number="16",
        asks="Differences between data for development and for evaluation",
        answers=(answers.INTERNAL, see("data")),
    ),
    Item(number="17", asks="Ethical approval and consent"),
    Item(number="18a", asks="Funding"),
    Item(number="18b", asks="Conflicts of interest"),
    Item(number="18c", asks="Study protocol"),
    Item(number="18d", asks="Registration"),
    Item(number="18e", asks="Availability of the data", answers=(answers.data_available,)),
    Item(number="18f", asks="Availability of the code", answers=(answers.CODE, answers.software)),
    Item(number="19", asks="Involvement of patients and the public"),
    Item(
        number="20a",
        asks="Flow of participants, with and without the outcome",
        answers=(answers.source, see("data")),
        authors="what happened before the data set was published",
    ),
    Item(
        number="20b",
        asks="Characteristics of participants, and missing values",
        answers=(see("data", "subgroups"),),
        authors="characteristics that the data files do not hold",
    ),
    Item(
        number="20c",
        asks="Predictors in evaluation compared with development",
        answers=(answers.INTERNAL, see("data")),
    ),
    Item(number="21", asks="Numbers in every analysis", answers=(answers.counts_of_parts, see("run"))),
    Item(number="22", asks="The model in full, so that others can use and test it", answers=(answers.PREDICTION,)),
    Item(
        number="23a",
        asks="Performance with intervals, in key subgroups too",
        answers=(see("overall", "classes", "subgroups", "calibration", "decision-curves"),),
    ),
    Item(number="23b", asks="Performance by centre or country", answers=(answers.clusters,)),
    Item(number="24", asks="Results of updating", answers=(say("No model was updated."),)),
    Item(number="25", asks="Interpretation, fairness included"),
    Item(
        number="26",
        asks="Limitations and what they mean for bias, uncertainty and other places",
        answers=(see("method"),),
        authors="limitations of the study",
    ),
    Item(
        number="27a",
        asks="Poor or missing input when the model is used",
        answers=(answers.unusual_images,),
        authors="what users shall do then",
    ),
    Item(
        number="27b",
        asks="What users must do, and what they must know",
        answers=(say("A user gives image files; nothing is marked by hand."),),
        authors="the expertise that is needed",
    ),
    Item(number="27c", asks="Next steps of research", answers=(answers.INTERNAL,), authors="next steps"),
)
"""In the order of the statement: 27 items, 52 with their parts."""
