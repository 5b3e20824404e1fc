-- Answers over a million runs, and a million runs in seconds.
--
-- Counting runs, or looking for the newest valid run of every configuration, read every run. Summaries of each
-- configuration and environment, kept by triggers so that any SQLite client keeps them right, make both a matter of
-- thousands of rows.
-- Two indexes change to what the questions need. And the table `run` is rebuilt, because its checks of the form
-- `status IN (...)` made SQLite build three small tables for every run that was inserted: 4 of 13 microseconds. With it
-- goes the validity `failed_iterations`, which no engine ever reported; a run that was imported with it has numbers that
-- do not count, which is what `not_measured` does to them. (For a day a V1 without that word, and with the index
-- `run_not_ok` as it is here, was in use; src/store/open.rs takes its databases, too.)

DROP VIEW leaderboard;
DROP VIEW latest_results;
DROP VIEW results;

CREATE TABLE rebuilt_run (
    id                INTEGER PRIMARY KEY,
    uuid              TEXT NOT NULL UNIQUE CHECK (length(uuid) = 36),
    configuration_id  INTEGER NOT NULL REFERENCES configuration (id),
    environment_id    INTEGER NOT NULL REFERENCES environment (id),
    campaign_id       INTEGER REFERENCES campaign (id),
    artifact_id       INTEGER REFERENCES artifact (id),
    import_batch_id   INTEGER REFERENCES import_batch (id),
    weight_seed       INTEGER,
    repetition        INTEGER NOT NULL DEFAULT 1 CHECK (repetition >= 1),
    started_at        TEXT,
    duration_s        REAL CHECK (duration_s >= 0),
    status            TEXT NOT NULL CHECK (status = 'ok' OR status = 'failed' OR status = 'out_of_memory'
                          OR status = 'unsupported' OR status = 'interrupted'),
    validity          TEXT NOT NULL CHECK (validity = 'valid' OR validity = 'too_few_samples'
                          OR validity = 'throttled' OR validity = 'not_measured'),
    stop_reason       TEXT CHECK (stop_reason = 'completed' OR stop_reason = 'precision_reached'
                          OR stop_reason = 'max_time' OR stop_reason = 'error' OR stop_reason = 'interrupted'),
    iterations        INTEGER NOT NULL DEFAULT 0 CHECK (iterations >= 0),
    warmup_iterations INTEGER NOT NULL DEFAULT 0 CHECK (warmup_iterations >= 0),
    outlier_count     INTEGER CHECK (outlier_count >= 0),
    error             TEXT,
    hint              TEXT,
    CHECK (status = 'ok' OR error IS NOT NULL),
    CHECK (status = 'ok' OR validity = 'not_measured')
) STRICT;

INSERT INTO rebuilt_run (id, uuid, configuration_id, environment_id, campaign_id, artifact_id, import_batch_id, weight_seed, repetition,
    started_at, duration_s, status, validity, stop_reason, iterations, warmup_iterations, outlier_count, error, hint)
SELECT id, uuid, configuration_id, environment_id, campaign_id, artifact_id, import_batch_id, weight_seed, repetition,
    started_at, duration_s, status, CASE validity WHEN 'failed_iterations' THEN 'not_measured' ELSE validity END,
    stop_reason, iterations, warmup_iterations, outlier_count, error, hint
FROM run ORDER BY id;
DROP TABLE run;
ALTER TABLE rebuilt_run RENAME TO run;

CREATE INDEX run_series ON run (configuration_id, started_at);
CREATE INDEX run_started ON run (started_at);
CREATE INDEX run_import_batch ON run (import_batch_id) WHERE import_batch_id IS NOT NULL;
CREATE INDEX run_artifact ON run (artifact_id) WHERE artifact_id IS NOT NULL;
-- Changed: failures in order of time, without a sort.
CREATE INDEX run_not_ok ON run (started_at, status, configuration_id) WHERE status <> 'ok';
-- Changed: first and last run of an environment without reading any run.
CREATE INDEX run_environment ON run (environment_id, started_at);
-- Changed: most imported runs have no campaign.
CREATE INDEX run_campaign ON run (campaign_id) WHERE campaign_id IS NOT NULL;

-- One row a configuration, there as long as the configuration is.
CREATE TABLE series_summary (
    configuration_id        INTEGER PRIMARY KEY REFERENCES configuration (id) ON DELETE CASCADE,
    run_count               INTEGER NOT NULL DEFAULT 0 CHECK (run_count >= 0),
    ok_count                INTEGER NOT NULL DEFAULT 0 CHECK (ok_count BETWEEN 0 AND run_count),
    valid_count             INTEGER NOT NULL DEFAULT 0 CHECK (valid_count BETWEEN 0 AND ok_count),
    unsupported_count       INTEGER NOT NULL DEFAULT 0 CHECK (unsupported_count BETWEEN 0 AND run_count - ok_count),
    -- A run by its id. It is no foreign key: deleting a run would look for it in every row.
    newest_valid_run_id     INTEGER,
    newest_valid_started_at TEXT
) STRICT;

INSERT INTO series_summary (configuration_id, run_count, ok_count, valid_count, unsupported_count,
    newest_valid_run_id, newest_valid_started_at)
SELECT configuration.id, ifnull(counted.run_count, 0), ifnull(counted.ok_count, 0), ifnull(counted.valid_count, 0),
    ifnull(counted.unsupported_count, 0), newest.id, newest.started_at
FROM configuration
    LEFT JOIN (
        SELECT configuration_id, count(*) AS run_count, sum(status = 'ok') AS ok_count,
            sum(validity = 'valid') AS valid_count, sum(status = 'unsupported') AS unsupported_count
        FROM run GROUP BY configuration_id) AS counted ON counted.configuration_id = configuration.id
    LEFT JOIN run AS newest ON newest.id = (
        SELECT candidate.id FROM run AS candidate
        WHERE candidate.configuration_id = configuration.id AND candidate.validity = 'valid'
        ORDER BY candidate.started_at DESC, candidate.id DESC
        LIMIT 1);

-- One row an environment, there as long as the environment is. Its first and last run are quick to find by the index.
CREATE TABLE environment_summary (
    environment_id INTEGER PRIMARY KEY REFERENCES environment (id) ON DELETE CASCADE,
    run_count      INTEGER NOT NULL DEFAULT 0 CHECK (run_count >= 0)
) STRICT;

INSERT INTO environment_summary (environment_id, run_count)
SELECT environment.id, (SELECT count(*) FROM run WHERE run.environment_id = environment.id) FROM environment;

-- OR REPLACE, because a client without foreign keys may have left the summary of what is gone.
CREATE TRIGGER configuration_inserted AFTER INSERT ON configuration BEGIN
    INSERT OR REPLACE INTO series_summary (configuration_id) VALUES (new.id);
END;

CREATE TRIGGER environment_inserted AFTER INSERT ON environment BEGIN
    INSERT OR REPLACE INTO environment_summary (environment_id) VALUES (new.id);
END;

-- A valid run is an ok one: the table `run` checks it. A run without a time counts as older than all others, as it does in ORDER BY started_at DESC.
CREATE TRIGGER run_inserted AFTER INSERT ON run BEGIN
    UPDATE series_summary SET
        run_count = run_count + 1,
        ok_count = ok_count + (new.status = 'ok'),
        valid_count = valid_count + (new.validity = 'valid'),
        unsupported_count = unsupported_count + (new.status = 'unsupported')
    WHERE configuration_id = new.configuration_id;
    UPDATE series_summary SET newest_valid_run_id = new.id, newest_valid_started_at = new.started_at
    WHERE configuration_id = new.configuration_id AND new.validity = 'valid'
        AND (newest_valid_run_id IS NULL
            OR (ifnull(new.started_at, ''), new.id) > (ifnull(newest_valid_started_at, ''), newest_valid_run_id));
    UPDATE environment_summary SET run_count = run_count + 1 WHERE environment_id = new.environment_id;
END;

CREATE TRIGGER run_deleted AFTER DELETE ON run BEGIN
    UPDATE series_summary SET
        run_count = run_count - 1,
        ok_count = ok_count - (old.status = 'ok'),
        valid_count = valid_count - (old.validity = 'valid'),
        unsupported_count = unsupported_count - (old.status = 'unsupported')
    WHERE configuration_id = old.configuration_id;
    UPDATE series_summary SET (newest_valid_run_id, newest_valid_started_at) = (
        SELECT run.id, run.started_at FROM run
        WHERE run.configuration_id = old.configuration_id AND run.validity = 'valid'
        ORDER BY run.started_at DESC, run.id DESC
        LIMIT 1)
    WHERE configuration_id = old.configuration_id AND newest_valid_run_id = old.id;
    UPDATE environment_summary SET run_count = run_count - 1 WHERE environment_id = old.environment_id;
END;

CREATE TRIGGER run_updated AFTER UPDATE OF id, configuration_id, environment_id, started_at, status, validity ON run BEGIN
    UPDATE series_summary SET
        run_count = run_count - (configuration_id = old.configuration_id) + (configuration_id = new.configuration_id),
        ok_count = ok_count - (configuration_id = old.configuration_id AND old.status = 'ok')
            + (configuration_id = new.configuration_id AND new.status = 'ok'),
        valid_count = valid_count - (configuration_id = old.configuration_id AND old.validity = 'valid')
            + (configuration_id = new.configuration_id AND new.validity = 'valid'),
        unsupported_count = unsupported_count
            - (configuration_id = old.configuration_id AND old.status = 'unsupported')
            + (configuration_id = new.configuration_id AND new.status = 'unsupported'),
        (newest_valid_run_id, newest_valid_started_at) = (
            SELECT run.id, run.started_at FROM run
            WHERE run.configuration_id = series_summary.configuration_id AND run.validity = 'valid'
            ORDER BY run.started_at DESC, run.id DESC
            LIMIT 1)
    WHERE configuration_id IN (old.configuration_id, new.configuration_id);
    UPDATE environment_summary
    SET run_count = run_count - (environment_id = old.environment_id) + (environment_id = new.environment_id)
    WHERE environment_id IN (old.environment_id, new.environment_id);
END;

-- One flat row a run: names, not ids.
CREATE VIEW results AS
SELECT
    run.id AS run_id, run.uuid AS run_uuid, campaign.uuid AS campaign_uuid, campaign.label AS label, run.started_at,
    model.name AS model, configuration.variant, model.category,
    configuration.platform, device.name AS device, device.kind AS device_kind, device.software,
    configuration.engine, environment.engine_version, environment.framework_version, environment.driver_version,
    configuration.precision, configuration.mode, ifnull(configuration.parameters ->> '$.method', '') AS method,
    configuration.batch_size, configuration.input_shape, configuration.threads, configuration.parameters,
    run.status, run.validity, environment.host, environment.git_commit, environment.tool_version, run.iterations,
    metrics.latency_mean_ms, metrics.latency_std_ms, metrics.latency_min_ms, metrics.latency_max_ms,
    metrics.latency_p50_ms, metrics.latency_p90_ms, metrics.latency_p95_ms, metrics.latency_p99_ms,
    metrics.latency_p999_ms, metrics.throughput_samples_per_second, metrics.throughput_tokens_per_second,
    metrics.time_to_first_token_ms, metrics.time_per_output_token_ms, metrics.startup_ms, metrics.compile_ms,
    metrics.first_inference_ms, metrics.forward_ms, metrics.loss_ms, metrics.backward_ms, metrics.optimizer_step_ms,
    metrics.memory_host_peak_mb, metrics.memory_device_peak_mb, metrics.memory_device_allocated_mb,
    metrics.memory_device_reserved_mb, metrics.model_size_mb, metrics.power_mean_w, metrics.power_peak_w,
    metrics.power_idle_w, metrics.energy_per_sample_j, metrics.cpu_utilization_percent,
    metrics.gpu_utilization_percent, metrics.temperature_mean_c, metrics.temperature_max_c, metrics.success_rate,
    metrics.accuracy_top1, metrics.accuracy_top5, metrics.fidelity_cosine, metrics.fidelity_relative_error
FROM run
    JOIN configuration ON configuration.id = run.configuration_id
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
    JOIN environment ON environment.id = run.environment_id
    LEFT JOIN campaign ON campaign.id = run.campaign_id
    LEFT JOIN metrics ON metrics.run_id = run.id;

-- The newest valid run of each configuration: the columns of `results`, written out so that a question about one model
-- or device begins there and not with all configurations.
CREATE VIEW latest_results AS
SELECT
    run.id AS run_id, run.uuid AS run_uuid, campaign.uuid AS campaign_uuid, campaign.label AS label, run.started_at,
    model.name AS model, configuration.variant, model.category,
    configuration.platform, device.name AS device, device.kind AS device_kind, device.software,
    configuration.engine, environment.engine_version, environment.framework_version, environment.driver_version,
    configuration.precision, configuration.mode, ifnull(configuration.parameters ->> '$.method', '') AS method,
    configuration.batch_size, configuration.input_shape, configuration.threads, configuration.parameters,
    run.status, run.validity, environment.host, environment.git_commit, environment.tool_version, run.iterations,
    metrics.latency_mean_ms, metrics.latency_std_ms, metrics.latency_min_ms, metrics.latency_max_ms,
    metrics.latency_p50_ms, metrics.latency_p90_ms, metrics.latency_p95_ms, metrics.latency_p99_ms,
    metrics.latency_p999_ms, metrics.throughput_samples_per_second, metrics.throughput_tokens_per_second,
    metrics.time_to_first_token_ms, metrics.time_per_output_token_ms, metrics.startup_ms, metrics.compile_ms,
    metrics.first_inference_ms, metrics.forward_ms, metrics.loss_ms, metrics.backward_ms, metrics.optimizer_step_ms,
    metrics.memory_host_peak_mb, metrics.memory_device_peak_mb, metrics.memory_device_allocated_mb,
    metrics.memory_device_reserved_mb, metrics.model_size_mb, metrics.power_mean_w, metrics.power_peak_w,
    metrics.power_idle_w, metrics.energy_per_sample_j, metrics.cpu_utilization_percent,
    metrics.gpu_utilization_percent, metrics.temperature_mean_c, metrics.temperature_max_c, metrics.success_rate,
    metrics.accuracy_top1, metrics.accuracy_top5, metrics.fidelity_cosine, metrics.fidelity_relative_error
FROM series_summary
    JOIN configuration ON configuration.id = series_summary.configuration_id
    JOIN run ON run.id = series_summary.newest_valid_run_id
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
    JOIN environment ON environment.id = run.environment_id
    LEFT JOIN campaign ON campaign.id = run.campaign_id
    LEFT JOIN metrics ON metrics.run_id = run.id;

-- The best configuration of each model and mode by throughput, hardware that is real only.
CREATE VIEW leaderboard AS
SELECT row_number() OVER (PARTITION BY model, mode ORDER BY throughput_samples_per_second DESC) AS place,
    model, variant, mode, method, device, platform, engine, precision, batch_size, threads,
    throughput_samples_per_second, latency_p50_ms, memory_host_peak_mb, memory_device_peak_mb, energy_per_sample_j,
    run_id, started_at
FROM latest_results
WHERE software = 0 AND throughput_samples_per_second IS NOT NULL;
