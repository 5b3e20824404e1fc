-- Which device, engine, precision and batch size runs each model fastest? Newest valid run of each configuration,
-- real hardware only.
SELECT model, mode, place, device, engine, precision, batch_size,
    round(throughput_samples_per_second, 2) AS throughput_samples_per_second,
    round(latency_p50_ms, 3) AS latency_p50_ms, run_id
FROM leaderboard
ORDER BY model, mode, place
