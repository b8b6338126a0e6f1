"""The command `minitx`: what can be typed, what it calls, and how a mistake is told.

Each command is a function, in the file that its line below names; its docstring is its help. What computes is imported inside the command that needs it,
so help is quick. Exit codes: 0 done, 2 the user's mistake, 1 ours or the machine's, 130 interrupted.
"""
import os
import sys
import warnings

from cyclopts import App, CycloptsError
from cyclopts.help import DefaultFormatter, PanelSpec
from rich.box import Box

from ..errors import UserError
from .decoding import generate, translate
from .looking import attention, grammar, neighbours
from .measuring import bench, evaluate, info, version
from .training import train

app = App(
    name="minitx",
    version=version,
    help="A small Transformer to read, to extend and to measure. Begin with: minitx train",
    help_format="plaintext",
    help_formatter=DefaultFormatter(panel_spec=PanelSpec(box=Box(" ── \n" + "    \n" * 7), border_style="dim")),
    suppress_keyboard_interrupt=False,
)
_TYPED = {translate: "RUN [TEXT...]", neighbours: "RUN [TEXT...]", bench: "[WHAT]"}  # where the usage line would say ARGS
for place, command in enumerate((train, translate, generate, evaluate, attention, neighbours, grammar, bench, info)):
    usage = {"usage": f"Usage: minitx {command.__name__} [OPTIONS] {_TYPED[command]}\n"} if command in _TYPED else {}
    app.command(command, sort_key=place, **usage)


def main(arguments=None) -> int:
    """Run the command line on `arguments` (those of the process when None) and return its exit code."""
    _prepare_streams()
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0
        sys.stdout.flush()
        return code
    except (UserError, CycloptsError) as error:
        return _fail(2, _mistake(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _discard_stdout()  # whoever read our output has gone
        return 1
    except Exception as error:
        if os.environ.get("MINITX_DEBUG") == "1":
            raise
        return _fail(1, _fault(error))


def _prepare_streams():
    """UTF-8 everywhere, whatever the locale; warnings as one line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)


def _fail(code, message):
    try:
        sys.stdout.flush()
    except OSError:
        _discard_stdout()
    print("\n".join(f"error: {message}".splitlines()[:3]), file=sys.stderr)
    return code


def _discard_stdout():
    """Python would complain once more when it flushes into a closed pipe or a full disk at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _mistake(error):
    message = str(error)
    if isinstance(error, CycloptsError):
        chain = " ".join(("minitx", *(error.command_chain or ())))
        message = f"{message[:1].lower()}{message[1:]}\nsee {chain} --help"
    return message


def _fault(error):
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"out of memory{f': {error}' if str(error) else ''}; try smaller batches (--batch-tokens, --batch-sequences) or a smaller --d-model"
    if isinstance(error, FloatingPointError):
        return str(error)
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first} (a fault of minitx; MINITX_DEBUG=1 shows where)"
