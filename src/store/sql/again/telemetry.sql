SELECT sensor, unit, offset_ms, value
FROM telemetry
WHERE run_id = :run
ORDER BY sensor, offset_ms
