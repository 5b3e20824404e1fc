, compared AS (
    SELECT *,
        first_value(configuration_id) OVER reference AS reference_id,
        first_value(is_reference AND cost > 0) OVER reference AS has_reference,
        first_value(latency_ms) OVER reference AS reference_latency_ms,
        first_value(samples_per_second) OVER reference AS reference_samples,
        first_value(tokens_per_second) OVER reference AS reference_tokens
    FROM facts JOIN reference USING (configuration_id)
    WINDOW reference AS (
        PARTITION BY model, variant, mode, batch_size, input_shape, work
        ORDER BY ifnull(is_reference AND cost > 0, 0) DESC, precision <> 'fp32', cost, configuration_id)
)
SELECT model, variant, mode, platform, device, engine, precision, batch_size, input_shape, threads, parameters, runs,
    latency_ms, samples_per_second,
    CASE WHEN has_reference THEN ifnull(ifnull(reference_latency_ms / latency_ms, samples_per_second / reference_samples),
        tokens_per_second / reference_tokens) END AS speed_up,
    memory_mb, energy_per_sample_j, accuracy_top1,
    CASE WHEN has_reference THEN reference_id END AS reference_configuration, configuration_id
FROM compared
ORDER BY model, variant, mode, batch_size, input_shape, work, platform, device, engine, precision, threads, parameters
