-- Every configuration that has runs, with one of them.
SELECT run.id, run.uuid AS run_uuid, configuration.fingerprint, model.name AS model_name,
    configuration.variant, configuration.platform, configuration.engine, configuration.precision, configuration.mode,
    configuration.batch_size, configuration.input_shape, configuration.threads, configuration.parameters,
    device.kind AS device_kind, device.vendor AS device_vendor, device.name AS device_name, device.compute_units,
    device.memory_bytes, device.software
FROM configuration
    JOIN run ON run.id = (SELECT min(one.id) FROM run AS one WHERE one.configuration_id = configuration.id)
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
ORDER BY configuration.id
