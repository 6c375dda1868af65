"""The reporting checklists of journals, filled in as far as the run knows."""

from __future__ import annotations

from collections.abc import Sequence

from reports.checklist import Reported, checklist_table
from reports.checklists import Checklist, checklist_items
from reports.citations import all_references
from reports.document import Gallery, Group, Paragraph, Section
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
    # Without pictures, the section of the gallery only says why there are none.
    shown = [section for section in sections if section.blocks and (section.name != "gallery" or _galleries(section))]
    reported = Reported(
        study=study,
        sections={section.name: section.title for section in shown},
        maps=any(map(_has_maps, shown)),
    )
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


def _galleries(section: Section) -> tuple[Gallery, ...]:
    return tuple(block for block in section.blocks if isinstance(block, Gallery))


def _has_maps(section: Section) -> bool:
    """Tell whether a picture has a map beside it."""
    return any(len(exhibit.photos) > 1 for gallery in _galleries(section) for exhibit in gallery.exhibits)
