-- Runs that were found before: few of all, so that the others are not looked at.
FROM json_each(:ids) AS wanted
    CROSS JOIN run ON run.id = wanted.value
    JOIN configuration ON configuration.id = run.configuration_id
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
    LEFT JOIN metrics ON metrics.run_id = run.id
