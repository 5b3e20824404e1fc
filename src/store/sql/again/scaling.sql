, scaled AS (
    SELECT *, max(samples_per_second) OVER same AS best, first_value(batch_size) OVER same AS smallest_batch,
        first_value(samples_per_second) OVER same AS smallest_rate, count(*) OVER same AS sizes
    FROM facts
    WHERE samples_per_second IS NOT NULL
    WINDOW same AS (
        PARTITION BY model, variant, mode, platform, device, compute_units, engine, precision, input_shape, threads,
            parameters
        ORDER BY batch_size ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
SELECT model, variant, mode, platform, device, engine, precision, input_shape, threads, parameters,
    group_concat(batch_size, ' ' ORDER BY batch_size) AS batch_sizes,
    best AS best_samples_per_second,
    min(batch_size) FILTER (WHERE samples_per_second = best) AS best_batch,
    min(batch_size) FILTER (WHERE samples_per_second >= 0.9 * best) AS knee_batch,
    best / smallest_rate / (min(batch_size) FILTER (WHERE samples_per_second = best) * 1.0 / smallest_batch) AS efficiency
FROM scaled
WHERE sizes > 1
GROUP BY model, variant, mode, platform, device, compute_units, engine, precision, input_shape, threads, parameters
ORDER BY model, variant, mode, platform, device, compute_units, engine, precision, input_shape, threads, parameters
