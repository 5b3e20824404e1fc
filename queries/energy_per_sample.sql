-- Which device, engine and precision needs least energy for a sample of each model? Newest valid runs on real hardware
-- whose energy was measured; profiles are left out.
SELECT model, variant, mode, method,
    row_number() OVER (PARTITION BY model, variant, mode, method ORDER BY energy_per_sample_j, run_id) AS place,
    device, platform, engine, precision, batch_size, threads,
    energy_per_sample_j,
    round(1.0 / nullif(energy_per_sample_j, 0), 3) AS samples_per_joule,
    round(power_mean_w, 1) AS power_mean_w,
    round(throughput_samples_per_second, 2) AS throughput_samples_per_second,
    run_id
FROM latest_results
WHERE software = 0 AND energy_per_sample_j IS NOT NULL AND parameters ->> '$.profile' IS NULL
ORDER BY model, variant, mode, method, place
