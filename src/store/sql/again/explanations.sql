SELECT run_id, model, platform, device, engine, precision, batch_size, variant, method,
    latency_p50_ms / batch_size AS time_per_explanation_p50_ms,
    throughput_samples_per_second AS explanations_per_second, success_rate,
    ifnull(memory_device_peak_mb, memory_host_peak_mb) AS peak_memory_mb,
    (SELECT value FROM extra_metric WHERE extra_metric.run_id = selected.run_id AND name = 'forward_passes') AS forward_passes,
    (SELECT value FROM extra_metric WHERE extra_metric.run_id = selected.run_id AND name = 'backward_passes') AS backward_passes,
    parameters, iterations, status, error
FROM selected
WHERE mode = 'explanation'
ORDER BY run_id
