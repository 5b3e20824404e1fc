-- How much faster than the CPU is each device and engine? Newest valid runs against the fastest CPU configuration of
-- the same model, variant, mode, method, batch size and input shape, which is fp32 where there is one; profiles are left
-- out.
WITH compared AS (
    SELECT model, variant, mode, method, batch_size, input_shape, device, platform, engine, precision, threads,
        throughput_samples_per_second, run_id,
        first_value(device_kind) OVER reference AS reference_kind,
        first_value(device) OVER reference AS cpu_device,
        first_value(engine) OVER reference AS cpu_engine,
        first_value(precision) OVER reference AS cpu_precision,
        first_value(throughput_samples_per_second) OVER reference AS cpu_throughput
    FROM latest_results
    WHERE software = 0 AND throughput_samples_per_second > 0 AND parameters ->> '$.profile' IS NULL
    WINDOW reference AS (
        PARTITION BY model, variant, mode, method, batch_size, input_shape
        ORDER BY device_kind <> 'cpu', precision <> 'fp32', throughput_samples_per_second DESC, run_id)
)
SELECT model, variant, mode, method, batch_size, device, platform, engine, precision, threads,
    round(throughput_samples_per_second, 2) AS throughput_samples_per_second,
    round(throughput_samples_per_second / cpu_throughput, 3) AS speedup,
    cpu_device, cpu_engine, cpu_precision, run_id
FROM compared
WHERE reference_kind = 'cpu'
ORDER BY model, variant, mode, method, batch_size, input_shape, throughput_samples_per_second / cpu_throughput DESC, run_id
