, criteria AS (
    SELECT 1 AS number, 'fastest (ms)' AS criterion, 1 AS sign, latency_ms AS value, * FROM ranked
    UNION ALL SELECT 2, 'highest throughput (samples/s)', -1, samples_per_second, * FROM ranked
    UNION ALL SELECT 3, 'least memory (MB)', 1, memory_mb, * FROM ranked
    UNION ALL SELECT 4, 'least energy (J/sample)', 1, energy_per_sample_j, * FROM ranked
), places AS (
    SELECT *, row_number() OVER (
            PARTITION BY model, variant, mode, input_shape, work, number
            ORDER BY sign * value, configuration_id) AS place
    FROM criteria WHERE value IS NOT NULL
)
SELECT model, variant, mode, input_shape, work, criterion, place, value,
    platform, device, engine, precision, threads, parameters, batch_size
FROM places
WHERE place <= 3
ORDER BY model, variant, mode, input_shape, work, number, place
