-- Which runs a selection means; ends a statement that joins run, configuration, model, device, environment and campaign.
-- A NULL parameter selects all; lists come as JSON arrays, parameters of the work as a JSON object.
WHERE (:runs IS NULL OR run.uuid IN (SELECT value FROM json_each(:runs))
        OR CAST(run.id AS TEXT) IN (SELECT value FROM json_each(:runs)))
    AND (:campaign IS NULL OR campaign.uuid = :campaign)
    AND (:label IS NULL OR campaign.label = :label)
    AND (:models IS NULL OR model.name IN (SELECT value FROM json_each(:models)))
    AND (:variant IS NULL OR configuration.variant = :variant)
    AND (:platforms IS NULL OR configuration.platform IN (SELECT value FROM json_each(:platforms)))
    AND (:device IS NULL OR instr(lower(device.name), lower(:device)) > 0)
    AND (:engines IS NULL OR configuration.engine IN (SELECT value FROM json_each(:engines)))
    AND (:precisions IS NULL OR configuration.precision IN (SELECT value FROM json_each(:precisions)))
    AND (:modes IS NULL OR configuration.mode IN (SELECT value FROM json_each(:modes)))
    AND (:batch_sizes IS NULL OR configuration.batch_size IN (SELECT value FROM json_each(:batch_sizes)))
    AND (:statuses IS NULL OR run.status IN (SELECT value FROM json_each(:statuses)))
    AND (:host IS NULL OR environment.host = :host)
    AND (:git_commit IS NULL OR substr(environment.git_commit, 1, length(:git_commit)) = :git_commit)
    AND (:since IS NULL OR run.started_at >= :since)
    AND (:until IS NULL OR run.started_at < :until)
    AND (:framework IS NULL OR instr(lower(environment.framework_version), lower(:framework)) > 0
        OR instr(lower(environment.engine_version), lower(:framework)) > 0)
    AND (:parameters IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(:parameters) AS wanted
        WHERE (configuration.parameters ->> ('$."' || wanted.key || '"')) IS NOT wanted.value))
    AND (:imports IS NULL OR run.import_batch_id IN (SELECT value FROM json_each(:imports)))
    AND (:baseline IS NULL OR run.id IN (
        SELECT baseline_run.run_id FROM baseline_run JOIN baseline ON baseline.id = baseline_run.baseline_id
        WHERE baseline.name = :baseline))
    AND (:configurations IS NULL OR configuration.id IN (SELECT value FROM json_each(:configurations)))
