-- The runs of every series that a selection means, series after series, the oldest run first. `selection.sql` follows.
SELECT
    configuration.id AS configuration_id, run.id, run.uuid, run.campaign_id, run.import_batch_id, run.started_at,
    run.environment_id, run.iterations, run.validity,
    model.name AS model, configuration.variant, configuration.mode, configuration.platform,
    device.name AS device, device.kind AS device_kind, device.compute_units, device.software,
    configuration.engine, configuration.precision, configuration.batch_size, configuration.input_shape,
    configuration.threads, configuration.parameters, metrics.*
FROM configuration
    -- The series come one after the other, each from one piece of the index on configuration and time.
    CROSS JOIN run ON run.configuration_id = configuration.id
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
    JOIN environment ON environment.id = run.environment_id
    LEFT JOIN campaign ON campaign.id = run.campaign_id
    LEFT JOIN metrics ON metrics.run_id = run.id
