-- Every probe with its device, the oldest first.
SELECT device.kind AS device_kind, device.vendor AS device_vendor, device.name AS device_name, device.compute_units,
    device.memory_bytes, device.software, device_probe.*
FROM device_probe
JOIN device ON device.id = device_probe.device_id
ORDER BY device_probe.probed_at, device_probe.id
