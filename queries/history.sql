-- How did one model's speed move over time? All its runs but profiles, oldest first; `--param model=resnet18`, all models
-- without.
SELECT run_id, started_at, model, mode, engine, precision, batch_size, threads, host,
    substr(git_commit, 1, 10) AS git_commit, tool_version, status, validity,
    round(latency_p50_ms, 3) AS latency_p50_ms,
    round(throughput_samples_per_second, 2) AS throughput_samples_per_second
FROM results
-- Not `model = :model`: SQLite would read every run to see whether the parameter is NULL.
WHERE model IN (SELECT name FROM model WHERE :model IS NULL OR name = :model)
    AND parameters ->> '$.profile' IS NULL
ORDER BY model, mode, engine, precision, batch_size, started_at, run_id
