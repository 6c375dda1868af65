"""Set documents with typst, in a process of its own.

typst keeps all that it has laid out for as long as a process lives, more than a GiB for a large report. Run as a
script, this file takes a job as JSON on stdin and writes the PDFs to stdout, behind a line with their lengths.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import accumulate, pairwise
from pathlib import Path
from subprocess import PIPE, run
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One PDF that typst is asked for."""

    template: str
    """Source of the document."""
    data: str
    """JSON that the template reads as ``sys.inputs.data``."""
    machine_fonts: bool
    """Whether the fonts of the machine may be used."""
    standards: Sequence[Literal["ua-1"]]
    """PDF standards that the file shall keep."""


@dataclass(frozen=True, kw_only=True)
class TypesetJob:
    """What typst is asked for."""

    sheets: Sequence[Sheet]
    """A PDF each."""
    root: str
    """The only folder that typst may read."""
    fonts: str
    """Folder of fonts beside typst's own."""
    date: str
    """ISO 8601; the only date in the files."""


def typeset(job: TypesetJob) -> tuple[bytes, ...]:
    """Return a PDF for each sheet.

    What typst complains of goes to stderr, and `subprocess.CalledProcessError` is raised.
    """
    # -P: the folder of this file holds modules that are named like those of the standard library.
    command = [sys.executable, "-P", str(Path(__file__))]
    answer = run(command, input=json.dumps(asdict(job)).encode(), stdout=PIPE, check=True).stdout  # noqa: S603
    head, _, content = answer.partition(b"\n")
    ends = accumulate(json.loads(head), initial=0)
    return tuple(content[start:end] for start, end in pairwise(ends))


def main() -> None:
    """Carry out the job on stdin."""
    import typst

    content = json.load(sys.stdin)
    sheets = [Sheet(**sheet) for sheet in content.pop("sheets")]
    job = TypesetJob(sheets=sheets, **content)
    fonts: dict[bool, Any] = {}

    def compiled(sheet: Sheet) -> bytes:
        if (machine := sheet.machine_fonts) not in fonts:
            fonts[machine] = typst.Fonts(include_system_fonts=machine, font_paths=[job.fonts])
        compiler = typst.Compiler(
            sheet.template.encode(), root=job.root, font_paths=fonts[machine], sys_inputs={"data": sheet.data}
        )
        content = compiler.compile(
            format="pdf", pdf_standards=list(sheet.standards), timestamp=datetime.fromisoformat(job.date)
        )
        assert isinstance(content, bytes)
        return content

    files = [compiled(sheet) for sheet in job.sheets]
    sys.stdout.buffer.write(json.dumps([len(file) for file in files]).encode() + b"\n" + b"".join(files))


if __name__ == "__main__":
    main()
