-- The same probe, come again with another database, is there already.
INSERT INTO device_probe
    (device_id, engine, probed_at, precision, peak_gflop_per_second, copy_bandwidth_gb_per_second, tool_version)
VALUES (:device_id, :engine, :probed_at, :precision, :peak, :bandwidth, :tool_version)
ON CONFLICT (device_id, engine, precision, probed_at) DO NOTHING
