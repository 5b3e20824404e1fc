-- The whole schema at once: what a run is, what it measured, and the tables that comparisons, forecasts and
-- explanations fill. STRICT needs SQLite 3.37. Times are ISO-8601 UTC text, UUIDs are text, NULL is "not measured".

CREATE TABLE model (
    id               INTEGER PRIMARY KEY,
    name             TEXT NOT NULL UNIQUE CHECK (name <> ''),
    family           TEXT,
    category         TEXT CHECK (category IN ('vision', 'text', 'audio', 'multimodal')),
    task             TEXT,
    source           TEXT NOT NULL CHECK (source IN ('zoo', 'onnx', 'external', 'imported')),
    parameter_count  INTEGER CHECK (parameter_count >= 0),
    multiply_adds    INTEGER CHECK (multiply_adds >= 0),
    activation_count INTEGER CHECK (activation_count >= 0)
) STRICT;

CREATE TABLE artifact (
    id         INTEGER PRIMARY KEY,
    model_id   INTEGER NOT NULL REFERENCES model (id) ON DELETE CASCADE,
    sha256     TEXT NOT NULL CHECK (length(sha256) = 64),
    format     TEXT NOT NULL CHECK (format <> ''),
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    path       TEXT,
    UNIQUE (model_id, sha256)
) STRICT;

CREATE TABLE device (
    id            INTEGER PRIMARY KEY,
    kind          TEXT NOT NULL CHECK (kind IN ('cpu', 'gpu', 'npu', 'tpu')),
    vendor        TEXT NOT NULL,
    name          TEXT NOT NULL CHECK (name <> ''),
    compute_units INTEGER CHECK (compute_units > 0),
    memory_bytes  INTEGER CHECK (memory_bytes > 0),
    software      INTEGER NOT NULL DEFAULT 0 CHECK (software IN (0, 1))
) STRICT;
-- An unknown number of units is a value of its own, so that it does not make a new device each time.
CREATE UNIQUE INDEX device_identity ON device (kind, vendor, name, ifnull(compute_units, -1), software);

CREATE TABLE device_probe (
    id                        INTEGER PRIMARY KEY,
    device_id                 INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    engine                    TEXT NOT NULL,
    probed_at                 TEXT NOT NULL,
    precision                 TEXT NOT NULL,
    peak_gflop_per_second     REAL CHECK (peak_gflop_per_second > 0),
    copy_bandwidth_gb_per_second REAL CHECK (copy_bandwidth_gb_per_second > 0),
    tool_version              TEXT,
    UNIQUE (device_id, engine, precision, probed_at)
) STRICT;

CREATE TABLE environment (
    id                INTEGER PRIMARY KEY,
    fingerprint       TEXT NOT NULL UNIQUE CHECK (length(fingerprint) = 64),
    host              TEXT,
    os                TEXT,
    kernel            TEXT,
    architecture      TEXT,
    cpu_name          TEXT,
    cpu_logical       INTEGER,
    host_memory_bytes INTEGER,
    cpu_governor      TEXT,
    driver_version    TEXT,
    engine_version    TEXT,
    framework_version TEXT,
    tool_version      TEXT,
    tool_build        TEXT,
    git_commit        TEXT,
    git_dirty         INTEGER CHECK (git_dirty IN (0, 1))
) STRICT;

CREATE TABLE configuration (
    id          INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE CHECK (length(fingerprint) = 64),
    model_id    INTEGER NOT NULL REFERENCES model (id),
    variant     TEXT NOT NULL DEFAULT '',
    platform    TEXT NOT NULL,
    device_id   INTEGER NOT NULL REFERENCES device (id),
    engine      TEXT NOT NULL CHECK (engine <> ''),
    precision   TEXT NOT NULL CHECK (precision IN ('fp32', 'tf32', 'fp16', 'bf16', 'amp', 'int8', 'int8w')),
    mode        TEXT NOT NULL CHECK (mode IN ('inference', 'training', 'explanation')),
    batch_size  INTEGER NOT NULL CHECK (batch_size > 0),
    input_shape TEXT NOT NULL DEFAULT '',
    threads     INTEGER NOT NULL DEFAULT 0 CHECK (threads >= 0),
    parameters  TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(parameters))
) STRICT;
CREATE INDEX configuration_model ON configuration (model_id);
CREATE INDEX configuration_device ON configuration (device_id);

CREATE TABLE campaign (
    id           INTEGER PRIMARY KEY,
    uuid         TEXT NOT NULL UNIQUE CHECK (length(uuid) = 36),
    started_at   TEXT NOT NULL,
    command_line TEXT NOT NULL,
    label        TEXT,
    seed         INTEGER
) STRICT;
CREATE INDEX campaign_label ON campaign (label) WHERE label IS NOT NULL;

CREATE TABLE import_batch (
    id            INTEGER PRIMARY KEY,
    imported_at   TEXT NOT NULL,
    path          TEXT NOT NULL,
    format        TEXT NOT NULL,
    content_sha256 TEXT NOT NULL UNIQUE CHECK (length(content_sha256) = 64),
    rows_taken    INTEGER NOT NULL CHECK (rows_taken >= 0),
    rows_known    INTEGER NOT NULL DEFAULT 0 CHECK (rows_known >= 0),
    rows_refused  INTEGER NOT NULL CHECK (rows_refused >= 0),
    refusals      TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(refusals))
) STRICT;

CREATE TABLE run (
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
    status            TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'out_of_memory', 'unsupported', 'interrupted')),
    validity          TEXT NOT NULL CHECK (validity IN
                          ('valid', 'too_few_samples', 'throttled', 'failed_iterations', 'not_measured')),
    stop_reason       TEXT CHECK (stop_reason IN
                          ('completed', 'precision_reached', 'max_time', 'error', 'interrupted')),
    iterations        INTEGER NOT NULL DEFAULT 0 CHECK (iterations >= 0),
    warmup_iterations INTEGER NOT NULL DEFAULT 0 CHECK (warmup_iterations >= 0),
    outlier_count     INTEGER CHECK (outlier_count >= 0),
    error             TEXT,
    hint              TEXT,
    CHECK (status = 'ok' OR error IS NOT NULL),
    CHECK (status = 'ok' OR validity = 'not_measured')
) STRICT;
CREATE INDEX run_series ON run (configuration_id, started_at);
CREATE INDEX run_campaign ON run (campaign_id);
CREATE INDEX run_started ON run (started_at);
CREATE INDEX run_import_batch ON run (import_batch_id) WHERE import_batch_id IS NOT NULL;
CREATE INDEX run_artifact ON run (artifact_id) WHERE artifact_id IS NOT NULL;
CREATE INDEX run_environment ON run (environment_id);
CREATE INDEX run_not_ok ON run (status, started_at) WHERE status <> 'ok';

CREATE TABLE planned_run (
    id                   INTEGER PRIMARY KEY,
    campaign_id          INTEGER NOT NULL REFERENCES campaign (id) ON DELETE CASCADE,
    position             INTEGER NOT NULL CHECK (position >= 0),
    plan                 TEXT NOT NULL CHECK (json_valid(plan)),
    state                TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'done')),
    lease_host           TEXT,
    lease_process_id     INTEGER,
    lease_process_start  INTEGER,
    heartbeat_at         TEXT,
    run_id               INTEGER REFERENCES run (id) ON DELETE SET NULL,
    UNIQUE (campaign_id, position),
    CHECK (state <> 'running' OR (lease_host IS NOT NULL AND lease_process_id IS NOT NULL))
) STRICT;
CREATE INDEX planned_run_open ON planned_run (state) WHERE state <> 'done';
CREATE INDEX planned_run_run ON planned_run (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE metrics (
    run_id                        INTEGER PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE,
    latency_mean_ms               REAL,
    latency_std_ms                REAL,
    latency_min_ms                REAL,
    latency_max_ms                REAL,
    latency_p50_ms                REAL,
    latency_p90_ms                REAL,
    latency_p95_ms                REAL,
    latency_p99_ms                REAL,
    latency_p999_ms               REAL,
    throughput_samples_per_second REAL,
    throughput_tokens_per_second  REAL,
    time_to_first_token_ms        REAL,
    time_per_output_token_ms      REAL,
    startup_ms                    REAL,
    compile_ms                    REAL,
    first_inference_ms            REAL,
    forward_ms                    REAL,
    loss_ms                       REAL,
    backward_ms                   REAL,
    optimizer_step_ms             REAL,
    memory_host_peak_mb           REAL,
    memory_device_peak_mb         REAL,
    memory_device_allocated_mb    REAL,
    memory_device_reserved_mb     REAL,
    model_size_mb                 REAL,
    power_mean_w                  REAL,
    power_peak_w                  REAL,
    power_idle_w                  REAL,
    energy_per_sample_j           REAL,
    cpu_utilization_percent       REAL,
    gpu_utilization_percent       REAL,
    temperature_mean_c            REAL,
    temperature_max_c             REAL,
    success_rate                  REAL CHECK (success_rate BETWEEN 0 AND 1),
    accuracy_top1                 REAL CHECK (accuracy_top1 BETWEEN 0 AND 1),
    accuracy_top5                 REAL CHECK (accuracy_top5 BETWEEN 0 AND 1),
    fidelity_cosine               REAL CHECK (fidelity_cosine BETWEEN -1.000001 AND 1.000001),
    fidelity_relative_error       REAL CHECK (fidelity_relative_error >= 0)
) STRICT;

CREATE TABLE extra_metric (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    name   TEXT NOT NULL,
    unit   TEXT NOT NULL DEFAULT '',
    better TEXT NOT NULL DEFAULT 'none' CHECK (better IN ('lower', 'higher', 'none')),
    value  REAL NOT NULL,
    PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE sample_series (
    run_id      INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    phase       TEXT NOT NULL CHECK (phase <> ''),
    nanoseconds TEXT NOT NULL CHECK (json_valid(nanoseconds)),
    PRIMARY KEY (run_id, phase)
) STRICT;

CREATE TABLE telemetry_series (
    run_id     INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    sensor     TEXT NOT NULL,
    unit       TEXT NOT NULL,
    offsets_ms TEXT NOT NULL CHECK (json_valid(offsets_ms)),
    "values"   TEXT NOT NULL CHECK (json_valid("values")),
    PRIMARY KEY (run_id, sensor)
) STRICT;

CREATE TABLE operator_time (
    run_id            INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    path              TEXT NOT NULL,
    calls             INTEGER NOT NULL CHECK (calls >= 0),
    total_nanoseconds INTEGER NOT NULL CHECK (total_nanoseconds >= 0),
    own_nanoseconds   INTEGER NOT NULL CHECK (own_nanoseconds >= 0),
    PRIMARY KEY (run_id, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE baseline (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE CHECK (name <> ''),
    created_at TEXT NOT NULL,
    note       TEXT
) STRICT;

CREATE TABLE baseline_run (
    baseline_id INTEGER NOT NULL REFERENCES baseline (id) ON DELETE CASCADE,
    run_id      INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    PRIMARY KEY (baseline_id, run_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX baseline_run_run ON baseline_run (run_id);

CREATE TABLE verdict (
    id                  INTEGER PRIMARY KEY,
    judged_at           TEXT NOT NULL,
    configuration_id    INTEGER NOT NULL REFERENCES configuration (id) ON DELETE CASCADE,
    baseline_id         INTEGER REFERENCES baseline (id) ON DELETE SET NULL,
    baseline_source     TEXT NOT NULL,
    metric              TEXT NOT NULL,
    verdict             TEXT NOT NULL CHECK (verdict IN ('regressed', 'improved', 'suspect', 'unchanged', 'inconclusive',
                            'new', 'missing', 'invalid', 'incomparable')),
    evidence            TEXT CHECK (evidence IN ('two_samples', 'prediction', 'threshold_only')),
    alert_threshold     REAL NOT NULL CHECK (alert_threshold > 0),
    baseline_median     REAL,
    candidate_median    REAL,
    effect              REAL,
    effect_low          REAL,
    effect_high         REAL,
    p_value             REAL CHECK (p_value BETWEEN 0 AND 1),
    q_value             REAL CHECK (q_value BETWEEN 0 AND 1),
    smallest_effect     REAL,
    first_candidate_run INTEGER REFERENCES run (id) ON DELETE SET NULL,
    accepted_at         TEXT,
    accepted_note       TEXT
) STRICT;
CREATE INDEX verdict_series ON verdict (configuration_id, metric, judged_at);
CREATE INDEX verdict_baseline ON verdict (baseline_id) WHERE baseline_id IS NOT NULL;
CREATE INDEX verdict_run ON verdict (first_candidate_run) WHERE first_candidate_run IS NOT NULL;

CREATE TABLE noise_floor (
    configuration_id   INTEGER NOT NULL REFERENCES configuration (id) ON DELETE CASCADE,
    metric             TEXT NOT NULL,
    relative_deviation REAL NOT NULL CHECK (relative_deviation >= 0),
    run_count          INTEGER NOT NULL CHECK (run_count >= 2),
    estimated_at       TEXT NOT NULL,
    PRIMARY KEY (configuration_id, metric)
) STRICT, WITHOUT ROWID;

CREATE TABLE fitted_model (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    target      TEXT NOT NULL,
    fitted_at   TEXT NOT NULL,
    seed        INTEGER NOT NULL,
    row_count   INTEGER NOT NULL CHECK (row_count >= 0),
    provenance  TEXT NOT NULL CHECK (json_valid(provenance)),
    evaluation  TEXT CHECK (json_valid(evaluation)),
    content     TEXT NOT NULL CHECK (json_valid(content)),
    tool_version TEXT NOT NULL,
    UNIQUE (name, target)
) STRICT;

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

-- The newest valid run of each configuration.
CREATE VIEW latest_results AS
SELECT results.*
FROM configuration
    JOIN results ON results.run_id = (
        SELECT candidate.id FROM run AS candidate
        WHERE candidate.configuration_id = configuration.id
            AND candidate.status = 'ok' AND candidate.validity = 'valid'
        ORDER BY candidate.started_at DESC, candidate.id DESC
        LIMIT 1);

-- The samples of every run, one row each.
CREATE VIEW sample AS
SELECT sample_series.run_id, sample_series.phase, element.key AS iteration, element.value AS nanoseconds
FROM sample_series, json_each(sample_series.nanoseconds) AS element;

-- The readings of every sensor, one row each.
CREATE VIEW telemetry AS
SELECT telemetry_series.run_id, telemetry_series.sensor, telemetry_series.unit,
    element.value AS offset_ms,
    telemetry_series."values" ->> ('$[' || element.key || ']') AS value
FROM telemetry_series, json_each(telemetry_series.offsets_ms) AS element;

-- The best configuration of each model and mode by throughput, hardware that is real only.
CREATE VIEW leaderboard AS
SELECT row_number() OVER (PARTITION BY model, mode ORDER BY throughput_samples_per_second DESC) AS place,
    model, variant, mode, method, device, platform, engine, precision, batch_size, threads,
    throughput_samples_per_second, latency_p50_ms, memory_host_peak_mb, memory_device_peak_mb, energy_per_sample_j,
    run_id, started_at
FROM latest_results
WHERE software = 0 AND throughput_samples_per_second IS NOT NULL;
