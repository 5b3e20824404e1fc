-- Every run that a selection means, with all that one row can hold; newest last. `selection.sql` follows.
SELECT
    run.id, run.uuid, run.weight_seed, run.repetition, run.started_at, run.duration_s, run.status, run.validity,
    run.stop_reason, run.iterations, run.warmup_iterations, run.outlier_count, run.error, run.hint,
    model.name AS model_name, model.family, model.category, model.task, model.source, model.parameter_count,
    model.multiply_adds, model.activation_count,
    configuration.variant, configuration.platform, configuration.engine, configuration.precision, configuration.mode,
    configuration.batch_size, configuration.input_shape, configuration.threads, configuration.parameters,
    device.kind AS device_kind, device.vendor AS device_vendor, device.name AS device_name, device.compute_units,
    device.memory_bytes, device.software,
    environment.host, environment.os, environment.kernel, environment.architecture, environment.cpu_name,
    environment.cpu_logical, environment.host_memory_bytes, environment.cpu_governor, environment.driver_version,
    environment.engine_version, environment.framework_version, environment.tool_version, environment.tool_build,
    environment.git_commit, environment.git_dirty,
    campaign.uuid AS campaign_uuid, campaign.started_at AS campaign_started_at, campaign.command_line,
    campaign.label AS campaign_label, campaign.seed AS campaign_seed,
    artifact.sha256, artifact.format AS artifact_format, artifact.size_bytes, artifact.path AS artifact_path,
    metrics.*
FROM run
    JOIN configuration ON configuration.id = run.configuration_id
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
    JOIN environment ON environment.id = run.environment_id
    LEFT JOIN campaign ON campaign.id = run.campaign_id
    LEFT JOIN artifact ON artifact.id = run.artifact_id
    LEFT JOIN metrics ON metrics.run_id = run.id
