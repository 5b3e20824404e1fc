-- How often was each model measured on each platform?
SELECT model.name, configuration.platform, sum(series_summary.run_count), sum(series_summary.ok_count)
FROM series_summary
    JOIN configuration ON configuration.id = series_summary.configuration_id
    JOIN model ON model.id = configuration.model_id
WHERE series_summary.run_count > 0
GROUP BY model.name, configuration.platform
ORDER BY model.name, configuration.platform
