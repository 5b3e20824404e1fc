-- What has been measured, and what is missing? Runs of each model on each platform, by how they ended; profiles are
-- left out.
SELECT model.name AS model, configuration.platform, configuration.mode,
    sum(series_summary.run_count) AS runs,
    sum(series_summary.ok_count) AS ok,
    sum(series_summary.ok_count - series_summary.valid_count) AS not_valid,
    sum(series_summary.run_count - series_summary.ok_count) AS not_ok
FROM series_summary
    JOIN configuration ON configuration.id = series_summary.configuration_id
    JOIN model ON model.id = configuration.model_id
WHERE series_summary.run_count > 0 AND configuration.parameters ->> '$.profile' IS NULL
GROUP BY model.name, configuration.platform, configuration.mode
ORDER BY model.name, configuration.platform, configuration.mode
