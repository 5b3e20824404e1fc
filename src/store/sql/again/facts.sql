, valid AS MATERIALIZED (
    SELECT * FROM selected WHERE validity = 'valid'
), measured AS (
    SELECT configuration_id, 'p50' AS metric, latency_p50_ms AS value FROM valid
    UNION ALL SELECT configuration_id, 'mean', latency_mean_ms FROM valid
    UNION ALL SELECT configuration_id, 'samples', throughput_samples_per_second FROM valid
    UNION ALL SELECT configuration_id, 'tokens', throughput_tokens_per_second FROM valid
    UNION ALL SELECT configuration_id, 'device_mb', memory_device_peak_mb FROM valid
    UNION ALL SELECT configuration_id, 'host_mb', memory_host_peak_mb FROM valid
    UNION ALL SELECT configuration_id, 'energy', energy_per_sample_j FROM valid
    UNION ALL SELECT configuration_id, 'accuracy', accuracy_top1 FROM valid
), placed AS (
    SELECT configuration_id, metric, value,
        row_number() OVER (PARTITION BY configuration_id, metric ORDER BY value) AS place,
        count(*) OVER (PARTITION BY configuration_id, metric) AS values_there
    FROM measured WHERE value IS NOT NULL
), median AS (
    SELECT configuration_id, metric, avg(value) AS value
    FROM placed WHERE place IN ((values_there + 1) / 2, (values_there + 2) / 2)
    GROUP BY configuration_id, metric
), medians AS (
    SELECT configuration_id,
        ifnull(max(value) FILTER (WHERE metric = 'p50'), max(value) FILTER (WHERE metric = 'mean')) AS latency_ms,
        max(value) FILTER (WHERE metric = 'samples') AS samples_per_second,
        max(value) FILTER (WHERE metric = 'tokens') AS tokens_per_second,
        ifnull(max(value) FILTER (WHERE metric = 'device_mb'), max(value) FILTER (WHERE metric = 'host_mb')) AS memory_mb,
        max(value) FILTER (WHERE metric = 'energy') AS energy_per_sample_j,
        max(value) FILTER (WHERE metric = 'accuracy') AS accuracy_top1
    FROM median GROUP BY configuration_id
), facts AS MATERIALIZED (
    SELECT model, variant, mode, platform,
        device || CASE WHEN compute_units IS NOT NULL AND min(ifnull(compute_units, -1)) OVER (PARTITION BY device)
            < max(ifnull(compute_units, -1)) OVER (PARTITION BY device)
            THEN ' (' || compute_units || ' units)' ELSE '' END AS device, engine, precision, batch_size, input_shape, threads, parameters,
        compute_units, software, valid.configuration_id, count(*) AS runs, medians.latency_ms, medians.samples_per_second,
        medians.tokens_per_second, medians.memory_mb, medians.energy_per_sample_j, medians.accuracy_top1,
        ifnull(latency_ms, 1e3 / samples_per_second) AS cost,
        concat_ws(', ', parameters ->> '$.method', parameters ->> '$.optimizer',
            'generate=' || (parameters -> '$.generate'), 'profile=' || (parameters ->> '$.profile')) AS work
    FROM valid LEFT JOIN medians USING (configuration_id)
    GROUP BY valid.configuration_id
)
