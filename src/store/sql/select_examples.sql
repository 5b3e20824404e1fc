-- What forecasts are learned from: the valid runs of a selection with their configuration and what they measured, one
-- configuration after the other, one engine version after the other. `selection.sql` follows. What a run says of its own
-- work goes before what the model's row says: imports call it multiply_adds_per_sample, files of weights multiply_adds.
-- Profiles are no examples: their iterations take turns with others.
SELECT
    run.id, configuration.id AS configuration_id, environment.engine_version,
    model.name AS model_name, model.family, model.category, model.task, model.source, model.parameter_count,
    model.multiply_adds, model.activation_count,
    configuration.variant, configuration.platform, configuration.engine, configuration.precision, configuration.mode,
    configuration.batch_size, configuration.input_shape, configuration.threads, configuration.parameters,
    device.kind AS device_kind, device.vendor AS device_vendor, device.name AS device_name, device.compute_units,
    device.memory_bytes, device.software,
    metrics.throughput_samples_per_second, metrics.latency_p50_ms, metrics.latency_mean_ms,
    metrics.memory_host_peak_mb, metrics.memory_device_peak_mb,
    (SELECT value FROM extra_metric WHERE run_id = run.id AND name IN ('multiply_adds_per_sample', 'multiply_adds')
        LIMIT 1) AS sample_multiply_adds,
    (SELECT value FROM extra_metric WHERE run_id = run.id AND name = 'activations_per_sample') AS sample_activations
FROM configuration
    CROSS JOIN run ON run.configuration_id = configuration.id AND run.validity = 'valid'
        AND configuration.parameters ->> '$.profile' IS NULL
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
    JOIN environment ON environment.id = run.environment_id
    LEFT JOIN campaign ON campaign.id = run.campaign_id
    JOIN metrics ON metrics.run_id = run.id
