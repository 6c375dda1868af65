"""How metrics are called and numbers are written, in every table, figure and sentence."""

from __future__ import annotations

import math

from reports.metric_words import METRICS as METRICS
from reports.results import Estimate

NOT_AVAILABLE = "n/a"


MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 3) -> str:
    """Write a number with a fixed count of decimals and a true minus sign; never ``-0.000``."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float, digits: int = 3) -> str:
    """Write a difference with its sign."""
    text = number(value, digits)
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def count(value: float) -> str:
    """Write a whole number with thousands set apart by a narrow space that never breaks."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", MINUS)


def percent(value: float, digits: int = 0) -> str:
    """Write a share in per cent."""
    return f"{number(100 * value, digits)} %"


def value_text(estimate: Estimate) -> str:
    """Write the point estimate alone."""
    return NOT_AVAILABLE if estimate.value is None else number(estimate.value)


def interval(estimate: Estimate) -> str:
    """Write ``[low, high]``; empty when the interval is undefined."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def estimate_words(estimate: Estimate) -> str:
    """Write an estimate in a sentence: ``0.712 (95 % interval 0.690 to 0.734)``."""
    if estimate.value is None:
        return f"{NOT_AVAILABLE} ({estimate.reason})"
    if estimate.low is None or estimate.high is None:
        return f"{number(estimate.value)} (no interval: {estimate.reason})"
    return f"{number(estimate.value)} (95 % interval {number(estimate.low)} to {number(estimate.high)})"


def p_text(p: float) -> str:
    """Write a p-value; below a thousandth only that it is."""
    return "< 0.001" if p < 0.001 else number(p)


def p_words(p: float, adjusted: float) -> str:
    """Write a p-value and its adjusted form in a sentence: ``p = 0.012, adjusted 0.048``."""
    sign = "" if p < 0.001 else "= "
    return f"p {sign}{p_text(p)}, adjusted {p_text(adjusted)}"


def duration(seconds: float) -> str:
    """Write a time span as people say it: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = math.floor(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = math.floor(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def metric_label(metric: str) -> str:
    """Return the heading of a metric; an unknown one is its own heading."""
    return METRICS[metric].label if metric in METRICS else metric


def metric_in_sentence(metric: str) -> str:
    """Return the heading of a metric as it stands within a sentence: ``macro F1``, ``log-loss``, ``ECE``."""
    label = metric_label(metric)
    return label if label[:2].isupper() else label[0].lower() + label[1:]


def plural(amount: int, one: str, many: str = "") -> str:
    """Write a count with its noun."""
    return f"{count(amount)} {one if amount == 1 else many or one + 's'}"


def listing(names: tuple[str, ...] | list[str]) -> str:
    """Join names as in a sentence: ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def shorten(name: str, most: int) -> str:
    """Cut a long name in the middle, for figures; tables show it whole."""
    if len(name) <= most:
        return name
    head = (most - 1) // 2 + (most - 1) % 2
    tail = most - 1 - head
    return f"{name[:head]}…{name[len(name) - tail :] if tail else ''}"


def printable(name: str) -> str:
    """Replace control characters, which neither XML nor a page can hold, by a visible sign."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
