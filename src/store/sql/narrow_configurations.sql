-- Which configurations does a selection mean, and how many runs has each? `selected_configurations.sql` follows.
SELECT configuration.id, series_summary.run_count
FROM configuration
    JOIN series_summary ON series_summary.configuration_id = configuration.id
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
WHERE TRUE
