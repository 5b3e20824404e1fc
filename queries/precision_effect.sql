-- What does a lower precision bring, and what does it cost? Newest valid runs of each precision against fp32 of the
-- same work: model, variant, mode, parameters, batch size and shape on the same device, platform, engine and threads;
-- profiles are left out.
WITH compared AS (
    SELECT model, variant, mode, parameters, batch_size, input_shape, device, platform, engine, threads, precision,
        latency_p50_ms, throughput_samples_per_second, model_size_mb, energy_per_sample_j, fidelity_relative_error,
        run_id,
        ifnull(memory_device_peak_mb, memory_host_peak_mb) AS memory_mb,
        first_value(precision) OVER reference AS reference_precision,
        first_value(latency_p50_ms) OVER reference AS reference_latency,
        first_value(throughput_samples_per_second) OVER reference AS reference_throughput,
        first_value(ifnull(memory_device_peak_mb, memory_host_peak_mb)) OVER reference AS reference_memory,
        first_value(model_size_mb) OVER reference AS reference_size,
        first_value(energy_per_sample_j) OVER reference AS reference_energy
    FROM latest_results
    WHERE parameters ->> '$.profile' IS NULL
    WINDOW reference AS (
        PARTITION BY model, variant, mode, parameters, batch_size, input_shape, device, device_kind, platform, engine,
            threads
        ORDER BY precision <> 'fp32', run_id)
)
SELECT model, variant, mode, parameters, batch_size, device, platform, engine, threads, precision,
    round(throughput_samples_per_second / reference_throughput, 3) AS speedup,
    round(latency_p50_ms / reference_latency, 3) AS latency_ratio,
    round(memory_mb / reference_memory, 3) AS memory_ratio,
    round(model_size_mb / reference_size, 3) AS size_ratio,
    round(energy_per_sample_j / reference_energy, 3) AS energy_ratio,
    fidelity_relative_error, run_id
FROM compared
WHERE reference_precision = 'fp32' AND precision <> 'fp32'
ORDER BY model, variant, mode, parameters, batch_size, device, platform, engine, threads, precision, run_id
