#!/usr/bin/env python3
"""Errors of common learners on the rows and splits by which benchdb's forecasts are tested.

    cargo bench --bench prediction -- --export FOLDER
    pip install scikit-learn xgboost pandas
    python tools/prediction_baselines.py FOLDER [--protocol pair family ...]

Reads `rows.csv` and `splits.csv` of FOLDER and prints, for each protocol and learner, the median absolute percentage error of
samples per second over all hidden rows. Each learner predicts the logarithm of the seconds that one sample takes from the raw
columns alone: logarithms of multiply-adds, activations, parameters, input elements and batch size, the number of the engine's
version, and one-hot columns of the device, its kind, the precision and the parameters; neither the model's name nor data
sheets. Boosting has 500 trees of a learning rate of 0.05, the penalty of the ridge is chosen by its own leave-one-out error;
nothing is tuned beyond that.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBRegressor

SIZES = ["multiply_adds", "activation_count", "parameter_count", "input_elements", "batch_size"]
LABELS = ["device", "kind", "precision", "parameters"]


def learners(threads: int) -> dict:
    """A function that makes each learner, by its name."""
    return {
        "XGBoost": lambda: XGBRegressor(
            n_estimators=500, learning_rate=0.05, max_depth=6, subsample=0.8, n_jobs=threads, random_state=1
        ),
        "HistGradientBoosting": lambda: HistGradientBoostingRegressor(
            max_iter=500, learning_rate=0.05, min_samples_leaf=5, random_state=1
        ),
        "ridge": lambda: make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 3, 11))),
    }


def features_of(rows: pd.DataFrame) -> np.ndarray:
    """[rows, features]; what is not known is the median of its column."""
    sizes = np.log(rows[SIZES].astype(float))
    sizes["per_activation"] = sizes["multiply_adds"] - sizes["activation_count"]
    sizes["engine_version"] = rows["engine_version"].astype(str).map(version_number)
    sizes = sizes.fillna(sizes.median()).fillna(0.0)
    labels = pd.get_dummies(rows[LABELS].fillna("").astype(str))
    return np.hstack([sizes.to_numpy(float), labels.to_numpy(float)])


def version_number(version: str) -> float:
    """`2.4.0` as 2.04."""
    parts = [part for part in version.split(".") if part.isdigit()]
    if not parts:
        return float("nan")
    return float(parts[0]) + (float(parts[1]) / 100 if len(parts) > 1 else 0.0)


def main() -> None:
    """Reads, fits, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--protocol", nargs="*", help="only these")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    rows = pd.read_csv(arguments.folder / "rows.csv")
    splits = pd.read_csv(arguments.folder / "splits.csv", dtype={"hidden": str})
    features = features_of(rows)
    log_seconds = -np.log(rows["samples_per_second"].to_numpy())
    is_gpu = (rows["kind"] == "gpu").to_numpy()
    print("| protocol | learner | hidden rows | median error % | within 20 % |\n| --- | --- | --- | --- | --- |")
    for protocol, group in splits.groupby("protocol", sort=False):
        if arguments.protocol and protocol not in arguments.protocol:
            continue
        for name, make in learners(arguments.threads).items():
            errors = []
            for marks in group["hidden"]:
                hidden = np.frombuffer(marks.encode(), dtype=np.uint8) == ord("1")
                # As in the table of docs/prediction.md, new devices are cards.
                asked = hidden & is_gpu if protocol.startswith("device") else hidden
                if protocol.startswith("device") and (hidden & is_gpu).sum() * 2 < hidden.sum():
                    continue
                fitted = make().fit(features[~hidden], log_seconds[~hidden])
                missed = fitted.predict(features[asked]) - log_seconds[asked]
                # The error of samples per second, of which the time is the reciprocal.
                errors.append(np.abs(np.expm1(-missed)))
            error = np.concatenate(errors)
            print(
                f"| {protocol} | {name} | {error.size} | {100 * np.median(error):.2f} | {100 * (error <= 0.2).mean():.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
