-- The runs of every series that a selection means, series after series, the oldest run first. `series_of_selection.sql` or
-- `series_of_runs.sql` follows.
SELECT
    configuration.id AS configuration_id, run.id, run.uuid, run.campaign_id, run.import_batch_id, run.started_at,
    run.environment_id, run.iterations, run.validity, run.status,
    model.name AS model, configuration.variant, configuration.mode, configuration.platform,
    device.name AS device, device.kind AS device_kind, device.compute_units, device.software,
    configuration.engine, configuration.precision, configuration.batch_size, configuration.input_shape,
    configuration.threads, configuration.parameters, metrics.*
