-- What has been measured, and what is missing? Runs of each model on each platform, by how they ended.
SELECT model.name AS model, configuration.platform, configuration.mode,
    count(*) AS runs,
    sum(run.status = 'ok') AS ok,
    sum(run.status = 'ok' AND run.validity <> 'valid') AS not_valid,
    sum(run.status <> 'ok') AS not_ok
FROM run
    JOIN configuration ON configuration.id = run.configuration_id
    JOIN model ON model.id = configuration.model_id
GROUP BY model.name, configuration.platform, configuration.mode
ORDER BY model.name, configuration.platform, configuration.mode
