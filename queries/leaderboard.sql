-- Which device, engine, precision and batch size runs each model fastest? Newest valid run of each configuration,
-- real hardware only. The view `leaderboard` has profiles, too; they are left out here.
SELECT model, mode,
    row_number() OVER (PARTITION BY model, mode ORDER BY throughput_samples_per_second DESC) AS place,
    device, engine, precision, batch_size,
    round(throughput_samples_per_second, 2) AS throughput_samples_per_second,
    round(latency_p50_ms, 3) AS latency_p50_ms, run_id
FROM latest_results
WHERE software = 0 AND throughput_samples_per_second IS NOT NULL AND parameters ->> '$.profile' IS NULL
ORDER BY model, mode, place
