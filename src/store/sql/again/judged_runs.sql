SELECT model, variant, mode, platform, device, engine, precision, batch_size, input_shape, threads, parameters,
    run_id, started_at, label, substr(git_commit, 1, 10) AS git_commit, host, status, validity, latency_p50_ms,
    latency_mean_ms, throughput_samples_per_second, throughput_tokens_per_second, memory_device_peak_mb,
    memory_host_peak_mb
FROM selected
ORDER BY model, mode, engine, configuration_id, started_at, run_id
