-- How does throughput grow with the batch size? Each batch size against the smallest one of the same configuration;
-- profiles are left out.
SELECT model, mode, device, engine, precision, batch_size,
    round(latency_p50_ms, 3) AS latency_p50_ms,
    round(throughput_samples_per_second, 2) AS throughput_samples_per_second,
    round(throughput_samples_per_second / first_value(throughput_samples_per_second) OVER same_work, 3) AS speedup,
    round(throughput_samples_per_second / first_value(throughput_samples_per_second) OVER same_work
        / (batch_size * 1.0 / first_value(batch_size) OVER same_work), 3) AS efficiency
FROM latest_results
WHERE throughput_samples_per_second IS NOT NULL AND parameters ->> '$.profile' IS NULL
WINDOW same_work AS (
    PARTITION BY model, variant, mode, platform, device, engine, precision, threads, parameters, input_shape
    ORDER BY batch_size)
ORDER BY model, mode, device, engine, precision, threads, parameters, batch_size
