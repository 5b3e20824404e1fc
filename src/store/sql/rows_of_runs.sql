-- What a list shows of these runs, the one that was stored last first.
SELECT run.id AS run, run.started_at AS started, model.name AS model, configuration.variant, configuration.mode,
    ifnull(configuration.parameters ->> '$.method', '') AS method, device.name AS device, configuration.platform,
    configuration.engine, configuration.precision, configuration.batch_size AS batch, run.status,
    CASE WHEN run.validity NOT IN ('valid', 'not_measured') THEN run.validity END AS validity,
    metrics.latency_p50_ms AS "median [ms]", metrics.throughput_samples_per_second AS "rate [samples/s]",
    campaign.label, configuration.id AS configuration
FROM run
    JOIN configuration ON configuration.id = run.configuration_id
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
    LEFT JOIN campaign ON campaign.id = run.campaign_id
    LEFT JOIN metrics ON metrics.run_id = run.id
WHERE run.id IN (SELECT value FROM json_each(:ids))
ORDER BY run.id DESC
