"""Kill a short training run at random instants, resume it, and see that it ends with the bits of a run that nobody touched.

    python scripts/kill_and_resume.py --kills 200

Everything that a resumed run could get wrong is on: dropout, BPE dropout, accumulation, the mean of the last epochs, the best by BLEU, an early stop;
and it saves all the time, so that it goes on from any step. Some of the kills come while it starts, the others while it trains, every second of those
when it is writing a file. A run is killed again and again until it comes to its end, then the next one starts.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = "ant bee cat dog eel fox gnu hen".split()
SETTINGS = ("--tokenizer bpe --vocab-size 40 --joint-vocabulary --bpe-dropout 0.1 --d-model 32 --n-heads 2 --n-layers 1 --d-ff 64 --max-length 40 "
            "--steps 400 --batch-tokens 200 --accumulate 2 --learning-rate 0.01 --schedule inverse-sqrt --warmup 20 --dropout 0.1 --label-smoothing 0.1 "
            "--validate-every 7 --best-by bleu --patience 8 --average 3").split()
SAVING = "import sys; from minitx import cli; from minitx.training import trainer; trainer.SAVE_EVERY = 0.02; sys.exit(cli.main())"
"""The command minitx, but it saves every 20 ms."""


def main(arguments=None):
    """Print what was killed and how it ended; exit with 1 if any run ended differently."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        straight, killed = folder / "straight", folder / "killed"
        write_text(folder)
        times = Times()
        train(folder, folder / "warm", times.await_save)  # compiles the kernels
        train(folder, straight, times.watch)
        expected = contents(straight)
        last = json.loads((straight / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])["step"]
        print(f"a run starts in {times.start:.1f} s and trains for {times.training:.1f}, stops early at step {last} of 400 and ends with weights "
              f"{expected['model.safetensors'][:12]}", flush=True)
        found, runs, wrong = [], 0, 0  # what each kill left, see `left_by_kill`
        while len(found) < options.kills:
            shutil.rmtree(killed, ignore_errors=True)
            left = 1.0
            while len(found) < options.kills and train(folder, killed, lambda process, out: times.random_instant(process, out, chance, left)):
                found.append(left_by_kill(killed))
                left = 1 - (found[-1][0] or 0) / last
            train(folder, killed)
            differing = sorted({name for name, _ in contents(killed).items() ^ expected.items()})
            runs, wrong = runs + 1, wrong + bool(differing)
            print(f"{len(found)} kills, {runs - wrong} of {runs} runs ended with the same bits{f', but not in {differing}' if differing else ''}", flush=True)
    steps = sorted(step for step, _ in found if step is not None)
    print(f"{len(found) - len(steps)} kills left nothing to go on from; the others left {len(set(steps))} different steps"
          f"{f' from {steps[0]} to {steps[-1]}' if steps else ''}; {sum(writing for _, writing in found)} left a file half written")
    return 1 if wrong else 0


class Times:
    """How long a run takes until its first save, and from there to its last, in seconds."""

    def watch(self, process, out):
        """Measure an untouched run."""
        begun = time.monotonic()
        self.await_save(process, out)
        self.start, first = time.monotonic() - begun, saved_at(out)
        process.wait()
        self.training = (saved_at(out) - first) / 1e9

    def random_instant(self, process, out, chance, left):
        """Return when a run of which this share is left is to be killed, or has ended."""
        if chance.random() < 0.2:
            self._sleep(process, chance.uniform(0, self.start))
            return
        self.await_save(process, out)
        self._sleep(process, chance.uniform(0, left * self.training))
        if chance.random() < 0.5:
            while process.poll() is None and not any(out.rglob("*.tmp")):
                time.sleep(0.0005)

    def await_save(self, process, out):
        """Return when the state is saved again, or the run has ended."""
        before = saved_at(out)
        while process.poll() is None and saved_at(out) == before:
            time.sleep(0.005)

    def _sleep(self, process, seconds):
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass


def saved_at(out):
    """When the state was saved last, in nanoseconds, or None."""
    try:
        return (out / "last" / "state.safetensors").stat().st_mtime_ns
    except OSError:
        return None


def train(folder, out, until=lambda process, out: process.wait()):
    """Start the run in `out`, or go on with it, and kill it when `until(process, out)` returns. Whether it was killed; else it came to its end."""
    if (out / "config.json").exists():
        command = ["train", "--resume", str(out)]
    else:
        command = ["train", "--src", str(folder / "src.txt"), "--tgt", str(folder / "tgt.txt"), "--out", str(out), *SETTINGS]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with open(folder / "errors", "w+", encoding="utf-8") as errors:
        process = subprocess.Popen([sys.executable, "-c", SAVING, *command], stdout=subprocess.DEVNULL, stderr=errors, env=os.environ | {"PYTHONPATH": path})
        until(process, out)
        killed = process.poll() is None
        process.kill()
        code = process.wait()
        if code and not killed:
            errors.seek(0)
            raise SystemExit(f"minitx {' '.join(command)} failed with {code}:\n{errors.read()}")
    return killed and code != 0


def contents(out):
    """{file: hash} of everything a run leaves but pictures; of metrics.jsonl without the speeds."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file() and ".png" not in path.suffixes}
    lines = [json.loads(line) for line in found["metrics.jsonl"].splitlines()]
    found["metrics.jsonl"] = json.dumps([{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]).encode()
    return {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


def left_by_kill(out):
    """(the step that a killed run will go on from or None, whether it was writing a file)."""
    from minitx.run_folder import RunFolder, read_safetensors

    state = RunFolder(out).last
    step = json.loads(read_safetensors(state)[1]["trainer"])["step"] if state.exists() else None
    return step, any(out.rglob("*.tmp"))


def write_text(folder, n=150):
    """Sentences and their translations: the words in capitals, in reverse order."""
    drawn = random.Random(0)
    sources = [[drawn.choice(WORDS) for _ in range(drawn.randint(2, 6))] for _ in range(n)]
    for name, sentences in (("src", sources), ("tgt", [[word.upper() for word in reversed(words)] for words in sources])):
        (folder / f"{name}.txt").write_text("".join(" ".join(words) + "\n" for words in sentences), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
