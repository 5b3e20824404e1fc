SELECT iteration, nanoseconds / 1e6 AS latency_ms
FROM sample
WHERE run_id = :run AND phase = 'iteration'
ORDER BY iteration
