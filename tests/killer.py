"""A plugin for test_resume: kills its own process in the middle of a step, or of a save, where KILL says so."""

import os
import signal

import i2i.checkpoint
from i2i import hookimpl
from i2i.trainer import Trainer


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


class Killer:
    """Kills the process at KILL=step:N or KILL=save:N."""

    def started(self, run):
        what, _, step = os.environ.get("KILL", "never:0").partition(":")
        if what == "step":
            update = Trainer._update

            def dying_update(trainer, players):
                update(trainer, players)
                if trainer.step == int(step) and "discriminators" not in players:
                    _die()

            Trainer._update = dying_update
        elif what == "save":
            write_json = i2i.checkpoint.write_json

            def dying_write(path, value):
                if value.get("step") == int(step):
                    path.write_text('{"format": 1, "st')
                    _die()
                write_json(path, value)

            i2i.checkpoint.write_json = dying_write

    def logged(self, run, step, metrics, images):
        pass

    def finished(self, run):
        pass


@hookimpl
def register_watchers():
    return {"killer": Killer}
