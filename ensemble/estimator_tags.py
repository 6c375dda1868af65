"""What scikit-learn asks about an estimator."""

from __future__ import annotations

from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags


def classifier_tags(n_classes: int) -> Tags:
    """Describe a fitted classifier of images: no tables in, class names out."""
    return Tags(
        estimator_type="classifier",
        target_tags=TargetTags(required=False),
        classifier_tags=ClassifierTags(multi_class=n_classes > 2),
        input_tags=InputTags(one_d_array=True, two_d_array=False, three_d_array=True, string=True),
        requires_fit=False,
    )
