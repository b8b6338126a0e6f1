"""The mean of the weights at the ends of the last epochs: a model between them, usually better than each (Vaswani et al. 2017, section 6.1)."""
from ..run_folder import read_safetensors, save_safetensors


class EpochAverage:
    """Keeps the weights at the ends of the last `epochs` epochs as files of `folder`, so that memory holds one model however many there are.

    Epochs are numbered from 1; an update that spans several leaves the end of the last of them. A run that was killed and resumed passes through the
    same ends again and writes the same files.
    """

    def __init__(self, folder, epochs):
        self.folder, self.epochs = folder, epochs

    def add(self, epoch, weights):
        """Keep {name: array} of the end of this epoch; the oldest goes."""
        if self.epochs:
            self.folder.mkdir(exist_ok=True)
            save_safetensors(self._path(epoch), weights)
            for end in self._ends():
                if end <= epoch - self.epochs:
                    self._path(end).unlink()

    def mean(self, epoch):
        """({name: array}, n): the mean over the last n epochs up to this one; n is smaller than `epochs` when there were not so many."""
        ends = [end for end in self._ends() if epoch - self.epochs < end <= epoch]
        total, dtypes = {}, {}
        for end in ends:
            for name, array in read_safetensors(self._path(end))[0].items():
                total[name] = total.get(name, 0.0) + array.astype("float64")
                dtypes[name] = array.dtype
        return {name: (array / len(ends)).astype(dtypes[name]) for name, array in total.items()}, len(ends)

    def clear(self):
        """Remove the files: the run is finished."""
        for end in self._ends():
            self._path(end).unlink()

    def _ends(self):
        """The epochs whose ends there are, in order: in another, the sums would round differently."""
        return sorted(int(path.stem.removeprefix("epoch-")) for path in self.folder.glob("epoch-*.safetensors"))

    def _path(self, epoch):
        return self.folder / f"epoch-{epoch}.safetensors"
