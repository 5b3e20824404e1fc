-- What has been measured, in words: one configuration a row, with its newest valid run; all that hold every word.
WITH named AS (
    SELECT configuration.id, model.name AS model, configuration.variant, configuration.mode,
        ifnull(configuration.parameters ->> '$.method', '') AS method, device.name AS device, configuration.platform,
        configuration.engine, configuration.precision, configuration.batch_size, configuration.input_shape,
        configuration.threads, configuration.parameters
    FROM configuration
        JOIN model ON model.id = configuration.model_id
        JOIN device ON device.id = configuration.device_id)
SELECT named.id AS configuration, named.model, named.variant, named.mode, named.method, named.device, named.platform,
    named.engine, named.precision, named.batch_size AS batch, named.input_shape AS shape,
    nullif(named.threads, 0) AS threads, series_summary.run_count AS runs, series_summary.valid_count AS valid,
    series_summary.newest_valid_started_at AS newest, metrics.latency_p50_ms AS "median [ms]",
    metrics.throughput_samples_per_second AS "rate [samples/s]"
FROM named
    JOIN series_summary ON series_summary.configuration_id = named.id
    LEFT JOIN metrics ON metrics.run_id = series_summary.newest_valid_run_id
WHERE series_summary.run_count > 0 AND NOT EXISTS (
    SELECT 1 FROM json_each(:words) AS word
    WHERE instr(lower(named.model || ' ' || named.variant || ' ' || named.mode || ' ' || named.device || ' ' ||
        named.platform || ' ' || named.engine || ' ' || named.precision || ' ' || 'batch=' ||
        named.batch_size || ' ' || named.input_shape || ' ' || 'threads=' || named.threads || ' ' ||
        named.parameters), word.value) = 0)
ORDER BY named.model, named.mode, named.device, named.engine, named.precision, named.batch_size, named.id
LIMIT :rows OFFSET :skip
