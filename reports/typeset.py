"""Set one document with typst, in a process of its own.

typst keeps all that it has laid out for as long as a process lives, more than a GiB for a large report. Run as a
script, this file takes a job as JSON on stdin and writes the PDF to stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from subprocess import PIPE, run
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TypesetJob:
    """What typst is asked for."""

    template: str
    """Source of the document."""
    root: str
    """The only folder that typst may read."""
    fonts: str
    """Folder of fonts beside typst's own."""
    machine_fonts: bool
    """Whether the fonts of the machine may be used."""
    data: str
    """JSON that the template reads as ``sys.inputs.data``."""
    standards: Sequence[Literal["ua-1"]]
    """PDF standards that the file shall keep."""
    date: str
    """ISO 8601; the only date in the file."""


def typeset(job: TypesetJob) -> bytes:
    """Return the PDF; what typst complains of goes to stderr, and `subprocess.CalledProcessError` is raised."""
    # -P: the folder of this file holds modules that are named like those of the standard library.
    command = [sys.executable, "-P", str(Path(__file__))]
    return run(command, input=json.dumps(asdict(job)).encode(), stdout=PIPE, check=True).stdout  # noqa: S603


def main() -> None:
    """Carry out the job on stdin."""
    import typst

    job = TypesetJob(**json.load(sys.stdin))
    compiler = typst.Compiler(
        job.template.encode(),
        root=job.root,
        font_paths=typst.Fonts(include_system_fonts=job.machine_fonts, font_paths=[job.fonts]),
        sys_inputs={"data": job.data},
    )
    content = compiler.compile(
        format="pdf", pdf_standards=list(job.standards), timestamp=datetime.fromisoformat(job.date)
    )
    assert isinstance(content, bytes)
    sys.stdout.buffer.write(content)


if __name__ == "__main__":
    main()
