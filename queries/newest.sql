-- What was measured last? The newest twenty runs; `parameters` tells profiles from plain ones.
SELECT run_id, started_at, model, mode, platform, engine, precision, batch_size, parameters, status, validity,
    round(latency_p50_ms, 3) AS latency_p50_ms,
    round(throughput_samples_per_second, 2) AS throughput_samples_per_second
FROM results
WHERE run_id IN (SELECT id FROM run ORDER BY started_at DESC, id DESC LIMIT 20)
ORDER BY started_at DESC, run_id DESC
