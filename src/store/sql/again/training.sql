, inference AS (
    SELECT *, row_number() OVER (
            PARTITION BY model, variant, platform, device, compute_units, engine, precision, batch_size, input_shape, threads,
                parameters ->> '$.profile'
            ORDER BY cost IS NULL, cost, configuration_id) AS place
    FROM facts WHERE mode = 'inference'
)
SELECT step.model, step.variant, step.platform, step.device, step.engine, step.precision, step.batch_size,
    step.input_shape, step.threads, step.work AS training,
    pass.latency_ms AS inference_ms, step.latency_ms AS training_ms,
    step.latency_ms / pass.latency_ms AS time_ratio, step.memory_mb / pass.memory_mb AS memory_ratio
FROM facts AS step
    JOIN inference AS pass ON pass.place = 1 AND pass.model = step.model AND pass.variant = step.variant
        AND pass.platform = step.platform AND pass.device = step.device AND pass.compute_units IS step.compute_units
        AND pass.engine = step.engine AND pass.precision = step.precision AND pass.batch_size = step.batch_size
        AND pass.input_shape = step.input_shape AND pass.threads = step.threads
        AND (pass.parameters ->> '$.profile') IS (step.parameters ->> '$.profile')
WHERE step.mode = 'training'
ORDER BY step.configuration_id
