"""MLflow: parameters and metrics of a run in a tracking server or a local database.

A run that is continued stays the same MLflow run: its id is kept in <workdir>/mlflow.json. MLflow
cannot take points back, so steps that a restart repeats are not logged a second time. The extra
[mlflow] brings the light client; the pages are shown by the full package or a server:
`mlflow ui --backend-store-uri sqlite:///WORKDIR/mlflow.db`. https://mlflow.org/docs/latest/ml/tracking
MLflow reports its own use to its makers unless MLFLOW_DISABLE_TELEMETRY=true is set.
"""

import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ssljax.core.errors import ConfigError, needed
from ssljax.core.files import write_json
from ssljax.core.types import Writer
from ssljax.track.background import Row, in_background

KEPT = "mlflow.json"
LAST_STEP = "ssljax.step"      # tag: the newest logged step
BATCH = 900                    # metrics a request; MLflow takes 1000 of everything together
PARAMS, PARAM_LENGTH = 100, 6000          # most params a request, longest value of one


def allowed(name: str) -> str:
    """Return a name with the characters MLflow refuses replaced."""
    return re.sub(r"[^\w./ -]", "_", name)


def make(*, tracking_uri: str = "", experiment: str = "ssljax", run_name: str = "",
         workdir: pathlib.Path, settings: Mapping[str, Any], total_steps: int) -> Writer:
    """Return a writer to MLflow that never holds up or ends the training.

    Args:
        tracking_uri: a server (http://...), a database (sqlite:///FILE) or a folder (file://...);
            empty for <workdir>/mlflow.db.
        experiment: made when it is absent.
        run_name: empty for the workdir's name.
        workdir: where the id is kept.
        settings: the flat config, logged as params when the run is new.
        total_steps: the run counts as finished when this step was logged, else as killed.

    Raises:
        MissingExtraError: mlflow is not installed.
        ConfigError: the store of a new run cannot be reached; that of a continued one may be away.
    """
    uri = tracking_uri or f"sqlite:///{workdir.absolute() / 'mlflow.db'}"
    client = connect(uri)
    run_id = kept_run(workdir / KEPT, uri)
    done = [None if run_id else -1]           # newest step there; None until asked
    if not run_id:
        run_id = new_run(client, uri, experiment, run_name or workdir.absolute().name, settings)
        write_json(workdir / KEPT, {"tracking_uri": uri, "run_id": run_id})

    def send(rows: Sequence[Row]) -> None:
        if done[0] is None:
            done[0] = reopen(client, run_id)
        for metrics, step in batches([r for r in rows if r.step >= done[0]]):
            client.log_batch(run_id, metrics=metrics, tags=[tag(step)])

    last = [0]
    writer = in_background(send, what=f"MLflow at {uri}", finish=lambda: client.set_terminated(
        run_id, "FINISHED" if last[0] >= total_steps else "KILLED"))

    def write(step: int, scalars: Mapping[str, float]) -> None:
        last[0] = step
        writer.write(step, scalars)

    return Writer(write, writer.close)


def connect(uri: str) -> Any:
    """Return a client; contacts nobody yet.

    Raises:
        MissingExtraError: mlflow is not installed.
        ConfigError: mlflow does not know such an address.
    """
    with needed("mlflow", "mlflow"):
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    try:
        return MlflowClient(tracking_uri=uri)
    except MlflowException as err:
        raise refused(uri, err) from err


def refused(uri: str, err: Exception) -> ConfigError:
    """Return the error of a store that a run cannot begin with."""
    return ConfigError(f"MLflow at {uri}: {str(err).partition('. ')[0]}. Give track's tracking_uri "
                       "a server that runs (http://...) or a database (sqlite:///FILE).")


def kept_run(path: pathlib.Path, uri: str) -> str | None:
    """Return the id of the run that a workdir began at this store."""
    kept = json.loads(path.read_text()) if path.is_file() else {}
    return kept.get("run_id") if kept.get("tracking_uri") == uri else None


def new_run(client: Any, uri: str, experiment: str, name: str, settings: Mapping[str, Any]) -> str:
    """Begin a run with its params; return its id.

    Raises:
        ConfigError: the store cannot be reached or refuses.
    """
    from mlflow.entities import Param
    from mlflow.exceptions import MlflowException

    params = [Param(allowed(k), str(v)[:PARAM_LENGTH]) for k, v in settings.items()]
    try:
        found = client.get_experiment_by_name(experiment)
        home = found.experiment_id if found else client.create_experiment(experiment)
        run_id = client.create_run(home, run_name=name).info.run_id
        for i in range(0, len(params), PARAMS):
            client.log_batch(run_id, params=params[i:i + PARAMS])
    except MlflowException as err:
        raise refused(uri, err) from err
    return run_id


def reopen(client: Any, run_id: str) -> int:
    """Mark a run as running again; return the newest step that it has."""
    client.update_run(run_id, status="RUNNING")
    return int(client.get_run(run_id).data.tags.get(LAST_STEP, -1))


def tag(step: int) -> Any:
    """Return the tag of the newest step."""
    from mlflow.entities import RunTag

    return RunTag(LAST_STEP, str(step))


def batches(rows: Sequence[Row]) -> Iterator[tuple[list[Any], int]]:
    """Yield (metrics, step of the last of them), a request's worth at a time."""
    from mlflow.entities import Metric

    metrics = [Metric(allowed(name), float(x), int(row.time * 1000), row.step)
               for row in rows for name, x in row.scalars.items()]
    for i in range(0, len(metrics), BATCH):
        part = metrics[i:i + BATCH]
        yield part, part[-1].step
