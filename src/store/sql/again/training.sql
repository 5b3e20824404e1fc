, memory AS MATERIALIZED (
    -- Only the same memory may be compared: of the device, or else of the process.
    SELECT configuration_id,
        max(value) FILTER (WHERE metric = 'device_mb') AS device_mb, max(value) FILTER (WHERE metric = 'host_mb') AS host_mb
    FROM median WHERE metric IN ('device_mb', 'host_mb') GROUP BY configuration_id
), inference AS (
    SELECT *, row_number() OVER (
            PARTITION BY model, variant, platform, device, compute_units, engine, precision, batch_size, input_shape, threads,
                parameters ->> '$.profile'
            ORDER BY cost IS NULL, cost, configuration_id) AS place
    FROM facts WHERE mode = 'inference'
)
SELECT step.model, step.variant, step.platform, step.device, step.engine, step.precision, step.batch_size,
    step.input_shape, step.threads, step.work AS training,
    pass.latency_ms AS inference_ms, step.latency_ms AS training_ms,
    step.latency_ms / pass.latency_ms AS time_ratio,
    ifnull(of_step.device_mb / of_pass.device_mb, of_step.host_mb / of_pass.host_mb) AS memory_ratio
FROM facts AS step
    JOIN inference AS pass ON pass.place = 1 AND pass.model = step.model AND pass.variant = step.variant
        AND pass.platform = step.platform AND pass.device = step.device AND pass.compute_units IS step.compute_units
        AND pass.engine = step.engine AND pass.precision = step.precision AND pass.batch_size = step.batch_size
        AND pass.input_shape = step.input_shape AND pass.threads = step.threads
        AND (pass.parameters ->> '$.profile') IS (step.parameters ->> '$.profile')
    LEFT JOIN memory AS of_step ON of_step.configuration_id = step.configuration_id
    LEFT JOIN memory AS of_pass ON of_pass.configuration_id = pass.configuration_id
WHERE step.mode = 'training'
ORDER BY step.configuration_id
