-- One run; one whose UUID is there already is left alone.
INSERT INTO run (
    uuid, configuration_id, environment_id, campaign_id, artifact_id, import_batch_id, weight_seed, repetition,
    started_at, duration_s, status, validity, stop_reason, iterations, warmup_iterations, outlier_count, error, hint
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
ON CONFLICT (uuid) DO NOTHING
