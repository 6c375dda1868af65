"""Pack a run folder into archives of limited size, to be finished on another machine; without its weights.

    python scripts/pack_run.py runs/NAME OUT
    for archive in OUT/run-*.tar.gz; do tar -xzf "$archive" -C ELSEWHERE; done
    hamcv ensemble ELSEWHERE/run && hamcv report ELSEWHERE/run

``metadata.csv`` is packed too, for the ensembles that use age, sex and body site; it holds values of patients.
An archive that is still too large is cut into ``.part-NN`` files: ``cat OUT/run-01.tar.gz.part-* | tar -xz``.
"""

from __future__ import annotations

import argparse
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

LIMIT_MIB = 15.0
NAME = "run"
"""The folder's name in the archives."""
LEFT_OUT = ("checkpoints", "predictor", "tensorboard", ".lock")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the archives and print their names and sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder, finished or not")
    parser.add_argument("out", type=Path, help="where to write; archives of an earlier call are replaced")
    parser.add_argument("--limit-mib", type=float, default=LIMIT_MIB, help="largest file [default: %(default)g]")
    parser.add_argument("--weights", action="store_true", help="pack the weights of the jobs too")
    options = parser.parse_args(arguments)
    for path in pack(options.run, options.out, limit=int(options.limit_mib * 2**20), weights=options.weights):
        print(f"{path} {path.stat().st_size / 2**20:.2f} MiB")


def pack(run: Path, out: Path, *, limit: int, weights: bool) -> list[Path]:
    """Pack a run folder.

    Parameters
    ----------
    run : Path
        The run folder.
    out : Path
        Where to write; made when missing.
    limit : int
        Largest file in bytes.
    weights : bool
        Pack the weights of the jobs too.

    Returns
    -------
    list of Path
        The archives, or their parts.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{NAME}-*.tar.gz*"):
        old.unlink()
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and _wanted(path.relative_to(run), weights)]
    written: list[Path] = []
    for number, group in enumerate(_groups(files, limit), start=1):
        archive = out / f"{NAME}-{number:02d}.tar.gz"
        with tarfile.open(archive, "w:gz") as stream:
            for path in group:
                stream.add(path, Path(NAME, path.relative_to(run)).as_posix())
        written += _cut(archive, limit)
    return written


def _wanted(path: Path, weights: bool) -> bool:
    if any(part in LEFT_OUT for part in path.parts):
        return False
    return weights or path.suffix != ".safetensors"


def _groups(files: Sequence[Path], limit: int) -> Iterator[list[Path]]:
    """Yield files that together are no larger than the limit before compression, one by one where they are larger."""
    group: list[Path] = []
    size = 0
    for path in files:
        if group and size + path.stat().st_size > limit:
            yield group
            group, size = [], 0
        group.append(path)
        size += path.stat().st_size
    if group:
        yield group


def _cut(archive: Path, limit: int) -> list[Path]:
    if archive.stat().st_size <= limit:
        return [archive]
    parts = []
    with archive.open("rb") as stream:
        while piece := stream.read(limit):
            parts.append(archive.with_name(f"{archive.name}.part-{len(parts):02d}"))
            parts[-1].write_bytes(piece)
    archive.unlink()
    return parts


if __name__ == "__main__":
    main()
