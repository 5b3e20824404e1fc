-- Where does the time of a training step go? Means of the phases, which sum to the mean step, and their shares of it.
-- Profiles are left out.
SELECT model, engine, precision, batch_size, parameters,
    round(latency_mean_ms, 3) AS step_ms, round(forward_ms, 3) AS forward_ms, round(loss_ms, 3) AS loss_ms,
    round(backward_ms, 3) AS backward_ms, round(optimizer_step_ms, 3) AS optimizer_step_ms,
    round(100.0 * forward_ms / latency_mean_ms, 1) AS forward_percent,
    round(100.0 * backward_ms / latency_mean_ms, 1) AS backward_percent
FROM latest_results
WHERE mode = 'training' AND backward_ms IS NOT NULL AND parameters ->> '$.profile' IS NULL
ORDER BY model, engine, batch_size
