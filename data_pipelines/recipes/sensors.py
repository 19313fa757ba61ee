"""Tables of sensors to feature tables: joined as of a time, summarised, split in time, scaled.

    ssljax curate --config data_pipelines/recipes/sensors.py --input DIR_OF_CSV --output DIR
    source = dict(name="parquet", path="DIR/train")         in the config of a run: "features" [F]

Columns are examples: copy this file, or give `--config.options.read_table.columns...`. For a
database put read_sql in the place of read_table, for a stream read_stream.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """Return the recipe; `arg` is its name where it is not "sensors"."""
    return ConfigDict({
        "name": arg or "sensors",
        "input": "",                        # a folder or URL of CSV, Parquet, Arrow, JSON lines
        "output": "runs/data/sensors",
        "licence": "",
        "steps": (
            {"name": "read_table"},
            {"name": "join_asof"},          # what was known of a sensor at the time, never later
            {"name": "window"},             # the past of each row
            {"name": "split_by_time"},      # or `split`, which keeps an entity on one side
            {"name": "scale_to_train"},
        ),
        "options": {
            "read_table": {"columns": {"time": "int64", "sensor": "string",
                                       "temperature": "float64", "current": "float64"},
                           "entity": "sensor"},
            # Parquet of `on`, `by` and the columns; ages in the unit of time.
            "join_asof": {"use": False, "path": "", "on": "time", "by": ("sensor",),
                          "columns": (), "oldest": 86_400},
            "window": {"columns": ("temperature", "current"), "time": "time", "by": "sensor",
                       "length": 60.0, "summaries": ("mean", "std")},
            # A gap as long as the window: no validation row's past has a training row in it.
            "split_by_time": {"time": "time", "validation_from": 0.0, "gap": 60.0},
            "scale_to_train": {"columns": ("temperature", "current", "temperature_mean_60",
                                           "temperature_std_60", "current_mean_60",
                                           "current_std_60"), "kind": "standard", "clip": 8.0},
        },
        "target": {"name": "features",
                   "columns": ("temperature_scaled", "current_scaled", "temperature_mean_60_scaled",
                               "temperature_std_60_scaled", "current_mean_60_scaled",
                               "current_std_60_scaled"),
                   "others": ("sensor", "time")},
    })
