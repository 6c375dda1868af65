"""The methods of a run as a text to paste into a paper, with its references."""

from __future__ import annotations

from reports.citations import Citations
from reports.document import Excerpt, Group, Paragraph, Section
from reports.methods_analysis import ensemble_text, software_text, statistics_text
from reports.methods_data import data_text, division_text
from reports.methods_training import networks_text, training_text
from reports.study import Study


def methods_section(study: Study) -> Section:
    """Return the text, the references it numbers, and the same as BibTeX."""
    cite = Citations()
    text = "\n\n".join(
        [
            f"Data. {data_text(study, cite)}",
            f"Validation. {division_text(study, cite)}",
            f"{networks_text(study, cite)} {training_text(study, cite)}",
            f"Ensembles and calibration. {ensemble_text(study, cite)}",
            f"Statistical analysis. {statistics_text(study, cite)}",
            f"Software. {software_text(study)}",
        ]
    )
    return Section(
        name="methods",
        title="Methods to paste into a paper",
        blocks=(
            Paragraph(
                text="Written from the settings and files of this run. What it cannot know stands in square brackets "
                "with words; numbers in square brackets are the references below.",
            ),
            Excerpt(name="methods-text", label="Methods", text=text),
            Excerpt(
                name="methods-references",
                label="References",
                text="\n\n".join(f"{number}. {source.text}" for number, source in enumerate(cite.cited, start=1)),
            ),
            Group(
                title="The references as BibTeX",
                blocks=(
                    Excerpt(
                        name="methods-bibtex",
                        label="References as BibTeX",
                        text="\n\n".join(source.bibtex for source in cite.cited),
                        code=True,
                    ),
                ),
            ),
        ),
    )
