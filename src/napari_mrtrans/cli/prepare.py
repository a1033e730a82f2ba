"""``napari-mrtrans prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import MrtransError
from ..wording import plural
from .closing import close, unexpected
from .options import Overwrite


def prepare(
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...", readable=False, help="NIfTI files of one session, or folders (DICOM, BIDS, IXI, …)."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder (BIDS derivatives).")],
    reference: Annotated[
        str | None, typer.Option(help="Contrast whose grid all come onto; default: T1, else the finest voxels.")
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="Of folders: auto, ixi, oasis, mslesion, brats or bids.")
    ] = "auto",
    mask: Annotated[Path | None, typer.Option(help="Brain mask on the reference's grid (one session).")] = None,
    brain: Annotated[str, typer.Option(help="auto, built-in, or hd-bet, synthstrip, deepbet if installed.")] = "auto",
    register: Annotated[bool, typer.Option("--register/--no-register", help="Register the contrasts.")] = True,
    bias: Annotated[bool, typer.Option("--bias/--no-bias", help="Correct the bias field (N4).")] = True,
    strip: Annotated[bool, typer.Option("--strip/--no-strip", help="Keep the brain only.")] = True,
    normalise: Annotated[
        str, typer.Option(help="robust: as the models do, by the median; min-max: the paper's; none: scanner units.")
    ] = "robust",
    overwrite: Overwrite = False,
) -> None:
    """Raw scans in: co-registration, bias field, brain extraction, [0, 1]; one folder for evaluate and training."""
    from ..datasets.raw import sessions_to_prepare
    from ..dicom.read import all_slices
    from ..paths import WriteError, check_folder
    from ..prepare.earlier import better_tool_line, finished_session
    from ..prepare.pipeline import Options, prepare_session
    from ..prepare.slices import session_of_slices
    from ..prepare.tools import check_tool
    from ..scan.contrasts import Contrast

    check_tool(brain)
    chosen = None if reference is None else Contrast.parse(reference)
    options = Options(register, bias, strip, chosen, brain, normalise, overwrite)
    sessions, notices = session_of_slices(scans) if all_slices(scans) else sessions_to_prepare(scans, format_, output)
    if mask is not None and len(sessions) > 1:
        raise MrtransError(f"--mask fits one session, and these are {len(sessions)}; prepare them one by one.")
    check_folder(output)
    failed: list[str] = []
    for session in sessions:
        try:
            before = finished_session(session, output, options, mask, typer.echo)
            if before and brain == "auto" and (line := better_tool_line(session, output)):
                typer.echo(f"{session.stem}: {line}")
            for path in before or prepare_session(session, output, options, mask, typer.echo):
                typer.echo(f"{'is there:' if before else 'wrote'} {path}")
        except (ModuleNotFoundError, BrokenPipeError):  # no session would fare better
            raise
        except Exception as error:  # one bad session, or a fault of ours, must not cost the night's other sessions
            if len(sessions) == 1 or (isinstance(error, WriteError) and error.everywhere):  # a full disk is so for all
                for line in notices:
                    typer.echo(line, err=True)
                raise
            failed.append(session.stem)
            typer.echo(f"{session.stem}: {unexpected(error)}", err=True)
    done = f"{len(sessions) - len(failed)} of {plural(len(sessions), 'session')} prepared, in '{output}'"
    close(done, (), notices, "Look at the pictures (*_qc.png) before you go on." if len(failed) < len(sessions) else "")
    if failed:
        raise MrtransError(f"{len(failed)} of {len(sessions)} sessions were not prepared: {', '.join(failed)}.")
