-- Which runs did not end well, and why? Newest first.
SELECT run.id AS run_id, run.started_at, model.name AS model, configuration.platform, configuration.engine,
    configuration.precision, configuration.mode, configuration.batch_size, run.status, run.error, run.hint
-- Left alone, SQLite reads all runs in order of time; failures are few.
FROM run INDEXED BY run_not_ok
    JOIN configuration ON configuration.id = run.configuration_id
    JOIN model ON model.id = configuration.model_id
WHERE run.status <> 'ok'
ORDER BY run.started_at DESC, run.id DESC
LIMIT 100
