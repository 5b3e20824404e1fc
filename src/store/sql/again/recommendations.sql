SELECT model, variant, mode, input_shape, work,
    row_number() OVER (
        PARTITION BY model, variant, mode, input_shape, work ORDER BY samples_per_second DESC, configuration_id) AS place,
    platform, device, engine, precision, batch_size, threads, parameters, samples_per_second, tokens_per_second,
    latency_ms, memory_mb, energy_per_sample_j, accuracy_top1, runs
FROM ranked
WHERE samples_per_second IS NOT NULL AND parameters ->> '$.profile' IS NULL
ORDER BY model, variant, mode, input_shape, work, place
