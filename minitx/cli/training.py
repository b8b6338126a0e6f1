"""The command `minitx train`, whose flags are the fields of `Settings`."""
import dataclasses
import types
import typing
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from ..errors import UserError
from ..presets import PRESETS, choose, choose_resumed
from ..settings import Settings
from .typed import Switch, require, whole


def _setting_flags():
    """A TypedDict with a flag for every setting: the command receives those that were typed, and no other."""
    flags, groups = {}, {}
    for field in dataclasses.fields(Settings):
        name = field.metadata["group"]
        group = groups.setdefault(name, Group(name, sort_key=len(groups) + 1))
        kind = typing.get_args(field.type)[0] if isinstance(field.type, types.UnionType) else field.type
        default = str(field.default).lower() if kind is bool else field.default
        text = field.metadata["help"] + ("" if default is None else f" [default: {default}]")
        converter = whole if kind is int else None
        flags[field.name] = Annotated[kind, Parameter(help=text, group=group, converter=converter)]
    return typing.TypedDict("SettingFlags", flags, total=False)


SettingFlags = _setting_flags()
Preset = Annotated[str | None, Parameter(
    help=f"settings that go together: {', '.join(PRESETS)} [default: small or laptop for your own pairs, by how many there are; language-model for --text; else toy]")]


def train(
    *,
    preset: Preset = None,
    out: Path | None = None,
    overwrite: Switch = False,
    resume: Path | None = None,
    profile: Switch = False,
    settings: Annotated[SettingFlags | None, Parameter(name="*")] = None,
):
    """Train a translator or a language model and save it as a run.

    A translator learns from toy languages that minitx makes itself, or from your own pairs of sentences; a language model
    from any text.
    Every setting has a default; a preset changes several of them, a flag one.

    Parameters
    ----------
    out
        folder of the run [default: runs/en-es and the like, numbered when taken]
    overwrite
        replace the run that --out already holds
    resume
        go on with the run in this folder, with the settings it has
    profile
        show where the time of an update goes, measured on some, and end; nothing is saved
    """
    named = settings or {}
    if resume is None:
        asked = preset
        chosen, preset = choose(named, preset)
        preset = preset if asked or not chosen.own_text else f"{preset}, chosen by the size of the data"
    elif preset or out or overwrite:
        raise UserError("resume goes on in the run's own folder, as it was set; drop --preset, --out and --overwrite")
    else:
        chosen = choose_resumed(resume, named)
    require(chosen.device)
    from ..console import Console

    if profile:
        if chosen.device == "cuda":
            raise UserError("profile times what the CPU does; on a GPU take minitx bench training --device cuda")
        if out or overwrite:
            raise UserError("profile saves nothing; drop --out and --overwrite")
        from ..bench import report, step_profile

        with Console(preset=preset) as console:
            report.show(step_profile.run(chosen, console))
        return 0
    from ..training.run import Interrupted
    from ..training.run import train as train_run

    with Console(preset=preset) as console:
        try:
            train_run(chosen, out=out, overwrite=overwrite, resume=resume, console=console)
        except Interrupted as stop:
            console.interrupted(stop.run)
            return 130
    return 0
