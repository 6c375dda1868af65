"""The rule for warnings, to and from the manifest of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ensemble.manifest import Manifest
from ensemble.manifest_parts import StoredGauge, StoredLimit, StoredOutliers
from ensemble.outliers import Limit, LogScale, MemberScales, OutlierRule


@dataclass(frozen=True, kw_only=True)
class GaugeFiles:
    """Where the distributions lie that distances from the training images of one member are measured by."""

    features: Path
    """Of what its logits are made of, as `FeatureStatistics.to_bytes` gives it."""
    appearance: Path
    """Of colours and texture, in the same form."""


def store_outliers(rule: OutlierRule) -> StoredOutliers:
    """Return the limits as the manifest holds them; the scales go to the members."""
    return StoredOutliers(distance=_stored(rule.distance), spread=_stored(rule.spread))


def read_outliers(manifest: Manifest) -> OutlierRule | None:
    """Return the rule of a bundle; None when it was made without one."""
    if (stored := manifest.outliers) is None:
        return None
    return OutlierRule(
        scales={
            (member.backbone, member.fold): MemberScales(
                features=_scale(member.gauges.features), appearance=_scale(member.gauges.appearance)
            )
            for member in manifest.members
            if member.gauges is not None
        },
        distance=_read(stored.distance),
        spread=_read(stored.spread),
    )


def store_gauge(file: Path, scale: LogScale) -> StoredGauge:
    """Return the form of a distribution of features that lies in the bundle."""
    return StoredGauge(file=file.name, mean=scale.mean, deviation=scale.deviation)


def _scale(stored: StoredGauge) -> LogScale:
    return LogScale(mean=stored.mean, deviation=stored.deviation)


def _stored(limit: Limit | None) -> StoredLimit | None:
    return None if limit is None else StoredLimit(value=limit.value, beyond=limit.beyond)


def _read(stored: StoredLimit | None) -> Limit | None:
    return None if stored is None else Limit(value=stored.value, beyond=stored.beyond)
