"""The LightningCLI of textok: fit, validate, test and predict from YAML.

It adds three things to Lightning's: sizes flow from the data to the model, a run has a folder, and checkpoints and
averages always exist as the named groups ``checkpoint`` and ``ema``.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

# Imported so that short class names in YAML resolve.
import textok.datamodules
import textok.diffusion
import textok.losses
import textok.models
import textok.modules  # noqa: F401
from textok.callbacks import (
    EMA,
    BackgroundCheckpointIO,
    CurveLogger,
    FinalCheckpoint,
    MissedValidation,
    ShardWriter,
    StallWatch,
    StopOnSignal,
    TensorBoardCurves,
)
from textok.datamodules import ImageDataModule
from textok.models import TextEncoder
from textok.modules import TrainingModule
from textok.modules.weights import checkpoint_step
from textok.runs.folder import RunFolder
from textok.types import EXIT_LOST, RunEnded

# What Lightning tells every user of manual optimisation, of frozen networks and of a CLI with ``args``: all meant here.
for _message in (
    "LightningCLI's args parameter is intended",
    "Using ModelCheckpoint with manual optimization",
    r"Found \d+ module\(s\) in eval mode",
    r".*isinstance\(treespec, LeafSpec\)",
    ".*does not have many workers",
):
    warnings.filterwarnings("ignore", message=_message)
logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)

#: What may differ between two starts of the same run.
PLACES = ("config", "run", "max_restarts", "ckpt_path", "weights_only", "verbose", "return_predictions")


class TextokCLI(LightningCLI):
    """Parses, opens the run folder and runs the sub-command.

    Args:
        args: Command line after ``textok``, or a configuration as a dict.
        run: Whether to run a sub-command; False only parses: ``build_model`` and ``build_data`` then build one part.
    """

    def __init__(self, args: list[str] | dict[str, Any], run: bool = True) -> None:
        self.resumes_from: Path | None = None
        self._stall_watch = StallWatch()
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            save_config_callback=None,  # RunFolder writes the resolved configuration, before anything else
            auto_configure_optimizers=False,
            args=args,
            run=run,
            parser_kwargs={"prog": "textok", "default_env": False},
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        kept = ("fit", "validate", "test", "predict")
        return {name: skip for name, skip in LightningCLI.subcommands().items() if name in kept}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        # An error is raised for ``main`` to tell in a line, where argparse would print every option there is.
        return super().init_parser(exit_on_error=False, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run", type=str, default=None, help="Folder of the run: configuration, checkpoints, …")
        parser.add_argument(
            "--max_restarts", type=int, default=0, help="Starts of fit after its watchdog ended it; command line only"
        )
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EMA, "ema")
        # No number is written twice: the data dictates these to the model.
        for name in ("image_size", "num_classes"):
            parser.link_arguments(f"data.init_args.{name}", f"model.init_args.{name}")
        for target in ("model", "data"):
            parser.link_arguments("seed_everything", f"{target}.init_args.seed", compute_fn=int)

    def _set_seed(self) -> None:
        if self.subcommand is not None:  # loading a run leaves the caller's random numbers alone
            super()._set_seed()

    def instantiate_classes(self) -> None:
        if self.subcommand is not None:
            super().instantiate_classes()

    def build_model(self) -> TrainingModule:
        """The model alone; what the data dictates to it was linked when the configuration was parsed."""
        return self.parser.instantiate_classes(Namespace(model=self.config.model)).model

    def build_data(self) -> ImageDataModule:
        """The datamodule alone."""
        return self.parser.instantiate_classes(Namespace(data=self.config.data)).data

    def build_text_encoder(self) -> TextEncoder | None:
        """The model's text encoder alone, its weights not loaded; None where it has none."""
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--text_encoder", type=TextEncoder | None)
        config = Namespace(text_encoder=self.config.model.init_args.text_encoder)
        return parser.instantiate_classes(config).text_encoder

    def before_instantiate_classes(self) -> None:
        if self.subcommand is None:
            return
        config = self.config[self.subcommand]
        if config.run is None:
            raise ValueError("--run FOLDER is missing: say where the run's checkpoints, curves and pictures shall go")
        if config.max_restarts:  # the command that starts the processes of a fit took it from its own line
            raise ValueError("max_restarts belongs to the command line of fit, not into a file or another command")
        folder = RunFolder(config.run)
        if self.subcommand == "fit":
            self._config = self.resolved()
            self.resumes_from = folder.check(self._config)
            config.ckpt_path = str(self.resumes_from) if self.resumes_from else config.ckpt_path
        elif config.ckpt_path is None:
            config.ckpt_path = str(folder.newest_checkpoint())
        if self.subcommand in ("validate", "test"):
            config.verbose = False  # its table knows only what goes to the loggers
        if self.subcommand == "predict":
            config.return_predictions = False  # they go to shards; Lightning would keep them all in memory
        config.trainer.default_root_dir = str(folder.path)
        config.checkpoint.dirpath = str(folder.checkpoint_folder)

    def resolved(self) -> dict[str, Any]:
        """The configuration with all defaults filled in, without what may differ between two starts of one run."""
        parser, config = self.parser, self.config
        if self.subcommand is not None:
            parser, config = self._parser(self.subcommand), config[self.subcommand]
        resolved = yaml.safe_load(parser.dump(config, skip_none=False, skip_validation=True))
        return {key: value for key, value in resolved.items() if key not in PLACES}

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except RuntimeError as error:
            # Said here, when the trainer has ended its processes and put back the handlers of signals.
            if self._stall_watch.cause is None:
                raise
            raise RunEnded(self._stall_watch.cause, EXIT_LOST) from error

    def before_fit(self) -> None:
        # Only now: a configuration whose parts could not even be built shall not hold the folder.
        RunFolder(self.trainer.default_root_dir).claim(self._config)

    def after_validate(self) -> None:
        self._print_metrics()

    def after_test(self) -> None:
        self._print_metrics()

    def _print_metrics(self) -> None:
        for name, value in sorted(self.trainer.callback_metrics.items()):
            print(f"{name:<28} {float(value):.6g}")
        print(f"written to {Path(self.trainer.default_root_dir) / 'metrics.json'}")

    def instantiate_trainer(self, **kwargs: Any):
        if self.subcommand is not None:
            trainer = self.config_init[self.subcommand].trainer
            kwargs["logger"] = self._loggers(trainer) if self.subcommand == "fit" else False
            callbacks = list(trainer.callbacks or [])
            if self.subcommand == "predict" and not any(isinstance(each, ShardWriter) for each in callbacks):
                kwargs["callbacks"] = [*callbacks, ShardWriter()]
            plugins = list(trainer.plugins or [])
            if not any(isinstance(each, CheckpointIO) for each in plugins):
                plugins.append(BackgroundCheckpointIO())
            kwargs["plugins"] = plugins
            if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
                # Lightning's own requeueing would save inside of a step; StopOnSignal waits for its end.
                kwargs["plugins"].append(SLURMEnvironment(auto_requeue=False))
        trainer = super().instantiate_trainer(**kwargs)
        if self.subcommand == "fit":
            # It saves: behind what moves with a step, such as the averages, and before what saves on schedule.
            position = trainer.callbacks.index(trainer.checkpoint_callback)
            trainer.callbacks[position:position] = [MissedValidation(), StopOnSignal(), self._stall_watch]
            trainer.callbacks.append(FinalCheckpoint())
        return trainer

    def _loggers(self, trainer: Any) -> list[Logger]:
        """Curves as CSV and for TensorBoard in the run folder, and whatever the configuration names beside them."""
        folder = Path(trainer.default_root_dir)
        step = checkpoint_step(self.resumes_from) if self.resumes_from else None
        named = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
        return [
            CurveLogger(folder / "curves.csv", from_step=step),
            # A fresh start purges as well: one before it may have been killed before its first checkpoint.
            TensorBoardCurves(folder, name="", version="tensorboard", purge_step=0 if step is None else step + 1),
            *(logger for logger in named if isinstance(logger, Logger)),
        ]
