-- What takes longest before the first answer? Start-up and first inference of the newest valid runs; profiles
-- are left out.
SELECT model, mode, platform, engine, precision, batch_size,
    round(startup_ms, 1) AS startup_ms, round(first_inference_ms, 1) AS first_inference_ms,
    round(startup_ms + first_inference_ms, 1) AS cold_start_ms
FROM latest_results
WHERE startup_ms IS NOT NULL AND first_inference_ms IS NOT NULL AND parameters ->> '$.profile' IS NULL
ORDER BY cold_start_ms DESC
LIMIT 50
