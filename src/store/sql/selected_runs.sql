-- Which runs a selection means by what they say themselves.
    AND (:statuses IS NULL OR run.status IN (SELECT value FROM json_each(:statuses)))
    AND (:since IS NULL OR run.started_at >= :since)
    AND (:until IS NULL OR run.started_at < :until)
    AND (:imports IS NULL OR run.import_batch_id IN (SELECT value FROM json_each(:imports)))
    AND (:baseline IS NULL OR run.id IN (
        SELECT baseline_run.run_id FROM baseline_run JOIN baseline ON baseline.id = baseline_run.baseline_id
        WHERE baseline.name = :baseline))
