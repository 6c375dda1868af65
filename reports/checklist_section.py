"""The reporting checklists of journals, filled in as far as the run knows."""

from __future__ import annotations

from collections.abc import Sequence

from reports.checklist import Reported, checklist_table
from reports.checklists import Checklist, checklist_items
from reports.citations import all_references
from reports.document import Group, Paragraph, Section
from reports.study import Study


def checklist_section(study: Study, sections: Sequence[Section]) -> Section:
    """Return TRIPOD+AI and CLAIM with what the run knows.

    Parameters
    ----------
    study : Study
        The run.
    sections : sequence of Section
        The other sections of its report, to point to.
    """
    reported = Reported(study=study, sections={section.name: section.title for section in sections if section.blocks})
    tripod, mongan, tejani = (all_references()[key].text for key in ("collins2024", "mongan2020", "tejani2024"))

    def group(title: str, name: str, caption: str, items: Checklist) -> Group:
        return Group(title=title, blocks=(checklist_table(name, caption, checklist_items(items), reported),))

    return Section(
        name="checklists",
        title="Reporting checklists",
        blocks=(
            Paragraph(
                text="What this run can say to the items of two reporting guidelines; the rest is the authors’. The "
                "items are named in our words: read them in the statements themselves.",
            ),
            group("TRIPOD+AI", "tripod-ai", f"TRIPOD+AI: {tripod}", "tripod_ai"),
            group("CLAIM", "claim", f"CLAIM, numbered as in the update of 2024: {mongan}; {tejani}", "claim"),
        ),
    )
